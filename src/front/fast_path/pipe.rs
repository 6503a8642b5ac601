//! Large bodies pass within the system, from socket to socket, without a copy in our memory (`splice(2)`).

use std::{
    cell::RefCell,
    io,
    os::fd::OwnedFd,
    task::{Context, Poll, ready},
};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::{io::Interest, net::TcpStream};

/// From this length on it is worth it: below, two copies cost less than two more calls of the system.
pub(super) const LARGE: u64 = 96 * 1024;

/// How much a pipe is to hold. The system counts this for each user, so it is less than it could be.
const HOLDS: usize = 512 * 1024;

/// How many pipes a thread keeps at rest.
const MOST_AT_REST: usize = 8;

thread_local! {
    static AT_REST: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// What is between two sockets.
#[derive(Debug)]
pub(super) struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
    /// How many bytes are in it.
    held: usize,
}

impl Pipe {
    /// An empty one, if the system gives any.
    pub(super) fn take() -> Option<Self> {
        AT_REST.with_borrow_mut(Vec::pop).or_else(|| {
            let (out, into) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).ok()?;
            // A smaller one does as well.
            let _ = fcntl_setpipe_size(&into, HOLDS);
            Some(Self { out, into, held: 0 })
        })
    }

    /// Leaves it to the next one. What still holds something is of no use to anybody.
    pub(super) fn rest(self) {
        AT_REST.with_borrow_mut(|at_rest| {
            if self.held == 0 && at_rest.len() < MOST_AT_REST {
                at_rest.push(self);
            }
        });
    }

    /// Passes `left` bytes on, which it counts down. Ready when the last is on its way.
    pub(super) fn poll_pass(
        &mut self,
        from: &TcpStream,
        to: &TcpStream,
        left: &mut u64,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        while self.held > 0 || *left > 0 {
            if self.held == 0 {
                ready!(from.poll_read_ready(cx))?;
                let most = usize::try_from(*left).map_or(HOLDS, |left| left.min(HOLDS));
                let fill = || Ok(splice(from, None, &self.into, None, most, flags)?);
                match from.try_io(Interest::READABLE, fill) {
                    Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                    Ok(read) => {
                        self.held = read;
                        *left -= read as u64;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            let drain = || Ok(splice(&self.out, None, to, None, self.held, flags)?);
            match to.try_io(Interest::WRITABLE, drain) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(written) => self.held -= written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(to.poll_write_ready(cx))?,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    async fn sockets() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
        (one.unwrap(), other.unwrap().0)
    }

    #[tokio::test]
    async fn so_many_bytes_pass_and_those_behind_stay() {
        let ((mut server, from), (to, mut client)) = (sockets().await, sockets().await);
        let body: Vec<u8> = (0..=255).cycle().take(5_000_000).collect();
        let sent = [&body[..], b"behind"].concat();
        let passing = async {
            let (mut pipe, mut left) = (Pipe::take().unwrap(), body.len() as u64);
            poll_fn(|cx| pipe.poll_pass(&from, &to, &mut left, cx)).await.unwrap();
            assert_eq!((left, pipe.held), (0, 0));
            pipe.rest();
        };
        let mut read = vec![0; body.len()];
        let ((), _, sending) = tokio::join!(passing, client.read_exact(&mut read), server.write_all(&sent));
        sending.unwrap();
        assert!(read == body, "other bytes came than were sent");
        let mut behind = [0; 6];
        let mut from = from;
        from.read_exact(&mut behind).await.unwrap();
        assert_eq!(&behind, b"behind");
        assert_eq!(AT_REST.with_borrow(Vec::len), 1);
    }

    #[tokio::test]
    async fn what_ends_too_early_is_no_body_and_its_pipe_is_not_used_again() {
        let ((mut server, from), (to, mut client)) = (sockets().await, sockets().await);
        server.write_all(&[7; 1000]).await.unwrap();
        drop(server);
        let (mut pipe, mut left) = (Pipe::take().unwrap(), 1001);
        let ended = poll_fn(|cx| pipe.poll_pass(&from, &to, &mut left, cx)).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        client.read_exact(&mut [0; 1000]).await.unwrap();
        pipe.held = 1;
        pipe.rest();
        assert_eq!(AT_REST.with_borrow(Vec::len), 0);
    }
}
