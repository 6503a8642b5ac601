//! One session of which something happened that no stream has told.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use parking_lot::Mutex;
use serde_json::json;
use tokio::{sync::Semaphore, time::sleep};

use super::{AT_ONCE, OVERLAP_MS, Present, SHORTEST_PAUSE};
use crate::{
    app::intake::Intake,
    discovery::agent,
    domain::{
        ids::{SessionId, StoreKey},
        session::SessionRow,
    },
    events::repair::Since,
    opencode::client::AskError,
    registry::server::Server,
    sync::{Listener, Unheard},
};

/// Why a session is looked at, as metrics and `pointsman.repaired` name it: its store's list shows what no stream tells.
const LIST: &str = "list";

/// How often it is tried; whatever shows the change again begins anew.
const ATTEMPTS: u32 = 3;

/// How many sessions may wait to be looked at: as many as have their numbers followed.
const MOST: usize = 10_000;

type Key = (StoreKey, SessionId);

/// Why a session is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::app) struct Occasion {
    /// As metrics name it.
    pub(in crate::app) reason: &'static str,
    /// Since when something may have been missed, in milliseconds since 1970.
    pub(in crate::app) since_ms: u64,
}

/// The sessions that are being looked at. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(in crate::app) struct InHand {
    /// With what was found amiss since the look began.
    sessions: Arc<Mutex<HashMap<Key, Option<Occasion>>>>,
    at_once: Arc<Semaphore>,
}

/// What is to be done about a session with which something is amiss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Look,
    /// Somebody looks already.
    Nothing,
    /// Too many wait.
    TooMany,
}

