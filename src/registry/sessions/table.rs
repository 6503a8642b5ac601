//! Session ids and what is known of each, for a million of them.
//!
//! An index of small numbers leads to entries that lie packed in blocks: the index of a million sessions takes ten
//! megabytes, of which much stays in the processor's cache, and an entry holds id and record together, so that finding
//! one touches memory once. A map that holds its entries itself is half empty right after it has grown; here only the
//! index is.
//!
//! Split into parts that are locked each by itself, and only for as long as one call takes.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use parking_lot::RwLock;
use smallvec::SmallVec;

use crate::domain::ids::SessionId;

/// More than processors, so that those who write meet rarely; few enough that a handful of sessions costs little.
const PARTS: usize = 32;

/// How many entries of a part lie together.
const BLOCK: usize = 64;

/// A session's values, one for each store that has it: one, but for copied stores.
pub(super) type Values<V> = SmallVec<[V; 1]>;

/// See the module.
#[derive(Debug)]
pub(super) struct Table<V> {
    hasher: RandomState,
    parts: Box<[RwLock<Part<V>>]>,
}

#[derive(Debug)]
struct Part<V> {
    /// Numbers of entries.
    index: HashTable<u32>,
    blocks: Vec<Box<[Option<Entry<V>>]>>,
    /// Numbers that can be given again.
    free: Vec<u32>,
    /// The first number that was never given.
    next: u32,
}

#[derive(Debug)]
struct Entry<V> {
    id: SessionId,
    values: Values<V>,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        let part =
            || RwLock::new(Part { index: HashTable::new(), blocks: Vec::new(), free: Vec::new(), next: 0 });
        Self { hasher: RandomState::default(), parts: std::iter::repeat_with(part).take(PARTS).collect() }
    }
}

impl<V> Table<V> {
    /// What `read` makes of a session's values; `None` if it has none.
    pub(super) fn read<T>(&self, id: &SessionId, read: impl FnOnce(&[V]) -> T) -> Option<T> {
        let (hash, part) = self.place(id);
        let part = part.read();
        let number = part.number(hash, id)?;
        Some(read(&part.entry(number)?.values))
    }

    /// Lets `change` change a session's values, of which there are none at first. Whoever leaves none is forgotten.
    pub(super) fn change<T>(&self, id: &SessionId, change: impl FnOnce(&mut Values<V>) -> T) -> T {
        let (hash, part) = self.place(id);
        let mut part = part.write();
        if let Some(number) = part.number(hash, id)
            && let Some(entry) = part.entry_mut(number)
        {
            let result = change(&mut entry.values);
            if entry.values.is_empty() {
                part.remove(hash, number);
            }
            return result;
        }
        let mut values = Values::new();
        let result = change(&mut values);
        if !values.is_empty() {
            let number = part.add(Entry { id: id.clone(), values });
            part.index(hash, number, &self.hasher);
        }
        result
    }

    /// The same for a session that has values; `None` if it has none.
    pub(super) fn change_known<T>(
        &self,
        id: &SessionId,
        change: impl FnOnce(&mut Values<V>) -> T,
    ) -> Option<T> {
        let (hash, part) = self.place(id);
        let mut part = part.write();
        let number = part.number(hash, id)?;
        let entry = part.entry_mut(number)?;
        let result = change(&mut entry.values);
        if entry.values.is_empty() {
            part.remove(hash, number);
        }
        Some(result)
    }

    /// Visits every session, in no particular order. `visit` must not touch the table.
    pub(super) fn for_each(&self, mut visit: impl FnMut(&SessionId, &[V])) {
        for part in &self.parts {
            let part = part.read();
            for entry in part.blocks.iter().flat_map(|block| block.iter().flatten()) {
                visit(&entry.id, &entry.values);
            }
        }
    }

    /// Visits every value, to change it. `visit` must not touch the table.
    pub(super) fn for_each_mut(&self, mut visit: impl FnMut(&SessionId, &mut V)) {
        for part in &self.parts {
            let mut part = part.write();
            for entry in part.blocks.iter_mut().flat_map(|block| block.iter_mut().flatten()) {
                for value in &mut entry.values {
                    visit(&entry.id, value);
                }
            }
        }
    }

    /// How many sessions have values.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.read().index.len()).sum()
    }

    fn place(&self, id: &SessionId) -> (u64, &RwLock<Part<V>>) {
        let hash = self.hasher.hash_one(id);
        // Other bits than those by which the index places and tags.
        let part = (hash >> 40) as usize % PARTS;
        (hash, &self.parts[part])
    }
}

