//! Sessions that advance although no stream said so: somebody writes them whom we cannot hear.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;

use crate::domain::ids::SessionId;

/// How many such sessions are remembered; the oldest suspicion is dropped first.
const MOST: usize = 10_000;

/// Who may be writing a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// The processes that have the session's store open and cannot be reached.
    pub pids: Vec<u32>,
    /// When the session was last seen to advance, in milliseconds since 1970.
    pub at_ms: u64,
}

/// That somebody wrote a session whom we cannot hear: proven by what streams told and did not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// When it was noticed last, in milliseconds since 1970.
    pub at_ms: u64,
    /// The processes that had the session's store open then and could not be reached; none if it had ended by then.
    pub pids: Vec<u32>,
}

/// See the module. A claim by output, screen, turn or pin clears the suspicion; a sighting
/// is a fact and stays.
#[derive(Debug, Default)]
pub struct Unseen {
    suspicions: Mutex<Table<Suspicion>>,
    sightings: Mutex<Table<Sighting>>,
}

#[derive(Debug)]
struct Table<T> {
    known: HashMap<SessionId, T>,
    order: VecDeque<SessionId>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { known: HashMap::new(), order: VecDeque::new() }
    }
}

impl<T> Table<T> {
    fn put(&mut self, session: &SessionId, what: T) {
        if self.known.insert(session.clone(), what).is_none() {
            self.order.push_back(session.clone());
        }
        while self.order.len() > MOST {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }
}

impl Unseen {
    /// Remembers, or renews, a suspicion.
    pub fn suspect(&self, session: &SessionId, suspicion: Suspicion) {
        self.suspicions.lock().put(session, suspicion);
    }

    /// Drops the suspicion: a server that we hear runs the session. Called for every such word, so it is quick when
    /// nothing is suspected.
    pub fn clear(&self, session: &SessionId) {
        let mut table = self.suspicions.lock();
        if !table.known.is_empty() && table.known.remove(session).is_some() {
            table.order.retain(|known| known != session);
        }
    }

    /// Who is suspected of writing `session`.
    pub fn suspected(&self, session: &SessionId) -> Option<Suspicion> {
        self.suspicions.lock().known.get(session).cloned()
    }

    /// Remembers that somebody unseen wrote `session`.
    pub fn sighted(&self, session: &SessionId, sighting: Sighting) {
        self.sightings.lock().put(session, sighting);
    }

    /// How many sessions are suspected to be written unseen or known to have been, and how many may be.
    pub fn held(&self) -> (usize, usize) {
        (self.suspicions.lock().known.len() + self.sightings.lock().known.len(), 2 * MOST)
    }

    /// When somebody unseen wrote `session` last.
    pub fn last_sighting(&self, session: &SessionId) -> Option<Sighting> {
        self.sightings.lock().known.get(session).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspicions_are_bounded_renewed_and_cleared() {
        let unseen = Unseen::default();
        let id = |number: usize| SessionId::try_new(&format!("ses_{number}")).unwrap();
        for number in 0..=MOST {
            unseen.suspect(&id(number), Suspicion { pids: vec![1], at_ms: 1 });
        }
        assert_eq!(unseen.suspected(&id(0)), None);
        unseen.suspect(&id(1), Suspicion { pids: vec![2], at_ms: 2 });
        assert_eq!(unseen.suspected(&id(1)).unwrap().pids, [2]);
        unseen.clear(&id(1));
        assert_eq!(unseen.suspected(&id(1)), None);
    }
}
