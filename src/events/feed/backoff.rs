//! How long to wait before the next attempt.

use std::time::Duration;

/// A server that restarts is back in about a second; waiting 50 ms at first notices it early.
const SHORTEST: Duration = Duration::from_millis(50);

/// A server that is back is found again within as much; asking a dead port every 5 s costs nothing.
const LONGEST: Duration = Duration::from_secs(5);

/// The waits of a row of failed attempts: none, then 50 ms doubling to 5 s.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The next wait. `jitter`, from 0 to 1, takes up to half of it off, so that the feeds of many servers that
    /// went down together do not all knock at once.
    pub(super) fn next(&mut self, jitter: f64) -> Duration {
        let doublings = self.attempts.checked_sub(1);
        self.attempts = self.attempts.saturating_add(1);
        let Some(doublings) = doublings else { return Duration::ZERO };
        let full = SHORTEST.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST);
        full.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attempt_is_at_once_and_the_wait_doubles_to_its_longest() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..10).map(|_| backoff.next(0.0).as_millis()).collect();
        assert_eq!(waits, [0, 50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        backoff.attempts = u32::MAX;
        assert_eq!(backoff.next(1.0), LONGEST / 2);
    }
}