impl<V> Part<V> {
    fn number(&self, hash: u64, id: &SessionId) -> Option<u32> {
        let is_it = |&number: &u32| self.entry(number).is_some_and(|entry| entry.id == *id);
        self.index.find(hash, is_it).copied()
    }

    fn entry(&self, number: u32) -> Option<&Entry<V>> {
        let number = number as usize;
        self.blocks.get(number / BLOCK)?.get(number % BLOCK)?.as_ref()
    }

    fn entry_mut(&mut self, number: u32) -> Option<&mut Entry<V>> {
        let number = number as usize;
        self.blocks.get_mut(number / BLOCK)?.get_mut(number % BLOCK)?.as_mut()
    }

    fn add(&mut self, entry: Entry<V>) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        let place = number as usize;
        if place / BLOCK == self.blocks.len() {
            self.blocks.push(std::iter::repeat_with(|| None).take(BLOCK).collect());
        }
        if let Some(slot) = self.blocks.get_mut(place / BLOCK).and_then(|block| block.get_mut(place % BLOCK))
        {
            *slot = Some(entry);
        }
        number
    }

    fn index(&mut self, hash: u64, number: u32, hasher: &RandomState) {
        let Self { index, blocks, .. } = self;
        let hash_of = |&number: &u32| {
            let number = number as usize;
            let entry = blocks.get(number / BLOCK).and_then(|block| block.get(number % BLOCK)?.as_ref());
            entry.map_or(0, |entry| hasher.hash_one(&entry.id))
        };
        index.insert_unique(hash, number, hash_of);
    }

    fn remove(&mut self, hash: u64, number: u32) {
        if let Ok(indexed) = self.index.find_entry(hash, |&known| known == number) {
            indexed.remove();
        }
        if let Some(block) = self.blocks.get_mut(number as usize / BLOCK)
            && let Some(slot) = block.get_mut(number as usize % BLOCK)
        {
            *slot = None;
            self.free.push(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn id(number: u8) -> SessionId {
        SessionId::try_new(&format!("ses_{number}")).unwrap()
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8, u32),
        Clear(u8),
        ChangeKnown(u8, u32),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (any::<u8>(), any::<u32>()).prop_map(|(id, value)| Step::Put(id, value)),
            1 => any::<u8>().prop_map(Step::Clear),
            1 => (any::<u8>(), any::<u32>()).prop_map(|(id, value)| Step::ChangeKnown(id, value)),
        ];
        prop::collection::vec(step, 0..600)
    }

    proptest! {
        /// Whatever is done to it, it holds what a plain map would hold.
        #[test]
        fn it_is_a_map(steps in steps()) {
            let (table, mut model) = (Table::default(), HashMap::<u8, Vec<u32>>::new());
            for step in steps {
                match step {
                    Step::Put(number, value) => {
                        table.change(&id(number), |values| values.push(value));
                        model.entry(number).or_default().push(value);
                    }
                    Step::Clear(number) => {
                        let known = table.change_known(&id(number), Values::clear).is_some();
                        prop_assert_eq!(known, model.remove(&number).is_some());
                    }
                    Step::ChangeKnown(number, value) => {
                        let known = table.change_known(&id(number), |values| values.push(value)).is_some();
                        prop_assert_eq!(known, model.contains_key(&number));
                        if let Some(values) = model.get_mut(&number) {
                            values.push(value);
                        }
                    }
                }
                prop_assert_eq!(table.len(), model.len());
            }
            for number in 0..=u8::MAX {
                let values = table.read(&id(number), <[u32]>::to_vec);
                prop_assert_eq!(values.as_ref(), model.get(&number));
            }
            let mut seen = 0;
            table.for_each_mut(|_, value| *value ^= 1);
            table.for_each(|session, values| {
                seen += 1;
                let number: u8 = session.as_str()[4..].parse().unwrap();
                assert!(values.iter().map(|value| value ^ 1).eq(model[&number].iter().copied()));
            });
            prop_assert_eq!(seen, model.len());
        }
    }

    #[test]
    fn places_are_given_again_and_who_leaves_nothing_takes_none() {
        let table = Table::default();
        for round in 0..10 {
            for number in 0..=u8::MAX {
                table.change(&id(number), |values| values.push(round));
                table.change(&id(number), Values::clear);
            }
        }
        table.change(&id(1), |_| ());
        assert_eq!(table.len(), 0);
        let given: usize = table.parts.iter().map(|part| part.read().next as usize).sum();
        assert!(given <= PARTS, "{given} places for one at a time in each part");
    }
}
