//! What came of starting servers, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Tally {
    started: AtomicU64,
    taken_over: AtomicU64,
    failed: AtomicU64,
    limited: AtomicU64,
    idle: AtomicU64,
}

/// What was counted, and what there is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Servers that were started and answered.
    pub started: u64,
    /// Servers of an earlier run that were taken over.
    pub taken_over: u64,
    /// Those that did not start, ended at once, or never answered.
    pub failed: u64,
    /// Requests for one more than may be.
    pub limited: u64,
    /// Servers that were ended because nobody used them.
    pub idle: u64,
    /// Those that there are now.
    pub running: u64,
    /// How many there may be.
    pub limit: u64,
}

impl Tally {
    pub(super) fn started(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn taken_over(&self) {
        self.taken_over.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn limited(&self) {
        self.limited.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn idle(&self) {
        self.idle.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self, running: usize, limit: usize) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            started: read(&self.started),
            taken_over: read(&self.taken_over),
            failed: read(&self.failed),
            limited: read(&self.limited),
            idle: read(&self.idle),
            running: running as u64,
            limit: limit as u64,
        }
    }
}
