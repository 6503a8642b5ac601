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

/// See the module. A claim by output, screen, turn or pin clears the suspicion.
#[derive(Debug, Default)]
pub struct Unseen(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    suspicions: HashMap<SessionId, Suspicion>,
    order: VecDeque<SessionId>,
}

impl Unseen {
    /// Remembers, or renews, a suspicion.
    pub fn suspect(&self, session: &SessionId, suspicion: Suspicion) {
        let mut table = self.0.lock();
        if table.suspicions.insert(session.clone(), suspicion).is_none() {
            table.order.push_back(session.clone());
        }
        while table.order.len() > MOST {
            if let Some(oldest) = table.order.pop_front() {
                table.suspicions.remove(&oldest);
            }
        }
    }

    /// Drops the suspicion: a server that we hear runs the session. Called for every such word, so it is quick when
    /// nothing is suspected.
    pub fn clear(&self, session: &SessionId) {
        let mut table = self.0.lock();
        if !table.suspicions.is_empty() && table.suspicions.remove(session).is_some() {
            table.order.retain(|known| known != session);
        }
    }

    /// Who is suspected of writing `session`.
    pub fn suspected(&self, session: &SessionId) -> Option<Suspicion> {
        self.0.lock().suspicions.get(session).cloned()
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
