//! `/servers`: what runs, and what each owns.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
};

use axum::{extract::State, http::Uri};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    Answer, Api, aside, heirs, json,
    query::query,
    unreachable::unreachable,
    wire::{ServerState, ServerView},
};
use crate::{
    domain::ids::{ServerKey, SessionId},
    registry::{
        Registry,
        server::{Server, State as Known},
        servers::Snapshot,
    },
};

/// How many sessions of one server are named. Whoever wants all of them pages through `/sessions?server=`.
const MOST_NAMED: usize = 1000;

/// What a list of servers may be asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// `false` leaves the ids of sessions out.
    sessions: Option<bool>,
    /// `true` adds the agents that run but open no port.
    unreachable: Option<bool>,
}

/// Every server that runs, those known longest first.
#[utoipa::path(
    get, path = "/servers", tag = "servers", params(Wanted),
    responses(
        (status = 200, description = "The servers.", body = Vec<ServerView>),
        (status = 400, description = "A parameter says nothing sensible.", body = super::wire::ErrorView),
    ),
)]
pub(super) async fn list(State(api): State<Api>, uri: Uri) -> Answer {
    let wanted: Wanted = query(&uri)?;
    let servers = aside(move || {
        let mut servers = reachable(&api.registry, wanted.sessions.unwrap_or(true));
        if wanted.unreachable.unwrap_or(false) && api.scans {
            servers.extend(unreachable(&api));
        }
        servers
    });
    json(&servers.await?)
}

/// The same list under the path that clients of an earlier program ask for.
#[utoipa::path(
    get, path = "/api/opencode/servers", tag = "servers", params(Wanted),
    responses(
        (status = 200, description = "The same as GET /servers.", body = Vec<ServerView>),
        (status = 400, description = "A parameter says nothing sensible.", body = super::wire::ErrorView),
    ),
)]
pub(super) async fn list_for_predecessor(state: State<Api>, uri: Uri) -> Answer {
    list(state, uri).await
}

/// What one server owns.
#[derive(Debug, Default)]
struct Owned {
    count: u64,
    newest: BinaryHeap<Reverse<(u64, SessionId)>>,
}

impl Owned {
    fn add(&mut self, updated_ms: u64, session: &SessionId) {
        self.count += 1;
        let least = self.newest.peek().filter(|_| self.newest.len() >= MOST_NAMED);
        if least.is_some_and(|Reverse((least_ms, _))| *least_ms > updated_ms) {
            return;
        }
        self.newest.push(Reverse((updated_ms, session.clone())));
        if self.newest.len() > MOST_NAMED {
            self.newest.pop();
        }
    }

    fn newest(self) -> Vec<SessionId> {
        self.newest.into_sorted_vec().into_iter().map(|Reverse((_, session))| session).collect()
    }
}

fn reachable(registry: &Registry, with_sessions: bool) -> Vec<ServerView> {
    let servers = Arc::clone(&registry.servers.now());
    let mut owned = owned(registry, &servers);
    let view = |server: &Arc<Server>| {
        let owned = owned.remove(&server.key).unwrap_or_default();
        ServerView {
            session_count: owned.count,
            sessions: with_sessions.then(|| owned.newest()),
            ..view(registry, server)
        }
    };
    servers.iter().map(view).collect()
}

/// One walk over all sessions for all servers.
fn owned(registry: &Registry, servers: &Snapshot) -> HashMap<ServerKey, Owned> {
    let mut owned: HashMap<ServerKey, Owned> = HashMap::new();
    let mut heirs = Vec::new();
    registry.sessions.glance(|glance| {
        if heirs::may_inherit(&glance, servers) {
            heirs.push((glance.id.clone(), glance.store(), glance.updated_ms()));
        } else if let Some(owner) = heirs::own_owner(&glance, servers)
            && owner.evidence.owns()
        {
            owned.entry(owner.server).or_default().add(glance.updated_ms(), glance.id);
        }
    });
    for (session, store, updated_ms) in heirs {
        if let Some(owner) = registry.sessions.owner_in(&session, store, servers)
            && owner.evidence.owns()
        {
            owned.entry(owner.server).or_default().add(updated_ms, &session);
        }
    }
    owned
}

fn view(registry: &Registry, server: &Server) -> ServerView {
    let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
    ServerView {
        id: server.id.to_string(),
        port: Some(server.address.port),
        pid: server.process.map(|process| process.pid),
        directory: text(&server.directory),
        directories: server.directories.all().iter().map(ToString::to_string).collect(),
        worktree: text(&server.worktree),
        project: text(&server.project),
        version: text(&server.version),
        url: Some(server.address.url()),
        state: match server.state {
            Known::Up => ServerState::Up,
            Known::Stalled => ServerState::Stalled,
            Known::Locked => ServerState::Locked,
        },
        kind: server.kind,
        store: Some(registry.stores.label(server.store)),
        sources: server.sources.iter().map(|source| source.as_str().to_owned()).collect(),
        since: Some(server.since_ms),
        session_count: 0,
        sessions: None,
        viewing: registry.screens.of_server(server.key),
        hint: None,
    }
}
