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

/// How much is decompressed at a time: some tens of microseconds' work, and as much as a socket takes at once.
const PIECE: usize = 64 * 1024;

/// See the module.
pub struct Inflating(MultiGzDecoder<Reader<Bytes>>);

impl Inflating {
    /// What `compressed` says.
    pub(super) fn new(compressed: Bytes) -> Self {
        Self(MultiGzDecoder::new(compressed.reader()))
    }

    fn piece(&mut self) -> io::Result<Bytes> {
        let mut piece = vec![0; PIECE];
        let mut filled = 0;
        while filled < PIECE {
            match self.0.read(&mut piece[filled..])? {
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
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(match self.get_mut().piece() {
            Ok(piece) if piece.is_empty() => None,
            Ok(piece) => Some(Ok(Frame::data(piece))),
            Err(error) => Some(Err(error)),
        })
    }
}
