//! Ids that carry no session: permission and question requests, terminals, workspaces.
//!
//! They belong to the server that raised them for their lifetime, whatever becomes of the session's owner. Bounded:
//! the oldest are forgotten first, and a forgotten one is found again by asking.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::domain::{
    ask::{Ask, AskKind},
    ids::{ServerKey, SessionId},
};

/// How many ids are remembered: far more than people leave unanswered, and below 10 MiB.
const MOST: usize = 20_000;

/// How many ids of questions are remembered that died with their asker: enough for the answers that are on their way.
const MOST_ORPHANS: usize = 2_000;

/// A question whose asker has gone: nobody can answer it any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// What was asked for.
    pub ask: Ask,
    /// The id it was asked under.
    pub id: Arc<str>,
    /// The session that asked.
    pub session: SessionId,
    /// The directory it asked in.
    pub directory: Option<Arc<str>>,
}

/// Who raised an id, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The server that raised it.
    pub server: ServerKey,
    /// The session it was raised for, if any.
    pub session: Option<SessionId>,
    /// The directory it was raised in: an answer must name it.
    pub directory: Option<Arc<str>>,
    /// What is asked for under it, if a person is to answer.
    pub ask: Option<Ask>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Asked(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// Each with its place in the order.
    origins: HashMap<Arc<str>, (u64, Origin)>,
    /// Ids by when they were raised first.
    order: BTreeMap<u64, Arc<str>>,
    /// The places of a session's ids: whoever deletes sessions must not go through all ids for each.
    of_session: HashMap<SessionId, BTreeSet<u64>>,
    raised: u64,
    orphans: VecDeque<(Arc<str>, AskKind)>,
}

impl Asked {
    /// Remembers who raised `id`.
    pub fn raised(&self, id: &str, origin: Origin) {
        let mut table = self.0.lock();
        table.put(id.into(), origin);
        while table.order.len() > MOST {
            let Some((_, oldest)) = table.order.pop_first() else { return };
            table.take(&oldest);
        }
    }

    /// How many ids are remembered, and how many may be.
    pub fn held(&self) -> (usize, usize) {
        (self.0.lock().origins.len(), MOST)
    }

    /// Who raised `id`.
    pub fn origin(&self, id: &str) -> Option<Origin> {
        self.0.lock().origins.get(id).map(|(_, origin)| origin.clone())
    }

    /// Forgets an id that was answered or closed.
    pub fn closed(&self, id: &str) {
        self.0.lock().take(id);
    }

    /// Forgets what a server that has gone had raised, and gives the questions among it that were still open.
    pub fn forget_server(&self, server: ServerKey) -> Vec<Orphan> {
        let mut table = self.0.lock();
        let is_its =
            |id: &&Arc<str>| table.origins.get(*id).is_some_and(|(_, origin)| origin.server == server);
        let of_server: Vec<Arc<str>> = table.order.values().filter(is_its).cloned().collect();
        let orphan = |id: Arc<str>| {
            let Origin { ask, session, directory, .. } = table.take(&id)?;
            Some(Orphan { ask: ask?, id, session: session?, directory })
        };
        let orphans: Vec<_> = of_server.into_iter().filter_map(orphan).collect();
        for orphan in &orphans {
            table.orphans.push_back((Arc::clone(&orphan.id), orphan.ask.kind));
        }
        let surplus = table.orphans.len().saturating_sub(MOST_ORPHANS);
        table.orphans.drain(..surplus);
        orphans
    }

    /// What was asked for under an id whose asker has gone.
    pub fn orphaned(&self, id: &str) -> Option<AskKind> {
        let table = self.0.lock();
        table.orphans.iter().find(|(orphan, _)| **orphan == *id).map(|(_, kind)| *kind)
    }

    /// Forgets what was raised for a session that was deleted.
    pub fn forget_session(&self, session: &SessionId) {
        let mut table = self.0.lock();
        let places = table.of_session.get(session).cloned().unwrap_or_default();
        for place in places {
            if let Some(id) = table.order.get(&place).cloned() {
                table.take(&id);
            }
        }
    }
}

impl Table {
    /// Enters an id; one that is known keeps its place.
    fn put(&mut self, id: Arc<str>, origin: Origin) {
        let place = match self.origins.get(&id) {
            Some((place, known)) => {
                let (place, session) = (*place, known.session.clone());
                self.leave(session.as_ref(), place);
                place
            }
            None => {
                self.raised += 1;
                self.raised
            }
        };
        if let Some(session) = &origin.session {
            self.of_session.entry(session.clone()).or_default().insert(place);
        }
        self.order.insert(place, Arc::clone(&id));
        self.origins.insert(id, (place, origin));
    }

