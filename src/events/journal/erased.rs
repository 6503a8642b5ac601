//! Sessions that were deleted: nothing that was said in them is kept or told again.
//!
//! Their names are remembered for as long as the journal reaches back, since a server may go on to speak of a session
//! that it does not know to be deleted.

use std::{
    collections::{HashMap, VecDeque},
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

/// How many names are remembered; the oldest go first. With all of them some 15 MiB.
const MOST: usize = 100_000;

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
    names: RwLock<Names>,
    /// Saves nearly every look.
    any: AtomicBool,
    /// Counts additions.
    revision: AtomicU64,
    forgotten: AtomicU64,
}

/// The names, and when each was deleted first, in milliseconds since 1970.
#[derive(Debug, Default)]
struct Names {
    known: HashMap<SessionId, u64>,
    /// The same, the oldest first.
    order: VecDeque<SessionId>,
}

impl Names {
    /// False if it was known already.
    fn add(&mut self, session: SessionId, at_ms: u64) -> bool {
        let is_new = !self.known.contains_key(&session);
        if is_new {
            self.order.push_back(session.clone());
            self.known.insert(session, at_ms);
        }
        is_new
    }

    /// Forgets those of the oldest that are too many; gives how many.
    fn shorten(&mut self) -> usize {
        let surplus = self.order.len().saturating_sub(MOST);
        for oldest in self.order.drain(..surplus) {
            self.known.remove(&oldest);
        }
        surplus
    }

    fn forget_before(&mut self, then_ms: u64) {
        self.known.retain(|_, at| *at >= then_ms);
        let known = &self.known;
        self.order.retain(|session| known.contains_key(session));
    }
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
        let mut names = Names::default();
        for (id, at_ms) in written.sessions {
            if let Ok(session) = SessionId::try_new(&id) {
                names.add(session, at_ms);
            }
        }
        names.shorten();
        let any = AtomicBool::new(!names.known.is_empty());
        Ok((Self { names: RwLock::new(names), any, ..Self::default() }, written.pending))
    }

    pub(super) fn write(&self, file: &Path, pending: bool) -> io::Result<()> {
        let names = self.names.read();
        let in_order =
            names.order.iter().filter_map(|id| Some((id.as_str().to_owned(), *names.known.get(id)?)));
        let sessions = in_order.collect();
        drop(names);
        private::replace(file, &serde_json::to_vec(&Written { sessions, pending })?)
    }

    pub(super) fn add(&self, session: SessionId, now_ms: u64) {
        let mut names = self.names.write();
        // What was said since the first time was not kept.
        if !names.add(session, now_ms) {
            return;
        }
        let forgotten = names.shorten() as u64;
        drop(names);
        if forgotten > 0 && self.forgotten.fetch_add(forgotten, Ordering::Relaxed) == 0 {
            tracing::warn!(
                most = MOST,
                "more sessions were deleted than can be remembered: what was said in the first of them may stay in the journal \
                 until it is too old"
            );
        }
        self.any.store(true, Ordering::Release);
        self.revision.fetch_add(1, Ordering::Release);
    }

    /// How many names are remembered, and how many may be.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.names.read().known.len(), MOST)
    }

    /// How many were forgotten too soon.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }

    /// Changes with every addition.
    pub(super) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Forgets what was deleted before `then_ms`.
    pub(super) fn forget_before(&self, then_ms: u64) {
        let mut names = self.names.write();
        names.forget_before(then_ms);
        self.any.store(!names.known.is_empty(), Ordering::Release);
    }

    /// Whether the event is about a deleted session; that it was deleted is told all the same.
    pub(super) fn hides(&self, event: &Event) -> bool {
        self.any.load(Ordering::Acquire)
            && event.kind != DELETED
            && event.session.as_ref().is_some_and(|session| self.names.read().known.contains_key(session))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(number: usize) -> SessionId {
        SessionId::try_new(&format!("ses_{number}")).unwrap()
    }

    #[test]
    fn a_hundred_thousand_deletions_at_once_are_remembered_and_of_more_the_oldest_are_counted_out() {
        let erased = Erased::default();
        for number in 0..MOST {
            erased.add(session(number), 1);
        }
        erased.add(session(0), 2);
        assert_eq!((erased.held(), erased.forgotten()), ((MOST, MOST), 0));
        for number in MOST..MOST + 1000 {
            erased.add(session(number), 3);
        }
        assert_eq!((erased.held(), erased.forgotten()), ((MOST, MOST), 1000));
        let names = erased.names.read();
        assert!(!names.known.contains_key(&session(999)) && names.known.contains_key(&session(1000)));
    }

    #[test]
    fn what_was_written_is_read_in_its_order_and_the_old_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("erased");
        let erased = Erased::default();
        for number in 0..10 {
            erased.add(session(number), number as u64);
        }
        erased.write(&file, true).unwrap();
        let (read, pending) = Erased::read(&file).unwrap();
        read.forget_before(5);
        assert!(pending);
        assert_eq!(read.names.read().order, (5..10).map(session).collect::<VecDeque<_>>());
        assert_eq!(read.held().0, 5);
    }
}
