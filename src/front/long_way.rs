//! Requests of any kind, through the HTTP library.
//!
//! A connection that has carried nothing plain for a while stays here; any other goes back to the fast path as soon as
//! the library has answered all it has read and holds nothing of what comes next.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::{
    HEAD, MOST_HEAD,
    dispatch::{Connection, Dispatch},
    lent::{Ledger, Lent, Open},
    plain_words::PlainWords,
};
use crate::proxy::{
    answer::{AnswerBody, AnswerError},
    one_write::OneWrite,
};

/// How a connection left here.
pub(super) enum Left {
    /// It has ended, or became something else.
    Ended,
    /// It comes back, with what the client has sent of its next request.
    Back(TcpStream, Vec<u8>),
}

/// An answer on its way.
struct Counted {
    body: AnswerBody,
    /// Only held.
    _open: Open,
}

/// Carries the requests of `connection`, which begin with `begun`, until it ends or `stop`; if it `may_return`, until
/// it can.
pub(super) async fn carry(
    dispatch: &Dispatch,
    connection: &Connection,
    (stream, begun): (TcpStream, Vec<u8>),
    may_return: bool,
    stop: &CancellationToken,
) -> Left {
    let ledger: Arc<Ledger> = Arc::default();
    let lent = Lent::new(begun, stream, Arc::clone(&ledger));
    let service = service_fn(|request: Request<Incoming>| {
        let open = ledger.begin(request.body().is_end_stream());
        async move {
            let answer = dispatch.answer(request, connection).await;
            Ok::<_, Infallible>(answer.map(|body| Counted { body, _open: open }))
        }
    });
    let mut serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_header_size(MOST_HEAD)
        .serve_connection(TokioIo::new(PlainWords::new(OneWrite::new(lent))), service)
        .with_upgrades();
    let mut stopped = pin!(stop.cancelled());
    let mut stopping = false;
    let ended = poll_fn(|cx| {
        loop {
            // First: told to stop before it has read what the connection begins with, the library would drop that.
            if let Poll::Ready(ended) = Pin::new(&mut serving).poll(cx) {
                return Poll::Ready(Some(ended));
            }
            if stopping || stopped.as_mut().poll(cx).is_pending() {
                break;
            }
            stopping = true;
            Pin::new(&mut serving).graceful_shutdown();
        }
        if may_return && !stopping && ledger.is_at_rest() { Poll::Ready(None) } else { Poll::Pending }
    })
    .await;
    match ended {
        Some(Ok(())) => Left::Ended,
        Some(Err(error)) => {
            // Clients come and go in the middle of things; nobody needs to know.
            tracing::debug!(peer = %connection.peer.address, %error, "connection ended");
            Left::Ended
        }
        None => serving.into_parts().map_or(Left::Ended, |parts| {
            let (unread, stream) = parts.io.into_inner().into_inner().into_inner().into_inner();
            Left::Back(stream, [&parts.read_buf[..], &unread].concat())
        }),
    }
}

impl Body for Counted {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
