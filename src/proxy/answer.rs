//! The body of an answer to a client, whoever it comes from.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{body::UpstreamBody, catalogue::inflate::Inflating};
use crate::events::{gzip::Gzipped, subscriber::Subscription};

/// What can go wrong while an answer streams. The client sees its connection end.
pub type AnswerError = Box<dyn Error + Send + Sync>;

/// See the module.
pub enum AnswerBody {
    /// A server's, as it comes.
    Upstream(UpstreamBody),
    /// One that is there as a whole.
    Whole(Option<Bytes>),
    /// One that is kept compressed, for a client that cannot read that.
    Inflating(Box<Inflating>),
    /// One of our own streams.
    Events(Box<Subscription>),
    /// The same in gzip.
    Gzipped(Box<Gzipped>),
    /// One of our own endpoints'.
    Own(axum::body::Body),
}

impl AnswerBody {
    /// No body.
    pub const EMPTY: Self = Self::Whole(None);
}

impl From<Bytes> for AnswerBody {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        match self.get_mut() {
            Self::Upstream(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Inflating(body) => Pin::new(body.as_mut()).poll_frame(cx).map_err(Into::into),
            Self::Events(stream) => Pin::new(stream.as_mut()).poll_frame(cx).map_err(|never| match never {}),
            Self::Gzipped(stream) => Pin::new(stream.as_mut()).poll_frame(cx).map_err(|never| match never {}),
            Self::Own(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Upstream(body) => body.is_end_stream(),
            Self::Whole(bytes) => bytes.is_none(),
            Self::Inflating(body) => body.is_end_stream(),
            Self::Events(stream) => stream.is_end_stream(),
            Self::Gzipped(stream) => stream.is_end_stream(),
            Self::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Upstream(body) => body.size_hint(),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Inflating(body) => body.size_hint(),
            Self::Events(stream) => stream.size_hint(),
            Self::Gzipped(stream) => stream.size_hint(),
            Self::Own(body) => body.size_hint(),
        }
    }
}
