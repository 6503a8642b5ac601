//! Where provisional stores have gone: whoever still writes by the old key, because it was on its way when the real
//! store became known, writes to the real one.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
};

use parking_lot::RwLock;

use crate::domain::ids::StoreKey;

#[derive(Debug, Default)]
pub(super) struct Moves {
    /// Most daemons see none, ever.
    any: AtomicBool,
    moved: RwLock<HashMap<StoreKey, StoreKey>>,
}

impl Moves {
    /// From now on, `from` stands for `to`.
    pub(super) fn note(&self, from: StoreKey, to: StoreKey) {
        let mut moved = self.moved.write();
        moved.remove(&to);
        for place in moved.values_mut().filter(|place| **place == from) {
            *place = to;
        }
        moved.insert(from, to);
        self.any.store(true, Ordering::Release);
    }

    /// The store that a key stands for.
    pub(super) fn resolve(&self, store: StoreKey) -> StoreKey {
        if !self.any.load(Ordering::Acquire) {
            return store;
        }
        self.moved.read().get(&store).copied().unwrap_or(store)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_leads_to_where_its_store_went_in_the_end() {
        let moves = Moves::default();
        let [a, b, c] = [1, 2, 3].map(StoreKey);
        assert_eq!(moves.resolve(a), a);
        moves.note(a, b);
        moves.note(b, c);
        assert_eq!([a, b, c].map(|store| moves.resolve(store)), [c, c, c]);
        moves.note(c, a);
        assert_eq!([a, b, c].map(|store| moves.resolve(store)), [a, a, a]);
    }
}
