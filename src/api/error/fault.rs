//! What can be wrong with a request before anything is routed, in the words that its client is told.

use http::Method;
use thiserror::Error;

use crate::{
    domain::ids::SessionId,
    proxy::{route::RouteError, small_body::BodyError},
    registration::Refused,
    spawn::SpawnError,
};

/// What can be wrong with a request before anything is routed, or with one for our own endpoints.
#[derive(Debug, Error)]
pub enum Fault {
    /// A query parameter says nothing sensible.
    #[error("{message}")]
    BadQuery {
        /// What would be sensible.
        message: String,
    },
    /// The body says nothing sensible.
    #[error("{message}")]
    BadBody {
        /// What would be sensible.
        message: String,
    },
    /// The head of the request cannot be understood.
    #[error("{message}")]
    BadRequest {
        /// Why not.
        message: String,
    },
    /// The body is longer than what is read here.
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge {
        /// How much would be read.
        limit: usize,
    },
    /// The head of the request is longer than what is read.
    #[error("the head of the request is larger than {limit} bytes")]
    HeadTooLarge {
        /// How much would be read.
        limit: usize,
    },
    /// No store has the session.
    #[error("Session not found: {session}")]
    SessionUnknown {
        /// What was asked for.
        session: String,
    },
    /// There is nothing at this path.
    #[error("there is nothing at {path}; GET /openapi.json describes what there is")]
    NoSuchPath {
        /// The path.
        path: String,
    },
    /// There is something at this path, but not for this method.
    #[error("{path} does not take {method}; GET /openapi.json describes what it takes")]
    NoSuchMethod {
        /// The method.
        method: Method,
        /// The path.
        path: String,
    },
    /// What is at this path is a `WebSocket`, and the request does not open one.
    #[error("{path} is opened as a WebSocket, version 13: {why}")]
    NoSocket {
        /// The path.
        path: &'static str,
        /// What is missing.
        why: String,
    },
    /// The server wants a password that the configuration does not give.
    #[error("{server} is locked: give its password in the configuration before sessions can be pinned to it")]
    ServerLocked {
        /// Its address.
        server: String,
    },
    /// The server reads another store than the one the session stands in.
    #[error("{server} does not read the store that {session} stands in, and so cannot own it")]
    OtherStore {
        /// The server's address.
        server: String,
        /// The session.
        session: SessionId,
    },
    /// Somebody is not registered.
    #[error(transparent)]
    Registration(#[from] Refused),
    /// No server is started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The first round is not done.
    #[error("waiting for the first round of discovery and session lists; ask again in a moment")]
    NotReady,
    /// What was asked for cannot be routed.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The body that a routing decision needs cannot be read.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// We are at fault.
    #[error("this is a defect of pointsman: {what}")]
    Internal {
        /// What happened.
        what: String,
    },
}
