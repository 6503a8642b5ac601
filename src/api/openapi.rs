//! `/openapi.json`: our own endpoints, for programs. What the agents serve is described by their own `/doc`.

use axum::extract::State;
use utoipa::{OpenApi, openapi::ServerBuilder};

use super::{
    Answer, Api, json, metrics, owner, probes, registrations, servers, session, sessions, spawn, wire,
};

/// Every endpoint of ours but the streams, with its schemas.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "pointsman",
        description = "One URL in front of all coding-agent servers. These are the daemon's own endpoints; every \
                       other path is the agents' and goes to the server that must have it.",
    ),
    paths(
        servers::list,
        servers::list_for_predecessor,
        registrations::challenge,
        spawn::start,
        registrations::register,
        registrations::renew,
        registrations::leave,
        sessions::list,
        sessions::ids,
        session::show,
        owner::pin,
        owner::unpin,
        probes::alive,
        probes::ready,
        metrics::show,
        show
    ),
    components(schemas(
        wire::ServerState,
        wire::Status,
        wire::ServerView,
        wire::SessionView,
        wire::SessionPage,
        wire::ClaimView,
        wire::SessionDetail,
        wire::Pin,
        wire::Spawn,
        wire::SpawnedServer,
        wire::Challenge,
        wire::Proof,
        wire::Registration,
        wire::Heartbeat,
        wire::Lease,
        wire::Viewer,
        wire::ErrorView,
        wire::ErrorData
    )),
    tags(
        (name = "servers", description = "What runs."),
        (name = "sessions", description = "Who owns what, and why."),
        (name = "daemon", description = "The daemon itself."),
    )
)]
pub struct Document;

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "daemon",
    responses((status = 200, description = "The description of these endpoints.", body = serde_json::Value)),
)]
pub(super) async fn show(State(api): State<Api>) -> Answer {
    let mut document = Document::openapi().merge_from((*api.streams).clone());
    document.servers = Some(vec![ServerBuilder::new().url(&*api.own_url).build()]);
    json(&document)
}
