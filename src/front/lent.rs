//! A connection lent to the HTTP library.
//!
//! It begins with what was read before, and can be had back when nothing is on its way.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// See the module.
#[derive(Debug)]
pub(super) struct Lent<S> {
    before: Bytes,
    stream: S,
    ledger: Arc<Ledger>,
}

/// What is known outside of a connection that is lent.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Requests whose answers are not complete.
    open: AtomicUsize,
    /// Whether something was written since the last flush that came to its end.
    unflushed: AtomicBool,
    /// Whether the last request had no body, so that nothing of it can be left to read.
    bodiless: AtomicBool,
}

/// One request whose answer is not complete, until it is dropped.
#[derive(Debug)]
pub(super) struct Open(Arc<Ledger>);

impl Ledger {
    /// A request was read.
    pub(super) fn begin(self: &Arc<Self>, bodiless: bool) -> Open {
        self.bodiless.store(bodiless, Relaxed);
        self.open.fetch_add(1, Relaxed);
        Open(Arc::clone(self))
    }

    /// Whether all requests that were read have been answered, to the last byte, and what comes next is the beginning of
    /// another. True only while the library, having been polled, waits for more.
    pub(super) fn is_at_rest(&self) -> bool {
        self.open.load(Relaxed) == 0 && !self.unflushed.load(Relaxed) && self.bodiless.load(Relaxed)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

impl<S> Lent<S> {
    /// `stream`, of which `before` was read.
    pub(super) fn new(before: Vec<u8>, stream: S, ledger: Arc<Ledger>) -> Self {
        Self { before: before.into(), stream, ledger }
    }

    /// What was read before and is not read again yet, and the stream.
    pub(super) fn into_inner(self) -> (Bytes, S) {
        (self.before, self.stream)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lent<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        if me.before.is_empty() {
            return Pin::new(&mut me.stream).poll_read(cx, buffer);
        }
        let fits = me.before.len().min(buffer.remaining());
        buffer.put_slice(&me.before[..fits]);
        me.before.advance(fits);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lent<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        me.ledger.unflushed.store(true, Relaxed);
        Pin::new(&mut me.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        me.ledger.unflushed.store(true, Relaxed);
        Pin::new(&mut me.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        ready!(Pin::new(&mut me.stream).poll_flush(cx))?;
        me.ledger.unflushed.store(false, Relaxed);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn at_rest_is_who_has_answered_everything_and_waits_for_the_beginning_of_a_request() {
        let ledger: Arc<Ledger> = Arc::default();
        assert!(!ledger.is_at_rest(), "nothing was carried yet");
        let first = ledger.begin(true);
        assert!(!ledger.is_at_rest());
        let second = ledger.begin(true);
        drop(first);
        assert!(!ledger.is_at_rest(), "one is open");
        drop(second);
        assert!(ledger.is_at_rest());
        drop(ledger.begin(false));
        assert!(!ledger.is_at_rest(), "a part of its body may not be read yet");
        drop(ledger.begin(true));
        assert!(ledger.is_at_rest());
    }

    /// Takes writes of both kinds at once, but does not finish before it is told to.
    #[derive(Default)]
    struct Slow {
        flushes: bool,
    }

    impl AsyncWrite for Slow {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.flushes { Poll::Ready(Ok(())) } else { Poll::Pending }
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_was_written_is_on_its_way_until_it_was_flushed() {
        for in_slices in [false, true] {
            let ledger: Arc<Ledger> = Arc::default();
            drop(ledger.begin(true));
            let mut stream = Lent::new(Vec::new(), Slow::default(), Arc::clone(&ledger));
            if in_slices {
                let slices = [IoSlice::new(b"ab"), IoSlice::new(b"c")];
                assert_eq!(stream.write_vectored(&slices).await.unwrap(), 2, "the first of them");
            } else {
                stream.write_all(b"abc").await.unwrap();
            }
            assert!(!ledger.is_at_rest());
            let mut cx = Context::from_waker(std::task::Waker::noop());
            assert!(Pin::new(&mut stream).poll_flush(&mut cx).is_pending());
            assert!(!ledger.is_at_rest());
            stream.stream.flushes = true;
            stream.flush().await.unwrap();
            assert!(ledger.is_at_rest());
        }
    }

    #[tokio::test]
    async fn what_was_read_before_comes_first_however_small_the_room() {
        let mut stream = Lent::new(b"abcde".to_vec(), &b"fgh"[..], Arc::default());
        let mut room = [0; 2];
        assert_eq!(stream.read(&mut room).await.unwrap(), 2);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!((&room, &rest[..]), (b"ab", &b"cdefgh"[..]));
    }
}
