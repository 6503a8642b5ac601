//! What a list has shown that no stream has told, once streams have had their chance.

use std::time::{Duration, Instant};

use crate::domain::{
    ids::{SessionId, StoreKey},
    session::SessionRow,
};

/// How many sessions wait at most until it is clear whether a stream tells of them.
const AT_ONCE: usize = 1000;

/// What happened to a session unheard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unheard {
    /// It was made.
    Made,
    /// It changed, some time after `since_ms`, by its store's clock.
    Changed {
        /// The last change that is known beside.
        since_ms: u64,
    },
    /// It is gone, and was this when it was last seen.
    Gone(SessionRow),
}

/// Who is told of it. Must not block.
pub trait Listener: Send + Sync {
    /// This happened to a session, and no stream has told.
    fn unheard(&self, store: StoreKey, session: &SessionId, what: Unheard);
}

/// Rows that wait for a stream's word.
#[derive(Debug, Default)]
pub(super) struct Waiting(Vec<Waits>);

#[derive(Debug)]
pub(super) struct Waits {
    pub(super) row: SessionRow,
    pub(super) what: Unheard,
    seen: Instant,
}

impl Waiting {
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= AT_ONCE
    }

    /// Begins to wait, or goes on with a newer row.
    pub(super) fn add(&mut self, row: SessionRow, what: Unheard) {
        match self.0.iter_mut().find(|known| known.row.id == row.id) {
            Some(known) => known.row = row,
            None => self.0.push(Waits { row, what, seen: Instant::now() }),
        }
    }

    /// Those that have waited for so long.
    pub(super) fn over(&mut self, patience: Duration) -> Vec<Waits> {
        self.0.extract_if(.., |waits| waits.seen.elapsed() >= patience).collect()
    }
}
