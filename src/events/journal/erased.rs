//! Sessions that were deleted: nothing that was said in them is kept or told again.
//!
//! Their names are remembered for as long as the journal reaches back, since a server may go on to speak of a session
//! that it does not know to be deleted.

use std::{
    collections::HashMap,
    fs, io,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use super::private;
use crate::{
    domain::ids::SessionId,
    events::log::{DELETED, Event},
};

/// How many names are remembered; the oldest go first.
const MOST: usize = 10_000;

/// As written.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Written {
    /// Each session and when it was deleted, in milliseconds since 1970.
    sessions: Vec<(String, u64)>,
    /// Whether files may still hold something of them.
    pending: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Erased {
    sessions: RwLock<HashMap<SessionId, u64>>,
    /// Saves nearly every look.
    any: AtomicBool,
    /// Counts additions.
    revision: AtomicU64,
}

impl Erased {
    /// What an earlier run has left in `file`, and whether its files may still hold something of it.
    pub(super) fn read(file: &Path) -> io::Result<(Self, bool)> {
        let text = match fs::read(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Self::default(), false)),
            Err(error) => return Err(error),
        };
        let written: Written = serde_json::from_slice(&text).unwrap_or_default();
        let known = written.sessions.iter().filter_map(|(id, at)| Some((SessionId::try_new(id).ok()?, *at)));
        let sessions: HashMap<_, _> = known.collect();
        let any = AtomicBool::new(!sessions.is_empty());
        Ok((Self { sessions: RwLock::new(sessions), any, ..Self::default() }, written.pending))
    }

    pub(super) fn write(&self, file: &Path, pending: bool) -> io::Result<()> {
        let sessions = self.sessions.read();
        let sessions = sessions.iter().map(|(id, at)| (id.as_str().to_owned(), *at)).collect();
        private::replace(file, &serde_json::to_vec(&Written { sessions, pending })?)
    }

    pub(super) fn add(&self, session: SessionId, now_ms: u64) {
        let mut sessions = self.sessions.write();
        sessions.insert(session, now_ms);
        while sessions.len() > MOST {
            let Some(oldest) = sessions.iter().min_by_key(|(_, at)| **at).map(|(id, _)| id.clone()) else {
                return;
            };
            sessions.remove(&oldest);
        }
        self.any.store(true, Ordering::Release);
        self.revision.fetch_add(1, Ordering::Release);
    }

    /// Changes with every addition.
    pub(super) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Forgets what was deleted before `then_ms`.
    pub(super) fn forget_before(&self, then_ms: u64) {
        let mut sessions = self.sessions.write();
        sessions.retain(|_, at| *at >= then_ms);
        self.any.store(!sessions.is_empty(), Ordering::Release);
    }

    /// Whether the event is about a deleted session; that it was deleted is told all the same.
    pub(super) fn hides(&self, event: &Event) -> bool {
        self.any.load(Ordering::Acquire)
            && event.kind != DELETED
            && event.session.as_ref().is_some_and(|session| self.sessions.read().contains_key(session))
    }
}
