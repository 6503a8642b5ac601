//! Waiting for what should become true soon, with far more patience than it should need.
//!
//! The bound only turns a hang into a failure; it is never what a test measures.

use std::{
    fmt::Debug,
    future::Future,
    time::{Duration, Instant},
};

/// Two cores shared by every test of the binary, and by whatever else the machine does, can be slow: an agent that
/// starts in 2 s alone was seen to take 30. A test that passes never waits this long.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Short enough not to be felt, long enough not to take the processor from what is awaited.
pub const PAUSE: Duration = Duration::from_millis(15);

/// Asks again until `probe` answers `Ok`, and gives that.
///
/// Panics with `what` and the last `Err` once patience has run out. A failing answer should say what was seen
/// instead: `Err(format!("{status}: {body}"))`.
pub async fn eventually<T, E, F>(what: &str, mut probe: impl FnMut() -> F) -> T
where
    E: Debug,
    F: Future<Output = Result<T, E>>,
{
    let began = Instant::now();
    let mut last = None;
    while began.elapsed() < PATIENCE {
        match tokio::time::timeout(PATIENCE, probe()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(seen)) => last = Some(format!("{seen:?}")),
            Err(_) => last = Some("no answer".to_owned()),
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("{what} did not happen within {PATIENCE:?}; last seen: {}", last.unwrap_or_default());
}

/// Waits for `future`, and fails the test with `what` once patience has run out.
pub async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(value) = tokio::time::timeout(PATIENCE, future).await else {
        panic!("{what} did not happen within {PATIENCE:?}");
    };
    value
}
