//! A client's connection, between its requests and while one is answered.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::{
    net::TcpStream,
    time::{Sleep, sleep},
};
use tokio_util::{io::poll_read_buf, sync::CancellationToken};

/// What one read makes room for. Most requests fit.
const READ: usize = 4 * 1024;

/// How much is read ahead of the answer to the request in hand. A client that sends more waits for its answers.
const MOST_AHEAD: usize = 16 * 1024;

/// How much room an inbox keeps between requests.
const KEEPS: usize = 16 * 1024;

/// A client's side of a connection.
#[derive(Debug)]
pub(super) struct Client {
    /// Its socket.
    pub(super) stream: TcpStream,
    /// What it has sent and was not answered yet. The request in hand comes first.
    pub(super) inbox: Vec<u8>,
    patience: Patience,
}

/// What came of waiting for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// There is more in the inbox.
    More,
    /// Nothing more comes, or it took too long, or we are to stop.
    End,
}

/// What is being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The head of a request, which must come in time.
    Head,
    /// The rest of a body, which takes as long as the client does.
    Body,
}

impl Client {
    /// One that has sent `inbox` already, and may take `patience` over the head of each request.
    pub(super) fn new(stream: TcpStream, inbox: Vec<u8>, patience: Duration) -> Self {
        Self { stream, inbox, patience: Patience::new(patience) }
    }

    /// Waits until there is more in the inbox, or `stop`.
    pub(super) async fn wait(&mut self, awaited: Awaited, stop: &CancellationToken) -> Arrival {
        let mut stopped = pin!(stop.cancelled());
        poll_fn(|cx| {
            let ended = match self.poll_fill(cx) {
                Poll::Ready(Ok(1..)) => return Poll::Ready(Arrival::More),
                Poll::Ready(_) => true,
                Poll::Pending => {
                    let late = awaited == Awaited::Head && self.patience.poll_out(cx).is_ready();
                    late || stopped.as_mut().poll(cx).is_ready()
                }
            };
            if ended { Poll::Ready(Arrival::End) } else { Poll::Pending }
        })
        .await
    }

    /// Ready once the client has gone. What it sends until then, behind the request `in_hand`, waits in the inbox.
    pub(super) fn poll_gone(&mut self, in_hand: usize, cx: &mut Context<'_>) -> Poll<()> {
        while self.inbox.len() < in_hand + MOST_AHEAD {
            match ready!(self.poll_fill(cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    /// The request `in_hand` has been answered.
    pub(super) fn answered(&mut self, in_hand: usize) {
        self.inbox.drain(..in_hand);
        if self.inbox.is_empty() && self.inbox.capacity() > KEEPS {
            self.inbox = Vec::new();
        }
        self.patience.begin();
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.inbox.reserve(READ);
        poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.inbox)
    }
}

/// A limit on waiting. Its timer is moved only when it has run out: most waits are short, and moving one costs more
/// than a look at the clock.
#[derive(Debug)]
struct Patience {
    lasts: Duration,
    since: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Patience {
    fn new(lasts: Duration) -> Self {
        Self { lasts, since: Instant::now(), timer: Box::pin(sleep(lasts)) }
    }

    fn begin(&mut self) {
        self.since = Instant::now();
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let left = self.lasts.saturating_sub(self.since.elapsed());
            if left.is_zero() {
                return Poll::Ready(());
            }
            self.timer.set(sleep(left));
        }
    }
}
