//! `POST /servers/spawn`: a server started by hand. The guard has asked for the secret before this runs.

use axum::{
    extract::{State, rejection::BytesRejection},
    http::StatusCode,
    response::IntoResponse,
};
use bytes::Bytes;

use super::{
    Answer, Api, json,
    registrations::read,
    wire::{Spawn, SpawnedServer},
};
use crate::spawn::Asked;

/// Starts a server in a directory, or gives the one that was started there before.
#[utoipa::path(
    post, path = "/servers/spawn", tag = "servers", request_body = Spawn,
    responses(
        (status = 200, description = "One runs that was started before.", body = SpawnedServer),
        (status = 201, description = "It is started and answers.", body = SpawnedServer),
        (status = 400, description = "The body is no such object.", body = super::wire::ErrorView),
        (status = 401, description = "The secret is missing.", body = super::wire::ErrorView),
        (status = 403, description = "Not in this directory, or nowhere at all.", body = super::wire::ErrorView),
        (status = 413, description = "The body is too large.", body = super::wire::ErrorView),
        (status = 422, description = "There is no such directory.", body = super::wire::ErrorView),
        (status = 503, description = "It did not start, or as many run as may.", body = super::wire::ErrorView),
    ),
)]
pub(super) async fn start(State(api): State<Api>, body: Result<Bytes, BytesRejection>) -> Answer {
    let Spawn { directory } = read(body)?;
    let (server, is_new) = api.spawner.server(&directory, Asked::ByHand).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let started = SpawnedServer {
        id: server.id.to_string(),
        url: server.address.url(),
        pid: server.process.map(|process| process.pid),
        directory: server.directory.as_deref().unwrap_or(&directory).to_owned(),
    };
    Ok((status, json(&started)?).into_response())
}
