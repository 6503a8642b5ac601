//! When the tasks of stores do what they do: pure.
//!
//! All look at the same instants, so that the daemon wakes once for two hundred stores. What each asks its servers for
//! without a sign is spread instead: at one instant a few are asked, not all.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::ids::StoreKey;

/// Into how many parts a pace is divided for different stores.
const PARTS: u32 = 60;

/// The next of the instants that lie `tick` apart since `epoch`.
pub(super) fn next(epoch: Instant, tick: Duration, now: Instant) -> Instant {
    let since = now.saturating_duration_since(epoch);
    let into = since.as_nanos().checked_rem(tick.as_nanos()).unwrap_or(0);
    now + tick.saturating_sub(Duration::from_nanos(u64::try_from(into).unwrap_or(0)))
}

/// How much sooner than the pace says a store is asked for the first time.
pub(super) fn sooner(store: StoreKey, pace: Duration) -> Duration {
    pace * (store.0 % PARTS) / PARTS
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_secs(1);

    #[test]
    fn whenever_tasks_begin_they_look_at_the_same_instants() {
        let epoch = Instant::now();
        let at = |ms| next(epoch, TICK, epoch + Duration::from_millis(ms)) - epoch;
        assert_eq!([at(0), at(1), at(999)], [TICK; 3]);
        assert_eq!([at(1000), at(1001), at(1999)], [TICK * 2; 3]);
    }

    #[test]
    fn what_is_asked_without_a_sign_is_spread_over_the_pace() {
        let pace = Duration::from_mins(1);
        let mut sooner: Vec<_> = (0..PARTS).map(|store| sooner(StoreKey(store), pace)).collect();
        assert!(sooner.iter().all(|sooner| *sooner < pace));
        sooner.dedup();
        assert_eq!(sooner.len(), PARTS as usize);
    }
}
