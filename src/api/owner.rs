//! `/sessions/{id}/owner`: somebody knows better than all evidence.

use std::sync::Arc;

use axum::{
    extract::{
        Path, State,
        rejection::{BytesRejection, FailedToBufferBody, PathRejection},
    },
    http::{HeaderMap, Uri},
};
use bytes::Bytes;

use super::{
    Answer, Api,
    error::Fault,
    json,
    session::{find, session_in},
    view,
    wire::{Pin, SessionDetail},
};
use crate::{
    domain::{
        evidence::Evidence,
        ids::{ServerKey, SessionId, StoreKey},
    },
    proxy::{named, route::RouteError},
    registry::{News, server::State as ServerState, sessions::Known},
};

/// How much of a body is read; axum's own limit, named for the error that tells it.
const MOST: usize = 2 * 1024 * 1024;

/// Gives a session to a server, whatever the evidence, until it is taken back or the server ends.
#[utoipa::path(
    put, path = "/sessions/{id}/owner", tag = "sessions",
    params(("id" = String, Path, description = "The session.")), request_body = Pin,
    responses(
        (status = 200, description = "The session as it is now.", body = SessionDetail),
        (status = 400, description = "The body is no such object.", body = super::wire::ErrorView),
        (status = 404, description = "There is no such session or server.", body = super::wire::ErrorView),
        (status = 409, description = "The server is locked or reads another store.", body = super::wire::ErrorView),
        (status = 413, description = "The body is too large.", body = super::wire::ErrorView),
    ),
)]
pub(super) async fn pin(
    State(api): State<Api>,
    path: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let session = session_in(path)?;
    let Pin { server: name } = read(body)?;
    let servers = Arc::clone(&api.registry.servers.now());
    let Some(server) = servers.by_name(&name) else { return Err(RouteError::UnknownServer { name }.into()) };
    if server.state == ServerState::Locked {
        return Err(Fault::ServerLocked { server: server.address.to_string() });
    }
    let known = find(&api, &session, Some(&name)).await?;
    // The new pin first: in between the session must not fall to whoever has other evidence.
    let mut news = api.registry.claim(server, &session, Evidence::Pinned);
    news.add(take_back(&api, &known, Some(server.key)));
    settle(&api, &session, server.store, news).await
}

/// Leaves a session to the evidence again.
#[utoipa::path(
    delete, path = "/sessions/{id}/owner", tag = "sessions",
    params(("id" = String, Path, description = "The session.")),
    responses(
        (status = 200, description = "The session as it is now.", body = SessionDetail),
        (status = 404, description = "There is no such session.", body = super::wire::ErrorView),
        (status = 409, description = "Several stores have it; name a server of one.", body = super::wire::ErrorView),
    ),
)]
pub(super) async fn unpin(
    State(api): State<Api>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer {
    let session = session_in(path)?;
    let wanted: super::session::Wanted = super::query::query(&uri)?;
    let server = wanted.server.as_deref().or_else(|| named::server(&headers));
    let known = find(&api, &session, server).await?;
    let news = take_back(&api, &known, None);
    settle(&api, &session, known.store, news).await
}

fn read(body: Result<Bytes, BytesRejection>) -> Result<Pin, Fault> {
    let body = body.map_err(|error| match error {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
            Fault::BodyTooLarge { limit: MOST }
        }
        error => Fault::BadBody { message: error.body_text() },
    })?;
    serde_json::from_slice(&body).map_err(|error| Fault::BadBody {
        message: format!("the body must be an object like {{\"server\":\"127.0.0.1:4096\"}}: {error}"),
    })
}

/// Takes back every pin in the session's store but the one of `kept`.
fn take_back(api: &Api, known: &Known, kept: Option<ServerKey>) -> News {
    let servers = api.registry.servers.now();
    let session = &known.row.id;
    let mut news = News::default();
    let pins = known.claims.iter().filter(|claim| claim.evidence == Evidence::Pinned);
    for claim in pins.filter(|claim| Some(claim.server) != kept) {
        match servers.get(claim.server) {
            Some(server) => news.add(api.registry.retract(server, session, Evidence::Pinned)),
            // One of a server that has gone counts for nothing and moves nothing.
            None => {
                let sessions = &api.registry.sessions;
                sessions.retract(known.store, session, claim.server, Evidence::Pinned, &servers);
            }
        }
    }
    news
}

/// Tells what moved, and answers once it would survive our own death.
async fn settle(api: &Api, session: &SessionId, store: StoreKey, news: News) -> Answer {
    (api.tell)(news);
    api.registry.settled().await;
    let servers = Arc::clone(&api.registry.servers.now());
    let known = view::known(api, session, store, &servers)
        .ok_or_else(|| Fault::SessionUnknown { session: session.to_string() })?;
    json(&view::detail(api, &known, &servers))
}
