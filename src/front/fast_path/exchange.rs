//! One request on one connection to a server, and its answer back to the client.
//!
//! Bytes are read into room that all connections of a thread share, and written on from there; only what the other side
//! does not take at once is kept. So a connection at rest holds no buffers, and one in use at most what one read brings.
//! While the server is waited for, the client is watched: when it goes, the connection to the server ends with it.
//! The rest of a large body passes within the system, where that can.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use thiserror::Error;
use tokio::{io::AsyncWrite, net::TcpStream};
use tokio_util::io::poll_read_buf;

#[cfg(target_os = "linux")]
use super::pipe::{LARGE, Pipe};
use super::{
    answer::{self, Body, Garbled, Head, Marks},
    client::Client,
};

/// How much is read from a server at once.
const ROOM: usize = 128 * 1024;

/// The largest head of an answer.
const MOST_HEAD: usize = 64 * 1024;

/// Bodies up to this size are put behind their head and written with it in one piece: the system takes one piece
/// cheaper than two, by more than copying them together costs.
const IN_ONE_PIECE: usize = 4 * 1024;

thread_local! {
    static SHARED: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(ROOM));
}

/// Why an answer did not come, or not whole.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// Not a byte of the request was taken.
    #[error("it takes nothing any more")]
    Unsent,
    /// A part of it was, and no answer has begun that can be understood.
    #[error("{0}")]
    Unanswered(io::Error),
    /// The client has gone, or its answer has begun and cannot be brought to its end.
    #[error("the client cannot be told more")]
    Cut,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Exchange<'e> {
    client: &'e mut Client,
    link: &'e mut TcpStream,
    /// The length of the request in the client's inbox.
    in_hand: usize,
    /// What is to be told to the client and was not yet taken, from `taken` on.
    out: Vec<u8>,
    taken: usize,
    /// Whether the server has sent more than its answer.
    surplus: bool,
    #[cfg(target_os = "linux")]
    pipe: Option<Pipe>,
}

impl<'e> Exchange<'e> {
    /// Of `client`'s request `in_hand`, over `link`.
    pub(super) fn new(client: &'e mut Client, link: &'e mut TcpStream, in_hand: usize) -> Self {
        Self {
            client,
            link,
            in_hand,
            out: Vec::new(),
            taken: 0,
            surplus: false,
            #[cfg(target_os = "linux")]
            pipe: None,
        }
    }

