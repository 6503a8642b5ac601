//! Whose titles are kept: those of the sessions that changed last. A title is most of what a session takes and of use
//! only to somebody who reads a list; what routing needs is kept of all.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

#[derive(Debug)]
pub(super) struct Titles {
    most: usize,
    kept: AtomicUsize,
    /// Sessions that changed earlier get none, in milliseconds since 1970.
    since_ms: AtomicU64,
}

impl Default for Titles {
    fn default() -> Self {
        Self::new(usize::MAX)
    }
}

impl Titles {
    /// Keeps `most`, and until it is looked a quarter more.
    pub(super) fn new(most: usize) -> Self {
        Self { most, kept: AtomicUsize::new(0), since_ms: AtomicU64::new(0) }
    }

    /// Writes the title of a session that changed at `updated_ms` into `place`, or takes an old one out.
    pub(super) fn put(&self, place: &mut Box<str>, title: &str, updated_ms: u64) {
        let title = if updated_ms < self.since_ms.load(Relaxed) { "" } else { title };
        if **place == *title {
            return;
        }
        self.forgotten(place);
        *place = Box::from(title);
        if !title.is_empty() {
            self.kept.fetch_add(1, Relaxed);
        }
    }

    /// A title is kept no longer.
    pub(super) fn forgotten(&self, title: &str) {
        if !title.is_empty() {
            self.kept.fetch_sub(1, Relaxed);
        }
    }

    /// How many are kept, and how many may be.
    pub(super) fn kept(&self) -> (usize, usize) {
        (self.kept.load(Relaxed), self.most)
    }

    /// Whether it is time to look for those to go.
    pub(super) fn are_too_many(&self) -> bool {
        self.kept.load(Relaxed) > self.most.saturating_add(self.most / 4)
    }

    /// Given when every session with a title changed: since when one must have changed to keep its title.
    pub(super) fn draw_line(&self, mut changes: Vec<u64>) -> u64 {
        let surplus = changes.len().saturating_sub(self.most);
        let since_ms = match surplus {
            0 => 0,
            _ => *changes.select_nth_unstable(surplus - 1).1 + 1,
        };
        self.since_ms.store(since_ms, Relaxed);
        since_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_leaves_as_many_as_may_be_and_fewer_if_several_changed_at_once() {
        let titles = Titles::new(3);
        assert_eq!(titles.draw_line(vec![5, 1, 4, 2, 3]), 3);
        assert_eq!(titles.draw_line(vec![9, 7, 7, 7, 8]), 8);
        assert_eq!(titles.draw_line(vec![1, 2]), 0);
    }

    #[test]
    fn what_changed_before_the_line_gets_no_title_and_loses_an_old_one() {
        let titles = Titles::new(1);
        let (mut old, mut new) = (Box::default(), Box::default());
        titles.put(&mut old, "old", 1);
        titles.put(&mut new, "new", 2);
        assert!(titles.are_too_many());
        assert_eq!(titles.draw_line(vec![1, 2]), 2);
        titles.put(&mut old, "still old", 1);
        assert_eq!((&*old, &*new, titles.kept()), ("", "new", (1, 1)));
        titles.put(&mut old, "changed", 3);
        assert_eq!((&*old, titles.kept()), ("changed", (2, 1)));
    }
}
