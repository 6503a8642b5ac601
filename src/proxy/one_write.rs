//! Small writes in one piece.
//!
//! A head and a small body come as two slices. The system takes one piece cheaper than two, by more than copying them
//! together costs; large bodies go out as they are.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is put together. Most heads with their bodies are smaller, and it lies on the stack.
const SMALL: usize = 2048;

/// A stream that writes small slices in one piece.
#[derive(Debug)]
pub struct OneWrite<S>(S);

impl<S> OneWrite<S> {
    /// Over `stream`.
    pub fn new(stream: S) -> Self {
        Self(stream)
    }

    /// The stream.
    pub fn into_inner(self) -> S {
        self.0
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for OneWrite<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.get_mut().0);
        if let [only] = slices {
            return stream.poll_write(cx, only);
        }
        if slices.iter().map(|slice| slice.len()).sum::<usize>() > SMALL {
            return stream.poll_write_vectored(cx, slices);
        }
        let mut together: SmallVec<[u8; SMALL]> = SmallVec::new();
        for slice in slices {
            together.extend_from_slice(slice);
        }
        stream.poll_write(cx, &together)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for OneWrite<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buffer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// Notes what each write brought, and takes at most so much of it.
    struct Noting {
        writes: Vec<Vec<u8>>,
        takes: usize,
    }

    impl AsyncWrite for Noting {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let me = self.get_mut();
            let taken = bytes.len().min(me.takes);
            me.writes.push(bytes[..taken].to_vec());
            Poll::Ready(Ok(taken))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            self.poll_write(cx, &all)
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn whatever_is_taken_at_a_time_all_arrives_in_order() {
        for (takes, size) in [(usize::MAX, 10), (3, 10), (SMALL, SMALL), (1000, 5 * SMALL)] {
            let body: Vec<u8> = (0..=u8::MAX).cycle().take(size).collect();
            let mut stream = OneWrite::new(Noting { writes: Vec::new(), takes });
            let mut chain = bytes::Buf::chain(&b"head"[..], &body[..]);
            stream.write_all_buf(&mut chain).await.unwrap();
            let written = stream.0.writes.concat();
            assert_eq!(written, [b"head", &body[..]].concat(), "{takes} at a time");
            if takes == usize::MAX {
                assert_eq!(stream.0.writes.len(), 1);
            }
        }
    }
}
