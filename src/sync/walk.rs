//! The way through a list, page by page: pure.
//!
//! A list is sorted by the time of the last change, and its own cursor goes on *below* the last time of a page: of
//! several sessions that changed in one millisecond, those beyond the border would never be seen. So the walk names
//! its own cursor, one millisecond above, and meets the border's sessions again; only where a whole page changed in
//! one millisecond does it ask for more at once.

use crate::opencode::wire::Page;

/// Rows on one page: few enough that the server answers between two requests of its user, many enough that 100,000
/// sessions take 200 pages.
const PAGE: usize = 500;

/// Rows asked for at once at most. More sessions do not change in one millisecond.
const LARGEST_PAGE: usize = 32_000;

/// Rows taken in one walk at most: a list that never ends is a lie.
const MOST: usize = 2_000_000;

/// One page to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) limit: usize,
    pub(super) before_ms: Option<u64>,
    pub(super) start_ms: Option<u64>,
}

/// What a page means for the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// More pages follow.
    On,
    /// Everything was seen.
    Whole,
    /// The list cannot be followed to its end.
    Broken(&'static str),
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    page: usize,
    next: Ask,
    rows: usize,
}

impl Walk {
    /// A walk through what changed at or after `start_ms`, else through everything.
    pub(super) fn new(start_ms: Option<u64>) -> Self {
        Self::with_pages_of(PAGE, start_ms)
    }

    fn with_pages_of(page: usize, start_ms: Option<u64>) -> Self {
        Self { page, next: Ask { limit: page, before_ms: None, start_ms }, rows: 0 }
    }

    /// Whether no page has been taken in yet of a walk through everything.
    pub(super) fn is_at_its_beginning(&self) -> bool {
        self.rows == 0 && self.next.before_ms.is_none() && self.next.start_ms.is_none()
    }

    /// The page to ask for.
    pub(super) fn next(&self) -> Ask {
        self.next
    }

    /// Takes in the page that was asked for.
    pub(super) fn took(&mut self, page: &Page) -> Step {
        self.rows += page.rows.len() + page.malformed;
        if !page.more {
            return Step::Whole;
        }
        let Some(oldest_ms) = page.rows.iter().map(|row| row.updated_ms).min() else {
            return Step::Broken("a page of it has no row that can be read");
        };
        if self.next.start_ms.is_some_and(|start_ms| oldest_ms < start_ms) {
            return Step::Whole;
        }
        if self.rows > MOST {
            return Step::Broken("it does not end");
        }
        let border_ms = oldest_ms.saturating_add(1);
        match self.next.before_ms {
            Some(before_ms) if border_ms > before_ms => Step::Broken("it starts again"),
            Some(before_ms) if border_ms == before_ms => {
                if self.next.limit < LARGEST_PAGE {
                    self.next.limit *= 2;
                } else {
                    self.next.before_ms = Some(oldest_ms);
                }
                Step::On
            }
            _ => {
                self.next.limit = self.page;
                self.next.before_ms = Some(border_ms);
                Step::On
            }
        }
    }
}

/// From when on to ask for changes, when the newest change seen lies at `newest_ms` by the store's clock and it is
/// `now_ms` by ours. Two seconds back, since rows are written out of order; and never in our future, or one row dated
/// there would hide all others.
pub(super) fn changes_since(newest_ms: u64, now_ms: u64) -> u64 {
    const OVERLAP_MS: u64 = 2000;
    newest_ms.min(now_ms).saturating_sub(OVERLAP_MS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::{ids::SessionId, session::SessionRow};

    fn row(number: usize, updated_ms: u64) -> SessionRow {
        SessionRow {
            id: SessionId::try_new(&format!("ses_{number}")).unwrap(),
            directory: "/a".into(),
            title: "".into(),
            project: "".into(),
            parent: None,
            created_ms: 0,
            updated_ms,
        }
    }

    /// A page as a server gives it.
    fn page(list: &[SessionRow], ask: Ask) -> Page {
        let mut rows: Vec<SessionRow> = list
            .iter()
            .filter(|row| ask.before_ms.is_none_or(|before| row.updated_ms < before))
            .filter(|row| ask.start_ms.is_none_or(|start| row.updated_ms >= start))
            .cloned()
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.updated_ms));
        let more = rows.len() > ask.limit;
        rows.truncate(ask.limit);
        Page { rows, malformed: 0, more }
    }

    proptest! {
        #[test]
        fn a_walk_ends_and_sees_every_row_however_many_changed_at_once(
            times in prop::collection::vec(0_u64..20, 0..80),
            size in 1_usize..8,
            start in prop::option::of(0_u64..20),
        ) {
            let list: Vec<_> = times.iter().enumerate().map(|(number, time)| row(number, *time)).collect();
            let mut walk = Walk::with_pages_of(size, start);
            let mut seen = BTreeSet::new();
            for _ in 0..1000 {
                let page = page(&list, walk.next());
                seen.extend(page.rows.iter().map(|row| row.id.clone()));
                match walk.took(&page) {
                    Step::On => {}
                    Step::Whole => break,
                    Step::Broken(why) => prop_assert!(false, "{}", why),
                }
            }
            let wanted: BTreeSet<_> = list
                .iter()
                .filter(|row| start.is_none_or(|start| row.updated_ms >= start))
                .map(|row| row.id.clone())
                .collect();
            prop_assert_eq!(seen, wanted);
        }
    }

    #[test]
    fn a_list_that_ignores_the_cursor_or_shows_nothing_is_given_up() {
        let mut walk = Walk::new(None);
        let newest = Page { rows: vec![row(1, 9)], malformed: 0, more: true };
        assert_eq!(walk.took(&newest), Step::On);
        let newer = Page { rows: vec![row(1, 20)], malformed: 0, more: true };
        assert!(matches!(walk.took(&newer), Step::Broken(_)));
        let unreadable = Page { rows: vec![], malformed: 500, more: true };
        assert!(matches!(Walk::new(None).took(&unreadable), Step::Broken(_)));
    }

    #[test]
    fn a_list_that_never_ends_is_given_up() {
        let mut walk = Walk::new(None);
        let mut time = u64::MAX / 2;
        let step = loop {
            time -= 1000;
            let rows = (0..PAGE).map(|number| row(number, time)).collect();
            match walk.took(&Page { rows, malformed: 0, more: true }) {
                Step::On => {}
                step => break step,
            }
        };
        assert_eq!(step, Step::Broken("it does not end"));
    }

    #[test]
    fn a_change_dated_in_our_future_does_not_hide_the_others() {
        assert_eq!(changes_since(10_000, 50_000), 8000);
        assert_eq!(changes_since(90_000, 50_000), 48_000);
        assert_eq!(changes_since(500, 50_000), 0);
    }
}
