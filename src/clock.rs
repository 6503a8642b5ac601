//! The one clock of the daemon: milliseconds since 1970 that never go back.
//!
//! Claims are ordered by this clock alone, never by a server's. A step back of the wall clock (a correction, a
//! suspend) must not make what is learned afterwards look older than what is known, so time then stands still until
//! the wall clock has caught up.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// See the module.
#[derive(Debug, Default)]
pub struct Clock {
    latest: AtomicU64,
}

impl Clock {
    /// Now, in milliseconds since 1970; at least as late as every earlier answer.
    pub fn now_ms(&self) -> u64 {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        self.not_before(wall)
    }

    /// Makes every later answer at least `ms`: what was kept by an earlier run must not look newer than what is
    /// learned now. Returns the latest instant known.
    pub fn not_before(&self, ms: u64) -> u64 {
        self.latest.fetch_max(ms, Ordering::Relaxed).max(ms)
    }
}

/// Time since some instant before this process began. Unlike [`std::time::Instant`] it goes on while the machine
/// sleeps.
#[cfg(target_os = "linux")]
pub fn since_start() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(time).unwrap_or_default()
}

/// Time since some instant before this process began. Unlike [`std::time::Instant`] it goes on while the machine
/// sleeps; a step of the wall clock looks like such a sleep.
#[cfg(not(target_os = "linux"))]
pub fn since_start() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_goes_back_behind_what_was_kept() {
        let clock = Clock::default();
        let future = clock.now_ms() + 60_000;
        clock.not_before(future);
        assert_eq!(clock.now_ms(), future);
    }
}
