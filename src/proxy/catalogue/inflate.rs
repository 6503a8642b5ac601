//! A kept answer for a client that cannot read gzip: decompressed while it is sent, a piece at a time, so that any
//! number of such clients takes little memory.

use std::{
    fmt, io,
    io::Read,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, buf::Reader};
use flate2::bufread::MultiGzDecoder;
use http_body::{Body, Frame};

/// How much is decompressed at a time: a quarter of a millisecond's work, and about as much as a socket takes at once.
const PIECE: usize = 64 * 1024;

/// After how many pieces the thread is left to others, however much the socket would take: a millisecond.
const REST_AFTER: usize = 4;

/// See the module.
pub struct Inflating {
    decoder: MultiGzDecoder<Reader<Bytes>>,
    pieces: usize,
}

impl Inflating {
    /// What `compressed` says.
    pub(super) fn new(compressed: Bytes) -> Self {
        Self { decoder: MultiGzDecoder::new(compressed.reader()), pieces: 0 }
    }

    fn piece(&mut self) -> io::Result<Bytes> {
        let mut piece = vec![0; PIECE];
        let mut filled = 0;
        while filled < PIECE {
            match self.decoder.read(&mut piece[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        piece.truncate(filled);
        Ok(piece.into())
    }
}

impl fmt::Debug for Inflating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inflating")
    }
}

impl Body for Inflating {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let body = self.get_mut();
        if body.pieces == REST_AFTER {
            body.pieces = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        body.pieces += 1;
        Poll::Ready(match body.piece() {
            Ok(piece) if piece.is_empty() => None,
            Ok(piece) => Some(Ok(Frame::data(piece))),
            Err(error) => Some(Err(error)),
        })
    }
}