impl Default for InHand {
    fn default() -> Self {
        Self { sessions: Arc::default(), at_once: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl InHand {
    /// How many sessions are looked at or wait for it, and how many may.
    pub(in crate::app) fn held(&self) -> (usize, usize) {
        (self.sessions.lock().len(), MOST)
    }

    /// What the caller is to do.
    fn add(&self, key: &Key, occasion: Occasion) -> Task {
        let mut sessions = self.sessions.lock();
        let is_full = sessions.len() >= MOST;
        match sessions.entry(key.clone()) {
            Entry::Vacant(_) if is_full => Task::TooMany,
            Entry::Vacant(vacant) => {
                vacant.insert(Some(occasion));
                Task::Look
            }
            Entry::Occupied(mut known) => {
                let since_ms = known.get().map_or(occasion.since_ms, |known| known.since_ms);
                known.insert(Some(Occasion { since_ms: since_ms.min(occasion.since_ms), ..occasion }));
                Task::Nothing
            }
        }
    }

    /// Why to look next; `None` if nothing is amiss any more: then the caller is done.
    fn next(&self, key: &Key) -> Option<Occasion> {
        let mut sessions = self.sessions.lock();
        let occasion = sessions.get_mut(key)?.take();
        if occasion.is_none() {
            sessions.remove(key);
        }
        occasion
    }
}

impl Intake {
    /// Has a session looked at, and what differs from what clients show told.
    pub(in crate::app) fn look_at(&self, store: StoreKey, session: &SessionId, occasion: Occasion) {
        let key = (store, session.clone());
        if !self.hub.repairs() {
            return;
        }
        match self.in_hand.add(&key, occasion) {
            Task::Look => {}
            Task::Nothing => return,
            Task::TooMany => {
                if self.metrics.repair_left_out() {
                    tracing::warn!(
                        waiting = MOST,
                        "more sessions changed unheard than can be asked about: clients may show some of them as they were \
                         until they are opened again"
                    );
                }
                return;
            }
        }
        let intake = self.clone();
        tokio::spawn(async move {
            // It is never closed; were it so, all would be looked at at once.
            let _turn = intake.in_hand.at_once.acquire().await;
            while let Some(occasion) = intake.in_hand.next(&key) {
                intake.put_right(&key, occasion).await;
            }
        });
    }

    async fn put_right(&self, (store, session): &Key, occasion: Occasion) {
        let mut pause = SHORTEST_PAUSE;
        for _ in 0..ATTEMPTS {
            match self.mend(*store, session, occasion).await {
                // Its coming into being may have been outdone by a change that was told meanwhile.
                Ok(()) if self.registry.sessions.is_announced(*store, session) => return,
                Ok(()) if occasion.reason != LIST => return,
                Ok(()) => {}
                Err(error) => tracing::debug!(%session, %error, "cannot ask what was missed"),
            }
            sleep(pause).await;
            pause *= 2;
        }
    }

    async fn mend(&self, store: StoreKey, session: &SessionId, occasion: Occasion) -> Result<(), AskError> {
        let Some((server, row)) = self.best_asked(store, session) else { return Ok(()) };
        let Occasion { reason, since_ms } = occasion;
        // Whatever streams tell from here on is newer than what is asked.
        let found_at = self.hub.position();
        let agent = agent(&self.client, &server);
        let since = Since { server: &server.id.0, ms: since_ms.saturating_sub(OVERLAP_MS) };
        let directories = server.directories.contains(&row.directory).then_some(row.directory);
        let present = Present::ask(&agent, row.updated_ms, directories.into_iter().collect()).await?;
        let changes = self.missed(&server, &agent, &present, session, since).await?;
        let events = self.tell(&server, session, &present, changes, found_at);
        self.repaired(&server, reason, std::slice::from_ref(session), events);
        Ok(())
    }

    /// Who can tell most of a session without opening a directory: its owner, else one that has its directory in use.
    fn best_asked(&self, store: StoreKey, session: &SessionId) -> Option<(Arc<Server>, SessionRow)> {
        let servers = self.registry.servers.now();
        let known = self.registry.sessions.describe(session, &servers);
        let known = known.into_iter().find(|known| known.store == store)?;
        let owner = known.owner.map(|owner| owner.server);
        let rank = |server: &&Arc<Server>| {
            (server.directories.contains(&known.row.directory), owner == Some(server.key))
        };
        let server = servers.of_store(store).filter(|server| server.answering()).max_by_key(rank)?;
        Some((Arc::clone(server), known.row))
    }

    /// Takes a session that is gone off all screens.
    fn take_off(&self, store: StoreKey, session: &SessionId, row: &SessionRow) {
        let found_at = self.hub.position();
        let servers = self.registry.servers.now();
        let Some(server) = servers.of_store(store).find(|server| server.answering()) else { return };
        let info = json!({
            "id": session, "projectID": row.project, "directory": row.directory, "title": row.title,
            "parentID": row.parent,
            "time": {"created": session.created_ms(row.updated_ms), "updated": row.updated_ms},
        });
        let end = self.hub.shown(session).end(session.as_str(), Some(info));
        let changes = end.into_iter().collect();
        let events = self.tell_in(server, (&row.directory, &row.project), changes, found_at);
        self.repaired(server, LIST, std::slice::from_ref(session), events);
    }
}

impl Listener for Intake {
    fn unheard(&self, store: StoreKey, session: &SessionId, what: Unheard) {
        let since_ms = match what {
            // All of it is new.
            Unheard::Made => 0,
            Unheard::Changed { since_ms } => since_ms,
            Unheard::Gone(row) => return self.take_off(store, session, &row),
        };
        self.unheard_of(store, session);
        self.look_at(store, session, Occasion { reason: LIST, since_ms });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_looks_at_a_session_at_a_time_and_again_if_something_was_amiss_meanwhile() {
        let in_hand = InHand::default();
        let key = (StoreKey(1), SessionId::try_new("ses_1").unwrap());
        let at = |since_ms| Occasion { reason: LIST, since_ms };
        assert_eq!(in_hand.add(&key, at(5)), Task::Look);
        assert_eq!(in_hand.add(&key, at(9)), Task::Nothing);
        assert_eq!(in_hand.next(&key), Some(at(5)), "from the earlier one on");
        assert_eq!(in_hand.add(&key, at(20)), Task::Nothing, "who looks already looks again");
        assert_eq!((in_hand.next(&key), in_hand.next(&key)), (Some(at(20)), None));
        assert_eq!(in_hand.add(&key, at(30)), Task::Look);
    }

    #[test]
    fn of_too_many_sessions_no_more_are_looked_at_but_those_that_wait_already() {
        let in_hand = InHand::default();
        let key = |number: usize| (StoreKey(1), SessionId::try_new(&format!("ses_{number}")).unwrap());
        let occasion = Occasion { reason: LIST, since_ms: 1 };
        for number in 0..MOST {
            assert_eq!(in_hand.add(&key(number), occasion), Task::Look);
        }
        assert_eq!(in_hand.add(&key(MOST), occasion), Task::TooMany);
        assert_eq!(in_hand.add(&key(0), occasion), Task::Nothing);
        assert_eq!(in_hand.held(), (MOST, MOST));
        assert_eq!((in_hand.next(&key(0)), in_hand.next(&key(0))), (Some(occasion), None));
        assert_eq!(in_hand.add(&key(MOST), occasion), Task::Look);
    }
}
