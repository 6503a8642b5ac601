//! `/sessions/{id}`: one session, and the whole truth about who owns it.

use std::sync::Arc;

use axum::{
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, Uri},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, Api, error::Fault, json, query::query, view, wire::SessionDetail};
use crate::{
    domain::{
        claim::Claims,
        ids::{SessionId, StoreKey},
        session::SessionRow,
    },
    proxy::{named, route::RouteError},
    registry::{servers::Snapshot, sessions::Known},
};

/// Which session of that id is meant, where several stores have it.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// A server of the store that is meant. The header `X-Pointsman-Server` says the same.
    pub(super) server: Option<String>,
}

/// One session: its owner, all claims on it, and why it is so.
#[utoipa::path(
    get, path = "/sessions/{id}", tag = "sessions",
    params(("id" = String, Path, description = "The session."), Wanted),
    responses(
        (status = 200, description = "The session.", body = SessionDetail),
        (status = 404, description = "No store has it, or no server is called so.", body = super::wire::ErrorView),
        (status = 409, description = "Several stores have it; data.servers names one of each.", body = super::wire::ErrorView),
    ),
)]
pub(super) async fn show(
    State(api): State<Api>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let session = session_in(path)?;
    let Wanted { server } = query(&uri)?;
    let server = server.as_deref().or_else(|| named::server(&headers));
    let known = find(&api, &session, server).await?;
    let servers = Arc::clone(&api.registry.servers.now());
    json(&view::detail(&api, &known, &servers))
}

/// The session that a path names. What cannot be an id is no session anybody has.
pub(super) fn session_in(path: Result<Path<String>, PathRejection>) -> Result<SessionId, Fault> {
    let Path(text) = path.map_err(|error| Fault::BadRequest { message: error.body_text() })?;
    SessionId::try_new(&text).map_err(|_| Fault::SessionUnknown { session: text })
}

/// What is known of a session, after a look into the stores if nobody has mentioned it yet. `server` tells which
/// store is meant, where several have it.
pub(super) async fn find(api: &Api, session: &SessionId, server: Option<&str>) -> Result<Known, Fault> {
    let mut servers = Arc::clone(&api.registry.servers.now());
    let mut known = api.registry.sessions.describe(session, &servers);
    if known.is_empty() {
        let Some(store) = api.scout.look_up(session, None).await else {
            return Err(Fault::SessionUnknown { session: session.to_string() });
        };
        servers = Arc::clone(&api.registry.servers.now());
        known = api.registry.sessions.describe(session, &servers);
        if known.is_empty() {
            known.push(nameless(session, store));
        }
    }
    if let Some(name) = server {
        let Some(server) = servers.by_name(name) else {
            return Err(RouteError::UnknownServer { name: name.to_owned() }.into());
        };
        let (store, address) = (server.store, server.address.to_string());
        return known
            .into_iter()
            .find(|known| known.store == store)
            .ok_or_else(|| Fault::OtherStore { server: address, session: session.clone() });
    }
    if known.len() > 1 {
        return Err(several(session, &known, &servers));
    }
    known.pop().ok_or_else(|| Fault::SessionUnknown { session: session.to_string() })
}

/// A session of which only the store is known, until its list is read.
fn nameless(session: &SessionId, store: StoreKey) -> Known {
    let row = SessionRow {
        id: session.clone(),
        directory: Arc::default(),
        title: Arc::default(),
        project: Arc::default(),
        parent: None,
        created_ms: 0,
        updated_ms: 0,
    };
    Known { row, store, owner: None, claims: Claims::default() }
}

fn several(session: &SessionId, known: &[Known], servers: &Snapshot) -> Fault {
    let one_of_each = known.iter().filter_map(|known| servers.of_store(known.store).next());
    let servers = one_of_each.map(|server| server.address.to_string()).collect();
    RouteError::SeveralStores { session: session.clone(), servers }.into()
}
