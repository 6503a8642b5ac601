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
    /// Nothing more comes, or it took too long, or we are to stop and nothing has begun.
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

    /// Waits until there is more in the inbox. What has begun may come to its end after `stop`, nothing new begins.
    pub(super) async fn wait(&mut self, awaited: Awaited, stop: &CancellationToken) -> Arrival {
        let mut stopped = pin!(stop.cancelled());
        poll_fn(|cx| {
            let ended = match self.poll_fill(cx) {
                Poll::Ready(Ok(1..)) => return Poll::Ready(Arrival::More),
                Poll::Ready(_) => true,
                Poll::Pending => {
                    let late = awaited == Awaited::Head && self.patience.poll_out(cx).is_ready();
                    late || (self.inbox.is_empty() && stopped.as_mut().poll(cx).is_ready())
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

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    const LONG: Duration = Duration::from_hours(1);
    const SHORT: Duration = Duration::from_millis(20);

    async fn pair(inbox: &[u8], patience: Duration) -> (Client, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (ours, _) = listener.accept().await.unwrap();
        (Client::new(ours, inbox.to_vec(), patience), theirs)
    }

    async fn gone(client: &mut Client, in_hand: usize) {
        poll_fn(|cx| client.poll_gone(in_hand, cx)).await;
    }

    fn is_gone(client: &mut Client, in_hand: usize) -> bool {
        client.poll_gone(in_hand, &mut Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    #[tokio::test]
    async fn a_head_must_come_in_time_and_a_body_takes_as_long_as_it_takes() {
        let never = CancellationToken::new();
        let (mut client, mut theirs) = pair(b"GET", SHORT).await;
        assert_eq!(client.wait(Awaited::Head, &never).await, Arrival::End);
        let waiting = tokio::time::timeout(5 * SHORT, client.wait(Awaited::Body, &never));
        assert!(waiting.await.is_err(), "nothing ends it");
        theirs.write_all(b"x").await.unwrap();
        assert_eq!(client.wait(Awaited::Body, &never).await, Arrival::More);
        assert_eq!(client.inbox, b"GETx");
    }

    #[tokio::test]
    async fn each_head_has_its_time() {
        let never = CancellationToken::new();
        let (mut client, _theirs) = pair(b"GET", SHORT).await;
        assert_eq!(client.wait(Awaited::Head, &never).await, Arrival::End);
        let begun = Instant::now();
        client.answered(3);
        assert_eq!(client.wait(Awaited::Head, &never).await, Arrival::End);
        assert!(begun.elapsed() >= SHORT, "it has its time anew");
    }

    #[tokio::test]
    async fn what_has_begun_comes_to_its_end_although_we_are_to_stop() {
        let stop = CancellationToken::new();
        stop.cancel();
        let (mut client, mut theirs) = pair(b"G", LONG).await;
        theirs.write_all(b"ET").await.unwrap();
        assert_eq!(client.wait(Awaited::Head, &stop).await, Arrival::More);
        client.answered(client.inbox.len());
        assert_eq!(client.wait(Awaited::Head, &stop).await, Arrival::End);
    }

    #[tokio::test]
    async fn a_client_that_leaves_is_missed_behind_what_it_sent_ahead_of_which_not_all_is_read() {
        let (mut client, mut theirs) = pair(b"abc", LONG).await;
        assert!(!is_gone(&mut client, 3));
        theirs.write_all(b"def").await.unwrap();
        drop(theirs);
        gone(&mut client, 3).await;
        assert_eq!(client.inbox, b"abcdef");
        client.answered(3);
        assert_eq!(client.inbox, b"def");

        let (mut client, theirs) = pair(&vec![b'x'; 3 + MOST_AHEAD], LONG).await;
        drop(theirs);
        assert!(!is_gone(&mut client, 3), "no more is read than may wait");
        assert_eq!(client.inbox.len(), 3 + MOST_AHEAD);
    }

    #[tokio::test]
    async fn a_large_inbox_is_let_go_of_once_it_is_empty() {
        let (mut client, _theirs) = pair(&vec![b'x'; 2 * KEEPS], LONG).await;
        client.answered(2 * KEEPS);
        assert_eq!(client.inbox.capacity(), 0);
    }
}
