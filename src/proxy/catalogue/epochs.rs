//! How often what servers offer has changed, or may have.
//!
//! To drop what is kept is to count one further: whatever carries an older mark is worth nothing, also what is still on
//! its way. An event at one server counts for all of its store, which share credentials and mostly their
//! configuration. A write counts everywhere: which servers share what is not always known (nobody can see into a
//! process behind a configured address), it must not be missed, and it is rare.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::domain::ids::StoreKey;

/// The moment in history at which a read of a store's servers began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    store: StoreKey,
    events: u64,
    writes: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Epochs(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    events: HashMap<StoreKey, u64>,
    writes: u64,
}

impl Epochs {
    /// The mark for reads that begin now.
    pub(super) fn mark(&self, store: StoreKey) -> Mark {
        let counted = self.0.lock();
        Mark {
            store,
            events: counted.events.get(&store).copied().unwrap_or_default(),
            writes: counted.writes,
        }
    }

    /// Whether nothing has changed since `mark`.
    pub(super) fn is_current(&self, mark: Mark) -> bool {
        self.mark(mark.store) == mark
    }

    /// A server of `store` said that something has changed.
    pub(super) fn event(&self, store: StoreKey) {
        *self.0.lock().events.entry(store).or_default() += 1;
    }

    /// Somebody wrote something.
    pub(super) fn write(&self) {
        self.0.lock().writes += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_outdates_every_earlier_mark_of_its_store_and_a_write_every_earlier_mark() {
        let epochs = Epochs::default();
        let (one, two) = (epochs.mark(StoreKey(1)), epochs.mark(StoreKey(2)));
        assert!(one != two && epochs.is_current(one));
        epochs.event(StoreKey(1));
        assert!(!epochs.is_current(one) && epochs.is_current(two));
        assert!(epochs.is_current(epochs.mark(StoreKey(1))));
        epochs.write();
        assert!(!epochs.is_current(two));
        assert!(epochs.is_current(epochs.mark(StoreKey(2))));
    }
}
