//! How many sessions each store's list has shown: a whole round that has shown as many misses none, which is so nearly
//! always, and saves looking through all sessions.

use dashmap::DashMap;

use crate::domain::ids::StoreKey;

/// Counts sessions by the round in which they were listed last; 0 is before any.
#[derive(Debug, Default)]
pub(super) struct Tally {
    stores: DashMap<StoreKey, Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Sessions that were listed in any round.
    listed: usize,
    /// The latest round.
    round: u32,
    /// Sessions that were listed in it.
    seen: usize,
}

impl Tally {
    /// A session that was listed in round `before` was listed in `now`.
    pub(super) fn listed(&self, store: StoreKey, before: u32, now: u32) {
        if now <= before {
            return;
        }
        let mut counts = self.stores.entry(store).or_default();
        if before == 0 {
            counts.listed += 1;
        }
        if now > counts.round {
            (counts.round, counts.seen) = (now, 0);
        }
        if now == counts.round {
            counts.seen += 1;
        }
    }

    /// A session that was listed in `round` is no longer known in this store.
    pub(super) fn forgotten(&self, store: StoreKey, round: u32) {
        if round == 0 {
            return;
        }
        let mut counts = self.stores.entry(store).or_default();
        counts.listed = counts.listed.saturating_sub(1);
        if round == counts.round {
            counts.seen = counts.seen.saturating_sub(1);
        }
    }

    /// Whether `round` has shown every session that any round has shown.
    pub(super) fn is_complete(&self, store: StoreKey, round: u32) -> bool {
        self.stores.get(&store).is_some_and(|counts| counts.round == round && counts.seen == counts.listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: StoreKey = StoreKey(1);

    #[test]
    fn a_round_is_complete_once_it_has_shown_what_any_round_has_shown() {
        let tally = Tally::default();
        assert!(!tally.is_complete(STORE, 1));
        tally.listed(STORE, 0, 1);
        tally.listed(STORE, 0, 1);
        assert!(tally.is_complete(STORE, 1));
        tally.listed(STORE, 1, 3);
        assert!(!tally.is_complete(STORE, 3), "one of two");
        tally.forgotten(STORE, 1);
        assert!(tally.is_complete(STORE, 3), "the other is gone");
        tally.forgotten(STORE, 3);
        tally.listed(STORE, 0, 3);
        assert!(tally.is_complete(STORE, 3));
    }

    #[test]
    fn a_session_that_is_listed_twice_in_a_round_counts_once() {
        let tally = Tally::default();
        tally.listed(STORE, 0, 1);
        tally.listed(STORE, 0, 1);
        tally.listed(STORE, 1, 2);
        tally.listed(STORE, 2, 2);
        assert!(!tally.is_complete(STORE, 2));
    }

    #[test]
    fn what_was_never_listed_is_not_missed() {
        let tally = Tally::default();
        tally.listed(STORE, 0, 1);
        tally.listed(STORE, 0, 0);
        tally.forgotten(STORE, 0);
        assert!(tally.is_complete(STORE, 1));
    }
}
