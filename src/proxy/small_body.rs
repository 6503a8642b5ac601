//! Reading a body that a routing decision needs.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::time::timeout;

/// The largest body read for routing. Those that must be read hold a few ids; a replay of synchronised events may
/// hold more.
const MOST: usize = 8 * 1024 * 1024;

/// How long such a body may take. It is small, and nothing is done before it is there.
const TIME: Duration = Duration::from_secs(30);

/// Why a body could not be read.
#[derive(Debug, Error)]
pub enum BodyError {
    /// It is too large.
    #[error("this request's body must be read to route it, and is larger than {MOST} bytes")]
    TooLarge,
    /// It did not end in time.
    #[error("this request's body must be read to route it, and did not end within {} s", TIME.as_secs())]
    TooSlow,
    /// It stopped half-way.
    #[error("the request's body could not be read to its end: {0}")]
    Broken(String),
}

/// The whole body.
pub async fn read(body: Incoming) -> Result<Bytes, BodyError> {
    match timeout(TIME, Limited::new(body, MOST).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Ok(Err(error)) => Err(BodyError::Broken(error.to_string())),
        Err(_) => Err(BodyError::TooSlow),
    }
}
