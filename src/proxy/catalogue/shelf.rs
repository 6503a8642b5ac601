//! The answers that are kept: few, for a short time, within a bound of bytes. What is full drops what was used least.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use quick_cache::{
    Weighter,
    sync::{Cache, DefaultLifecycle},
};

use super::{
    edition::Edition,
    epochs::{Epochs, Mark},
    key::Key,
};

/// How many answers are expected. Only for sizing, and so few that they are kept in one piece instead of in shards:
/// the largest answer must not have to fit into a fraction of the bound.
const EXPECTED: usize = 32;

/// See the module.
pub(super) struct Shelf {
    kept: Cache<Key, Arc<Edition>, Weight, RandomState>,
    keep_for: Duration,
}

/// What an entry counts for against the bound.
#[derive(Clone, Copy, Debug)]
struct Weight;

impl Weighter<Key, Arc<Edition>> for Weight {
    fn weight(&self, key: &Key, edition: &Arc<Edition>) -> u64 {
        (key.weight() + edition.weight()) as u64
    }
}

impl Shelf {
    /// A shelf for `bytes`, on which nothing stays longer than `keep_for`.
    pub(super) fn new(bytes: u64, keep_for: Duration) -> Self {
        let kept = Cache::with(EXPECTED, bytes, Weight, RandomState::default(), DefaultLifecycle::default());
        Self { kept, keep_for }
    }

    /// What is kept under `key`, if it is not too old and nothing has changed up to `mark`.
    pub(super) fn take(&self, key: &Key, mark: Mark, now: Instant) -> Option<Arc<Edition>> {
        self.kept.get(key).filter(|edition| edition.mark() == mark && self.is_young(edition, now))
    }

    /// Keeps an answer.
    pub(super) fn put(&self, key: Key, edition: Arc<Edition>) {
        self.kept.insert(key, edition);
    }

    /// Lets go of what nobody will be told any more.
    pub(super) fn tidy(&self, epochs: &Epochs, now: Instant) {
        self.kept.retain(|_, edition| epochs.is_current(edition.mark()) && self.is_young(edition, now));
    }

    /// How many bytes are kept.
    pub(super) fn bytes(&self) -> u64 {
        self.kept.weight()
    }

    fn is_young(&self, edition: &Edition, now: Instant) -> bool {
        now.saturating_duration_since(edition.begun()) < self.keep_for
    }
}
