//! Ids that carry no session: permission and question requests, terminals, workspaces.
//!
//! They belong to the server that raised them for their lifetime, whatever becomes of the session's owner. Bounded:
//! the oldest are forgotten first, and a forgotten one is found again by asking.

use std::{
    collections::{HashMap, VecDeque},
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
    origins: HashMap<Arc<str>, Origin>,
    order: VecDeque<Arc<str>>,
    orphans: VecDeque<(Arc<str>, AskKind)>,
}

impl Asked {
    /// Remembers who raised `id`.
    pub fn raised(&self, id: &str, origin: Origin) {
        let mut table = self.0.lock();
        let id: Arc<str> = id.into();
        if table.origins.insert(Arc::clone(&id), origin).is_none() {
            table.order.push_back(id);
        }
        while table.order.len() > MOST {
            if let Some(oldest) = table.order.pop_front() {
                table.origins.remove(&oldest);
            }
        }
    }

    /// Who raised `id`.
    pub fn origin(&self, id: &str) -> Option<Origin> {
        self.0.lock().origins.get(id).cloned()
    }

    /// Forgets an id that was answered or closed.
    pub fn closed(&self, id: &str) {
        self.0.lock().forget(|known, _| known == id);
    }

    /// Forgets what a server that has gone had raised, and gives the questions among it that were still open.
    pub fn forget_server(&self, server: ServerKey) -> Vec<Orphan> {
        let mut table = self.0.lock();
        let of_server = table
            .order
            .iter()
            .filter_map(|id| Some((id, table.origins.get(id)?)))
            .filter(|(_, origin)| origin.server == server);
        let orphans: Vec<_> = of_server
            .filter_map(|(id, origin)| {
                Some(Orphan {
                    ask: origin.ask?,
                    id: Arc::clone(id),
                    session: origin.session.clone()?,
                    directory: origin.directory.clone(),
                })
            })
            .collect();
        table.forget(|_, origin| origin.server == server);
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
        self.0.lock().forget(|_, origin| origin.session.as_ref() == Some(session));
    }
}

impl Table {
    fn forget(&mut self, gone: impl Fn(&str, &Origin) -> bool) {
        self.origins.retain(|id, origin| !gone(id, origin));
        let origins = &self.origins;
        self.order.retain(|id| origins.contains_key(id));
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
        assert_eq!(asked.0.lock().origins.len(), MOST);
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
