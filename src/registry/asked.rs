//! Ids that carry no session: permission and question requests, terminals, workspaces.
//!
//! They belong to the server that raised them for their lifetime, whatever becomes of the session's owner. Bounded:
//! the oldest are forgotten first, and a forgotten one is found again by asking.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::domain::ids::{ServerKey, SessionId};

/// How many ids are remembered: far more than people leave unanswered, and below 10 MiB.
const MOST: usize = 20_000;

/// Who raised an id, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The server that raised it.
    pub server: ServerKey,
    /// The session it was raised for, if any.
    pub session: Option<SessionId>,
    /// The directory it was raised in: an answer must name it.
    pub directory: Option<Arc<str>>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Asked(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    origins: HashMap<Arc<str>, Origin>,
    order: VecDeque<Arc<str>>,
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

    /// Forgets what a server that has gone had raised.
    pub fn forget_server(&self, server: ServerKey) {
        self.0.lock().forget(|_, origin| origin.server == server);
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
