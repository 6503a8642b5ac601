//! The seam between merging and the connections to servers.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use thiserror::Error;

use crate::registry::server::Server;

/// The most bytes of one server's answer that are merged. A hundred thousand sessions take half of it; whatever is
/// longer is no list that a client could use.
pub const MOST_BYTES: usize = 64 * 1024 * 1024;

/// A GET for one server.
#[derive(Clone, Debug)]
pub struct AskRequest {
    /// What to ask for.
    pub path_and_query: String,
    /// The client's headers as far as they concern the server: nothing about encodings, ranges or validators, since
    /// a merged answer needs the whole body and plain.
    pub headers: HeaderMap,
}

/// A server's whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, not compressed.
    pub body: Bytes,
}

/// Why a server gave no answer.
#[derive(Clone, Debug, Error)]
pub enum AskError {
    /// It could not be reached, or broke off.
    #[error("the server gave no whole answer: {0}")]
    Broke(String),
    /// Its answer is longer than anybody could merge.
    #[error("the server's answer is longer than {MOST_BYTES} bytes")]
    TooLong,
}

/// Who carries requests to servers.
pub trait Ask: Send + Sync {
    /// Asks `server` and reads its answer to the end, no further than [`MOST_BYTES`]. Dropping the future gives up on
    /// the answer; the deadline is the caller's.
    fn ask(
        &self,
        server: &Arc<Server>,
        request: AskRequest,
    ) -> impl Future<Output = Result<Answer, AskError>> + Send;
}
