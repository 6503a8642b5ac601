//! Sessions deleted lately: a list that was asked for before must not bring them back.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;

use crate::domain::ids::{SessionId, StoreKey};

/// How long a deletion is remembered: longer than any answer of a list may take.
const KEPT_MS: u64 = 2 * 60 * 1000;

/// How many deletions are remembered at most: about 10 MiB. Beyond it a list that was asked for before may show one of
/// the oldest again, until the next one.
const MOST: usize = 100_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Graves(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    deleted_ms: HashMap<(StoreKey, SessionId), u64>,
    order: VecDeque<(u64, StoreKey, SessionId)>,
}

impl Graves {
    /// Remembers that a session was deleted at `now_ms`.
    pub fn bury(&self, store: StoreKey, session: &SessionId, now_ms: u64) {
        let mut table = self.0.lock();
        table.deleted_ms.insert((store, session.clone()), now_ms);
        table.order.push_back((now_ms, store, session.clone()));
        while let Some((at_ms, _, _)) = table.order.front()
            && (now_ms.saturating_sub(*at_ms) > KEPT_MS || table.order.len() > MOST)
        {
            let Some((at_ms, store, session)) = table.order.pop_front() else { return };
            let grave = (store, session);
            if table.deleted_ms.get(&grave) == Some(&at_ms) {
                table.deleted_ms.remove(&grave);
            }
        }
    }

    /// How many deletions are remembered, and how many may be.
    pub fn held(&self) -> (usize, usize) {
        (self.0.lock().deleted_ms.len(), MOST)
    }

    /// Whether a session was deleted at or after `asked_ms`, so that an answer asked for then may still list it.
    pub fn hold(&self, store: StoreKey, session: &SessionId, asked_ms: u64) -> bool {
        let table = self.0.lock();
        !table.deleted_ms.is_empty()
            && table
                .deleted_ms
                .get(&(store, session.clone()))
                .is_some_and(|deleted_ms| *deleted_ms >= asked_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_asked_for_before_the_deletion_are_stale() {
        let graves = Graves::default();
        let session = SessionId::try_new("ses_1").unwrap();
        graves.bury(StoreKey(1), &session, 1000);
        assert!(graves.hold(StoreKey(1), &session, 999));
        assert!(graves.hold(StoreKey(1), &session, 1000));
        assert!(!graves.hold(StoreKey(1), &session, 1001));
        assert!(!graves.hold(StoreKey(2), &session, 999));
    }

    #[test]
    fn graves_are_levelled_after_a_while_unless_they_were_dug_again() {
        let graves = Graves::default();
        let [one, two] = ["ses_1", "ses_2"].map(|text| SessionId::try_new(text).unwrap());
        graves.bury(StoreKey(1), &one, 0);
        graves.bury(StoreKey(1), &two, 0);
        graves.bury(StoreKey(1), &two, KEPT_MS);
        graves.bury(StoreKey(2), &two, KEPT_MS + 1);
        assert!(!graves.hold(StoreKey(1), &one, 0));
        assert!(graves.hold(StoreKey(1), &two, 0));
    }
}
