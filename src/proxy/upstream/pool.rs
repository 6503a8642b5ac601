//! Connections at rest: last in, first out, for a short time.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long an idle connection is used again. Shorter than any server of this kind keeps one open, so that a request
/// rarely meets a connection that is just being closed.
const IDLE_FOR: Duration = Duration::from_secs(4);

/// How many idle connections are kept. More than that only a burst leaves behind.
const MOST_IDLE: usize = 256;

/// A connection that may rest.
pub(super) trait Idle {
    /// Whether another request can be sent on it, as far as this end knows.
    fn is_usable(&self) -> bool;
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pool<C>(Mutex<Vec<(C, Instant)>>);

impl<C: Idle> Pool<C> {
    /// The one that was given last, if it still can be used.
    pub(super) fn take(&self) -> Option<C> {
        let mut idle = self.0.lock();
        while let Some((connection, since)) = idle.pop() {
            if since.elapsed() > IDLE_FOR {
                // All below it are older still.
                idle.clear();
                return None;
            }
            if connection.is_usable() {
                return Some(connection);
            }
        }
        None
    }

    /// Leaves `connection` to whoever takes it next.
    pub(super) fn give(&self, connection: C) {
        if !connection.is_usable() {
            return;
        }
        let mut idle = self.0.lock();
        if idle.len() < MOST_IDLE {
            idle.push((connection, Instant::now()));
        }
    }

    /// Closes those that have rested for too long.
    pub(super) fn tidy(&self) {
        self.0.lock().retain(|(connection, since)| since.elapsed() <= IDLE_FOR && connection.is_usable());
    }
}

impl<C> Default for Pool<C> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}
