//! How many sessions each store's list has shown: a whole round that has shown as many misses none, which is so nearly
//! always, and saves looking through all sessions. And whether any row of a store may be another than before.

use dashmap::DashMap;

use super::Sessions;
use crate::domain::ids::StoreKey;

/// How the rows of one store stand. While it stays equal, no row was told, forgotten or moved, and no session was listed
/// for the first time: a row that was still listed would be so again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    told: u64,
    listed: usize,
}

impl Standing {
    /// How many sessions of the store any list has shown.
    pub fn listed(self) -> usize {
        self.listed
    }
}

impl Sessions {
    /// How the rows of `store` stand now.
    pub fn standing(&self, store: StoreKey) -> Standing {
        self.tally.standing(store)
    }
}

/// Counts sessions by the round in which they were listed last; 0 is before any.
#[derive(Debug, Default)]
pub(super) struct Tally {
    stores: DashMap<StoreKey, Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Rows that were told, forgotten or moved.
    told: u64,
    /// Sessions that were listed in any round.
    listed: usize,
    /// The latest round.
    round: u32,
    /// Sessions that were listed in it.
    seen: usize,
}

impl Counts {
    fn listed(&mut self, before: u32, now: u32) {
        if now <= before {
            return;
        }
        if before == 0 {
            self.listed += 1;
        }
        if now > self.round {
            (self.round, self.seen) = (now, 0);
        }
        if now == self.round {
            self.seen += 1;
        }
    }
}

impl Tally {
    /// A session that was listed in round `before` was listed in `now`, as it was known.
    pub(super) fn listed(&self, store: StoreKey, before: u32, now: u32) {
        if now > before {
            self.stores.entry(store).or_default().listed(before, now);
        }
    }

    /// The same with a row that may be another than the known one. Round 0: something else than a list told it.
    pub(super) fn told(&self, store: StoreKey, before: u32, now: u32) {
        let mut counts = self.stores.entry(store).or_default();
        counts.told += 1;
        counts.listed(before, now);
    }

    /// A session that was listed in `round` is no longer known in this store.
    pub(super) fn forgotten(&self, store: StoreKey, round: u32) {
        let mut counts = self.stores.entry(store).or_default();
        counts.told += 1;
        if round == 0 {
            return;
        }
        counts.listed = counts.listed.saturating_sub(1);
        if round == counts.round {
            counts.seen = counts.seen.saturating_sub(1);
        }
    }

    fn standing(&self, store: StoreKey) -> Standing {
        let standing = |counts: &Counts| Standing { told: counts.told, listed: counts.listed };
        self.stores.get(&store).map(|counts| standing(&counts)).unwrap_or_default()
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
