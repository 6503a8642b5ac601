//! Reading a body that a routing decision needs.

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use thiserror::Error;

/// The largest body read for routing. Those that must be read hold a few ids; a replay of synchronised events may
/// hold more.
const MOST: usize = 8 * 1024 * 1024;

/// Why a body could not be read.
#[derive(Debug, Error)]
pub enum BodyError {
    /// It is too large.
    #[error("this request's body must be read to route it, and is larger than {MOST} bytes")]
    TooLarge,
    /// It stopped half-way.
    #[error("the request's body could not be read to its end: {0}")]
    Broken(String),
}

/// The whole body.
pub async fn read(body: Incoming) -> Result<Bytes, BodyError> {
    match Limited::new(body, MOST).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Err(error) => Err(BodyError::Broken(error.to_string())),
    }
}