    /// Takes an id out.
    fn take(&mut self, id: &str) -> Option<Origin> {
        let (place, origin) = self.origins.remove(id)?;
        self.order.remove(&place);
        self.leave(origin.session.as_ref(), place);
        Some(origin)
    }

    fn leave(&mut self, session: Option<&SessionId>, place: u64) {
        if let Some(session) = session
            && let Some(places) = self.of_session.get_mut(session)
        {
            places.remove(&place);
            if places.is_empty() {
                self.of_session.remove(session);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ask::Interface;

    fn origin(server: u32, session: &str) -> Origin {
        let session = SessionId::try_new(session).ok();
        Origin { server: ServerKey(server), session, directory: Some("/work".into()), ask: None }
    }

    #[test]
    fn an_id_belongs_to_whoever_raised_it_until_it_is_closed() {
        let asked = Asked::default();
        asked.raised("per_1", origin(1, "ses_a"));
        assert_eq!(asked.origin("per_1"), Some(origin(1, "ses_a")));
        asked.closed("per_1");
        assert_eq!(asked.origin("per_1"), None);
    }

    #[test]
    fn a_server_or_a_session_takes_its_own_ids_along_and_no_others() {
        let asked = Asked::default();
        asked.raised("per_1", origin(1, "ses_a"));
        asked.raised("per_2", origin(2, "ses_a"));
        asked.raised("per_3", origin(2, "ses_b"));
        asked.raised("pty_1", Origin { session: None, ..origin(2, "ses_b") });
        asked.forget_server(ServerKey(1));
        assert_eq!(asked.origin("per_1"), None);
        assert!(asked.origin("per_2").is_some());
        asked.forget_session(&SessionId::try_new("ses_a").unwrap());
        assert_eq!(asked.origin("per_2"), None);
        assert!(asked.origin("per_3").is_some() && asked.origin("pty_1").is_some());
    }

    #[test]
    fn questions_left_open_by_a_server_that_has_gone_are_told_once_and_remembered() {
        let asked = Asked::default();
        let ask = Ask::of("per_1", Interface::First);
        asked.raised("per_1", Origin { ask, ..origin(1, "ses_a") });
        asked.raised("per_2", Origin { ask, ..origin(1, "ses_a") });
        asked.raised("per_3", Origin { ask, ..origin(2, "ses_a") });
        asked.raised("pty_1", origin(1, "ses_a"));
        asked.closed("per_2");
        let told: Vec<_> = asked.forget_server(ServerKey(1)).into_iter().map(|orphan| orphan.id).collect();
        assert_eq!(told, ["per_1".into()]);
        assert_eq!(asked.forget_server(ServerKey(1)), []);
        assert_eq!(asked.orphaned("per_1"), Some(AskKind::Permission));
        for id in ["per_2", "per_3", "pty_1"] {
            assert_eq!(asked.orphaned(id), None, "{id}");
        }
    }

    #[test]
    fn the_oldest_are_forgotten_first_and_what_was_closed_makes_room() {
        let asked = Asked::default();
        let raise = |number: usize| asked.raised(&format!("per_{number}"), origin(1, "ses_a"));
        (0..MOST).for_each(raise);
        asked.closed("per_1");
        raise(MOST);
        assert!(asked.origin("per_0").is_some());
        raise(MOST + 1);
        assert_eq!(asked.origin("per_0"), None);
        assert!(asked.origin("per_2").is_some());
        assert_eq!(asked.held(), (MOST, MOST));
    }

    /// Each that went through all ids would take a thousandth of a second, and a hundred seconds for all.
    #[test]
    fn a_hundred_thousand_sessions_can_be_deleted_while_many_ids_are_open() {
        let asked = Asked::default();
        for number in 0..MOST {
            asked.raised(&format!("per_{number}"), origin(1, &format!("ses_{}", number / 2)));
        }
        for number in 1..100_000 {
            asked.forget_session(&SessionId::try_new(&format!("ses_{number}")).unwrap());
        }
        assert!(asked.origin("per_0").is_some() && asked.origin("per_1").is_some());
        asked.closed("per_0");
        asked.closed("per_1");
        let table = asked.0.lock();
        assert!(table.origins.is_empty() && table.order.is_empty() && table.of_session.is_empty());
    }

    #[test]
    fn an_id_raised_again_is_kept_once() {
        let asked = Asked::default();
        asked.raised("per_1", origin(1, "ses_a"));
        asked.raised("per_1", origin(2, "ses_a"));
        assert_eq!(asked.origin("per_1"), Some(origin(2, "ses_a")));
        assert_eq!(asked.0.lock().order.len(), 1);
    }
}
