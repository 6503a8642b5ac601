//! `POST /servers` and what follows: agents that make themselves known.
//!
//! The guard has asked for the secret before anything here runs; the proof is for those who want to be sure of us first.

use axum::{
    extract::{
        Path, State,
        rejection::{BytesRejection, FailedToBufferBody, PathRejection},
    },
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{
    Answer, Api,
    error::Fault,
    json,
    wire::{Challenge, Heartbeat, Lease, Proof, Registration},
};
use crate::registration::{Applicant, HEARTBEAT, LEASE, PROTOCOL, Refused, Report};

/// How much of a body is read: far more than a registration takes.
const MOST: usize = 64 * 1024;

/// Proves that this daemon is the one whose secret stands in `registration.json`.
#[utoipa::path(
    post, path = "/servers/challenge", tag = "servers", request_body = Challenge,
    responses(
        (status = 200, description = "The proof.", body = Proof),
        (status = 400, description = "The nonce is none.", body = super::wire::ErrorView),
        (status = 413, description = "The body is too large.", body = super::wire::ErrorView),
    ),
)]
pub(super) async fn challenge(State(api): State<Api>, body: Result<Bytes, BytesRejection>) -> Answer {
    let Challenge { nonce } = read(body)?;
    let proof = api.desk.prove(&nonce).ok_or_else(|| Fault::BadBody {
        message: "nonce must have 16 to 128 hexadecimal digits".to_owned(),
    })?;
    json(&Proof { protocol: PROTOCOL, proof })
}

/// Registers a server, or a terminal attached by URL. The same instance again renews what it has.
#[utoipa::path(
    post, path = "/servers", tag = "servers", request_body = Registration,
    responses(
        (status = 200, description = "The instance was registered before.", body = Lease),
        (status = 201, description = "It is registered.", body = Lease),
        (status = 400, description = "The body is no such object, or of a protocol that is not spoken.", body = super::wire::ErrorView),
        (status = 401, description = "The secret is missing.", body = super::wire::ErrorView),
        (status = 403, description = "The host or the process may not.", body = super::wire::ErrorView),
        (status = 409, description = "It is this daemon itself.", body = super::wire::ErrorView),
        (status = 413, description = "The body is too large.", body = super::wire::ErrorView),
        (status = 422, description = "No agent answers there.", body = super::wire::ErrorView),
        (status = 503, description = "Too many are registered.", body = super::wire::ErrorView),
    ),
)]
pub(super) async fn register(State(api): State<Api>, body: Result<Bytes, BytesRejection>) -> Answer {
    let granted = api.desk.register(read::<Registration>(body)?.into()).await?;
    let status = if granted.new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, lease(&granted.id)?).into_response())
}

/// Renews a registration, and tells what is on screen.
#[utoipa::path(
    put, path = "/servers/{id}", tag = "servers",
    params(("id" = String, Path, description = "The id that the registration was given.")), request_body = Heartbeat,
    responses(
        (status = 200, description = "It is renewed.", body = Lease),
        (status = 400, description = "The body is no such object.", body = super::wire::ErrorView),
        (status = 401, description = "The secret is missing.", body = super::wire::ErrorView),
        (status = 404, description = "It has ended; register anew.", body = super::wire::ErrorView),
        (status = 413, description = "The body is too large.", body = super::wire::ErrorView),
    ),
)]
pub(super) async fn renew(
    State(api): State<Api>,
    path: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let id = id(path)?;
    api.desk.renew(&id, &read::<Heartbeat>(body)?.into())?;
    lease(&id)
}

/// Ends a registration.
#[utoipa::path(
    delete, path = "/servers/{id}", tag = "servers",
    params(("id" = String, Path, description = "The id that the registration was given.")),
    responses(
        (status = 204, description = "It has ended."),
        (status = 401, description = "The secret is missing.", body = super::wire::ErrorView),
        (status = 404, description = "It had ended before.", body = super::wire::ErrorView),
    ),
)]
pub(super) async fn leave(State(api): State<Api>, path: Result<Path<String>, PathRejection>) -> Answer {
    let id = id(path)?;
    if api.desk.leave(&id).await {
        Ok(StatusCode::NO_CONTENT.into_response())
    } else {
        Err(Refused::Unknown { id }.into())
    }
}

fn id(path: Result<Path<String>, PathRejection>) -> Result<String, Fault> {
    let Path(id) = path.map_err(|error| Fault::BadRequest { message: error.body_text() })?;
    Ok(id)
}

fn lease(id: &str) -> Result<Response, Fault> {
    let milliseconds = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    json(&Lease {
        id: id.to_owned(),
        protocol: PROTOCOL,
        heartbeat_ms: milliseconds(HEARTBEAT),
        lease_ms: milliseconds(LEASE),
    })
}

pub(super) fn read<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, Fault> {
    let body = body.map_err(|error| match error {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
            Fault::BodyTooLarge { limit: MOST }
        }
        error => Fault::BadBody { message: error.body_text() },
    })?;
    if body.len() > MOST {
        return Err(Fault::BodyTooLarge { limit: MOST });
    }
    serde_json::from_slice(&body).map_err(|error| Fault::BadBody {
        message: format!("the body is not what is expected here: {error}"),
    })
}

impl From<Registration> for Applicant {
    fn from(said: Registration) -> Self {
        Self {
            protocol: said.protocol,
            instance: said.instance,
            pid: said.pid,
            url: said.url,
            kind: said.kind,
            token: said.token.map(Into::into),
            plugin: said.plugin,
            store: said.store,
            report: Report {
                viewing: said.viewing,
                viewing_since: said.viewing_since,
                directory: said.directory,
                worktree: said.worktree,
                version: said.version,
            },
        }
    }
}

impl From<Heartbeat> for Report {
    fn from(said: Heartbeat) -> Self {
        let Heartbeat { viewing, viewing_since, directory, worktree, version } = said;
        Self { viewing, viewing_since, directory, worktree, version }
    }
}