    /// Sends `request`.
    pub(super) async fn ask(&mut self, request: &[u8]) -> Result<(), Failure> {
        let mut sent = 0;
        poll_fn(|cx| {
            while sent < request.len() {
                match Pin::new(&mut *self.link).poll_write(cx, &request[sent..]) {
                    Poll::Ready(Ok(written @ 1..)) => sent += written,
                    Poll::Ready(_) if sent == 0 => return Poll::Ready(Err(Failure::Unsent)),
                    Poll::Ready(Ok(_)) => {
                        let error = io::ErrorKind::WriteZero.into();
                        return Poll::Ready(Err(Failure::Unanswered(error)));
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(Failure::Unanswered(error))),
                    Poll::Pending => {
                        ready!(self.client.poll_gone(self.in_hand, cx));
                        return Poll::Ready(Err(Failure::Cut));
                    }
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Waits for the head of the answer, however long that takes. The client's is ready to be told then, with what has
    /// come of the body; with `at_once` it is on its way.
    pub(super) async fn hear(
        &mut self,
        to_head: bool,
        marks: impl Fn() -> Marks<'e>,
        at_once: bool,
    ) -> Result<Head, Failure> {
        let mut begun = Vec::new();
        poll_fn(|cx| {
            SHARED.with_borrow_mut(|room| {
                loop {
                    if ready!(self.poll_read(room, cx))? == 0 {
                        let closed = io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection");
                        return Poll::Ready(Err(Failure::Unanswered(closed)));
                    }
                    if !begun.is_empty() {
                        begun.extend_from_slice(room);
                    }
                    let bytes = if begun.is_empty() { &room[..] } else { &begun[..] };
                    let (head, behind) = self.take_head(bytes, to_head, marks()).map_err(garbled)?;
                    let Some(mut head) = head else {
                        begun = behind.to_vec();
                        if begun.len() > MOST_HEAD {
                            return Poll::Ready(Err(garbled(Garbled)));
                        }
                        continue;
                    };
                    let body = head.body.read(behind).map_err(garbled)?;
                    self.surplus = body < behind.len();
                    let behind = &behind[..body];
                    if !at_once {
                        self.out.extend_from_slice(behind);
                    } else if let Poll::Ready(Err(_)) = self.poll_tell(behind, cx) {
                        return Poll::Ready(Err(Failure::Cut));
                    }
                    return Poll::Ready(Ok(head));
                }
            })
        })
        .await
    }

    /// Tells the client the rest, to the end of `body`. Gives back whether the server can be asked again on this link,
    /// should it keep it alive.
    pub(super) async fn tell(&mut self, mut body: Body) -> Result<bool, Failure> {
        poll_fn(|cx| {
            loop {
                ready!(self.poll_tell(&[], cx)).map_err(|_| Failure::Cut)?;
                if body.done() {
                    return Poll::Ready(Ok(!self.surplus));
                }
                if ready!(self.poll_large(&mut body, cx))? {
                    continue;
                }
                let ended = SHARED.with_borrow_mut(|room| {
                    let read = ready!(self.poll_read(room, cx)).map_err(|_| Failure::Cut)?;
                    if read == 0 {
                        let is_end = matches!(body, Body::Close);
                        return Poll::Ready(if is_end { Ok(true) } else { Err(Failure::Cut) });
                    }
                    let here = body.read(room).map_err(|Garbled| Failure::Cut)?;
                    self.surplus |= here < room.len();
                    match self.poll_tell(&room[..here], cx) {
                        Poll::Ready(Err(_)) => Poll::Ready(Err(Failure::Cut)),
                        Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(false)),
                    }
                });
                if ready!(ended)? {
                    return Poll::Ready(Ok(false));
                }
            }
        })
        .await
    }

    /// Passes the rest of `body` within the system, if it is large. Gives back whether it did.
    #[cfg(target_os = "linux")]
    fn poll_large(&mut self, body: &mut Body, cx: &mut Context<'_>) -> Poll<Result<bool, Failure>> {
        let Body::Length(left) = body else { return Poll::Ready(Ok(false)) };
        if self.pipe.is_none() && *left >= LARGE {
            self.pipe = Pipe::take();
        }
        let Some(pipe) = &mut self.pipe else { return Poll::Ready(Ok(false)) };
        match pipe.poll_pass(self.link, &self.client.stream, left, cx) {
            Poll::Ready(passed) => {
                passed.map_err(|_| Failure::Cut)?;
                if let Some(pipe) = self.pipe.take() {
                    pipe.rest();
                }
                Poll::Ready(Ok(true))
            }
            Poll::Pending => self.client.poll_gone(self.in_hand, cx).map(|()| Err(Failure::Cut)),
        }
    }

    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unused_self, reason = "as where it can")]
    fn poll_large(&mut self, _: &mut Body, _: &mut Context<'_>) -> Poll<Result<bool, Failure>> {
        Poll::Ready(Ok(false))
    }

    /// The first whole head in `bytes` that is no interim one, and what stands behind it; without one, what was not
    /// understood yet.
    fn take_head<'b>(
        &mut self,
        mut bytes: &'b [u8],
        to_head: bool,
        marks: Marks<'_>,
    ) -> Result<(Option<Head>, &'b [u8]), Garbled> {
        while let Some(head) = answer::read(bytes, to_head, marks, &mut self.out)? {
            bytes = &bytes[head.length..];
            if !head.status.is_informational() {
                return Ok((Some(head), bytes));
            }
        }
        Ok((None, bytes))
    }

    /// Reads from the server, in place of what was in `room`. A client that has gone is the end of that.
    fn poll_read(&mut self, room: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<Result<usize, Failure>> {
        room.clear();
        match poll_read_buf(Pin::new(&mut *self.link), cx, room) {
            Poll::Ready(read) => Poll::Ready(read.map_err(Failure::Unanswered)),
            Poll::Pending => self.client.poll_gone(self.in_hand, cx).map(|()| Err(Failure::Cut)),
        }
    }

    /// Writes to the client what is to be told, and `behind` behind it. What it does not take at once is kept for the
    /// next time.
    fn poll_tell(&mut self, mut behind: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if behind.len() <= IN_ONE_PIECE && !self.out.is_empty() {
            self.out.extend_from_slice(behind);
            behind = &[];
        }
        while self.taken < self.out.len() || !behind.is_empty() {
            let stream = Pin::new(&mut self.client.stream);
            let first = &self.out[self.taken..];
            let written = if behind.is_empty() {
                stream.poll_write(cx, first)
            } else if first.is_empty() {
                stream.poll_write(cx, behind)
            } else {
                stream.poll_write_vectored(cx, &[IoSlice::new(first), IoSlice::new(behind)])
            };
            match written {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => {
                    let of_first = written.min(first.len());
                    self.taken += of_first;
                    behind = &behind[written - of_first..];
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.out.extend_from_slice(behind);
                    return Poll::Pending;
                }
            }
        }
        self.out.clear();
        self.taken = 0;
        Poll::Ready(Ok(()))
    }
}

fn garbled(garbled: Garbled) -> Failure {
    Failure::Unanswered(io::Error::new(io::ErrorKind::InvalidData, garbled))
}

#[cfg(test)]
mod tests;
