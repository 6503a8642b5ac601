//! When a server was last used by a client: what tells whether it may be ended.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::clock;

/// The requests of clients that one server has in hand, and when the last of them ended.
#[derive(Debug)]
pub struct Usage {
    open: AtomicUsize,
    last_ms: AtomicU64,
}

/// One request in hand. Ends when dropped.
#[derive(Debug)]
pub struct Using(Arc<Usage>);

impl Usage {
    /// Nothing in hand, last used now.
    pub fn new() -> Arc<Self> {
        let usage = Self { open: AtomicUsize::new(0), last_ms: AtomicU64::new(0) };
        usage.touch();
        Arc::new(usage)
    }

    /// A request begins.
    pub fn begin(self: &Arc<Self>) -> Using {
        self.open.fetch_add(1, Ordering::AcqRel);
        Using(Arc::clone(self))
    }

    /// It is being used at this moment by something that is no request.
    pub fn touch(&self) {
        self.last_ms.fetch_max(now_ms(), Ordering::AcqRel);
    }

    /// How many requests are in hand.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// For how long it has been of no use; nought while a request is in hand.
    pub fn unused(&self) -> Duration {
        if self.open() > 0 {
            return Duration::ZERO;
        }
        Duration::from_millis(now_ms().saturating_sub(self.last_ms.load(Ordering::Acquire)))
    }
}

impl Clone for Using {
    fn clone(&self) -> Self {
        self.0.begin()
    }
}

impl Drop for Using {
    fn drop(&mut self) {
        self.0.touch();
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Goes on while the machine sleeps: who wakes it up finds its servers as idle as they were for long.
fn now_ms() -> u64 {
    u64::try_from(clock::since_start().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_used_until_the_last_request_in_hand_has_ended() {
        let usage = Usage::new();
        usage.last_ms.store(0, Ordering::Release);
        let first = usage.begin();
        let second = first.clone();
        drop(first);
        assert_eq!((usage.open(), usage.unused()), (1, Duration::ZERO));
        drop(second);
        assert_eq!(usage.open(), 0);
        assert!(usage.last_ms.load(Ordering::Acquire) > 0, "the end of a request counts as use");
    }
}
