//! The bodies that pass through, without a box around them.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::upstream::Lease;
use crate::registry::usage::Using;

/// What a client sent, on its way to a server.
#[derive(Debug)]
pub enum RequestBody {
    /// As it arrives.
    Incoming(Incoming),
    /// Read before, because a routing decision needed it; or nothing.
    Whole(Option<Bytes>),
}

impl RequestBody {
    /// No body.
    pub const EMPTY: Self = Self::Whole(None);
}

impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Incoming(body) => Pin::new(body).poll_frame(cx),
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Incoming(body) => body.is_end_stream(),
            Self::Whole(bytes) => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Incoming(body) => body.size_hint(),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}

/// What a server answered, on its way to the client. It holds the connection to the server: read to its end it gives
/// it back for the next request, dropped before it closes it, so that the server learns that the client has gone.
#[derive(Debug)]
pub struct UpstreamBody {
    incoming: Incoming,
    lease: Option<Lease>,
    /// Only held.
    using: Option<Using>,
}

impl UpstreamBody {
    pub(super) fn new(incoming: Incoming, lease: Lease) -> Self {
        let mut body = Self { incoming, lease: Some(lease), using: None };
        body.give_back_at_end();
        body
    }

    /// Counts as use of its server for as long as it lasts.
    pub(super) fn used_by(mut self, using: Option<Using>) -> Self {
        self.using = using;
        self
    }

    fn give_back_at_end(&mut self) {
        if self.incoming.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let body = self.get_mut();
        let polled = Pin::new(&mut body.incoming).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(_))) => body.give_back_at_end(),
            Poll::Ready(None) => {
                if let Some(lease) = body.lease.take() {
                    lease.give_back();
                }
            }
            Poll::Ready(Some(Err(_))) => body.lease = None,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
