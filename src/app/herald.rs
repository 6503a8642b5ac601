//! What everybody should hear of: servers that come and go, sessions that change hands.
//!
//! Each piece of news is told three times over, in one place: to subscribers, in the log, and as a number.

use std::sync::Arc;

use crate::{
    domain::{ask::Interface, ids::ServerKey},
    events::{
        hub::Hub,
        own::{self, Orphaned, ServerChange, ServerNotice, SessionConflict, SessionMoved, SessionViewed},
    },
    metrics::Metrics,
    registry::{Conflict, Crier, Move, News, Registry, View, asked::Orphan, server::Server},
};

/// See the module.
#[derive(Clone)]
pub(super) struct Herald {
    hub: Hub,
    second: Hub,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
}

impl Herald {
    /// A herald that speaks through `hub`, and through `second` where the clients of the second interface must hear
    /// it too.
    pub(super) fn new(hub: Hub, second: Hub, registry: Arc<Registry>, metrics: Arc<Metrics>) -> Self {
        Self { hub, second, registry, metrics }
    }

    /// Something happened to a server.
    pub(super) fn server(&self, change: ServerChange, server: &Server) {
        let notice = ServerNotice {
            id: &server.id.0,
            url: &server.address.url(),
            directory: server.directory.as_deref(),
            pid: server.process.map(|process| process.pid),
        };
        self.hub.announce(own::server(change, &notice));
    }

    fn moved(&self, Move { session, from, to, evidence }: &Move) {
        let (from, to) = (from.as_ref().map(|id| &*id.0), to.as_ref().map(|id| &*id.0));
        self.metrics.moved();
        tracing::debug!(%session, from, to, evidence = evidence.map(tracing::field::display), "session moved");
        self.hub.announce(own::session_moved(&SessionMoved { session, from, to, evidence: *evidence }));
    }

    fn conflict(&self, Conflict { session, busy, other }: &Conflict) {
        let id = |key: ServerKey| self.registry.servers.id(key);
        let (Some(owner), Some(other)) = (id(*busy), id(*other)) else { return };
        self.metrics.conflicted();
        tracing::warn!(%session, %owner, %other, "two servers run a turn of one session");
        self.hub.announce(own::session_conflict(&SessionConflict {
            session,
            owner: &owner.0,
            other: &other.0,
        }));
    }

    fn viewed(&self, View { session, viewer, server, kind, viewing }: &View) {
        let server = server.as_ref().map(|id| &*id.0);
        let (kind, viewing) = (*kind, *viewing);
        tracing::debug!(%session, %viewer, server, viewing, "screen moved");
        self.hub.announce(own::session_viewed(&SessionViewed { session, viewer, server, kind, viewing }));
    }

    /// Takes a question that nobody can answer any more off all screens.
    fn orphaned(&self, Orphan { ask, id, session, directory }: &Orphan) {
        let known = self.registry.sessions.describe(session, &self.registry.servers.now());
        let project = known.first().map(|known| &*known.row.project).filter(|project| !project.is_empty());
        tracing::debug!(%session, %id, "the asker of a question has gone");
        let orphan = Orphaned { ask: *ask, id, session, directory: directory.as_ref(), project };
        self.hub.announce(own::orphaned(&orphan, Interface::First));
        self.second.announce(own::orphaned(&orphan, Interface::Second));
    }
}

impl Crier for Herald {
    fn cry(&self, news: News) {
        for moved in &news.moves {
            self.moved(moved);
        }
        for conflict in &news.conflicts {
            self.conflict(conflict);
        }
        for view in &news.views {
            self.viewed(view);
        }
        for orphan in &news.orphans {
            self.orphaned(orphan);
        }
    }
}
