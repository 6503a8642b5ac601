//! Where a chunked body ends (RFC 9112, section 7.1).
//!
//! The bytes pass as they are; only their framing is followed, so that the connection can be used again behind them.

use super::answer::Garbled;

/// The longest line of framing, extensions and trailers included. Servers send a few digits.
const MOST_LINE: u16 = 8 * 1024;

/// Follows one body, however its bytes are cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunks {
    state: State,
    /// How much of the present line of framing has been read.
    line: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the digits of a chunk's size, of which there has been at least one if `some`.
    Size { size: u64, some: bool },
    /// In an extension, which ends with the line.
    Extension { size: u64 },
    /// Behind the `\r` of the line with the size.
    SizeEnd { size: u64 },
    /// In the data of a chunk.
    Data { left: u64 },
    /// Behind the data: `\r` must come.
    DataReturn,
    /// Behind that: `\n` must come.
    DataEnd,
    /// At the beginning of a line behind the last chunk.
    Trailers,
    /// In a trailer.
    Trailer,
    /// Behind the `\r` of a trailer.
    TrailerEnd,
    /// Behind the `\r` of the empty line that ends all.
    End,
    /// All has been read.
    Done,
}

impl Chunks {
    /// Before the first byte.
    pub(super) const fn new() -> Self {
        Self { state: State::Size { size: 0, some: false }, line: 0 }
    }

    /// Whether the body has ended.
    pub(super) fn done(&self) -> bool {
        self.state == State::Done
    }

    /// Reads on. Gives back how many of `bytes` belong to the body: all, unless it ends within them.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<usize, Garbled> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::Done {
            if let State::Data { left } = self.state {
                let here = left.min((bytes.len() - at) as u64);
                // No more than there are bytes.
                at += usize::try_from(here).unwrap_or(usize::MAX);
                self.state = if here == left { State::DataReturn } else { State::Data { left: left - here } };
                continue;
            }
            self.state = self.step(bytes[at])?;
            at += 1;
        }
        Ok(at)
    }

    fn step(&mut self, byte: u8) -> Result<State, Garbled> {
        self.line = self.line.saturating_add(1);
        if self.line > MOST_LINE {
            return Err(Garbled);
        }
        let next = match (self.state, byte) {
            (State::Size { size, .. }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).ok_or(Garbled)?;
                let size = size.checked_mul(16).ok_or(Garbled)?;
                State::Size { size: size + u64::from(digit), some: true }
            }
            (State::Size { size, some: true }, b';' | b' ' | b'\t') => State::Extension { size },
            (State::Size { size, some: true } | State::Extension { size }, b'\r') => State::SizeEnd { size },
            (State::Extension { size }, byte) if byte != b'\n' => State::Extension { size },
            (State::SizeEnd { size: 0 } | State::TrailerEnd, b'\n') => State::Trailers,
            (State::SizeEnd { size }, b'\n') => State::Data { left: size },
            (State::DataReturn, b'\r') => State::DataEnd,
            (State::DataEnd, b'\n') => State::Size { size: 0, some: false },
            (State::Trailers, b'\r') => State::End,
            (State::Trailers | State::Trailer, byte) if !matches!(byte, b'\r' | b'\n') => State::Trailer,
            (State::Trailer, b'\r') => State::TrailerEnd,
            (State::End, b'\n') => State::Done,
            _ => return Err(Garbled),
        };
        if byte == b'\n' && next != State::Trailers {
            self.line = 0;
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_in_pieces(bytes: &[u8], piece: usize) -> Result<(usize, bool), Garbled> {
        let (mut chunks, mut total) = (Chunks::new(), 0);
        for part in bytes.chunks(piece) {
            let read = chunks.read(part)?;
            total += read;
            if read < part.len() {
                break;
            }
        }
        Ok((total, chunks.done()))
    }

    #[test]
    fn what_servers_send_is_followed_to_its_end() {
        for (bytes, length) in [
            (&b"5\r\nhello\r\n0\r\n\r\n"[..], 15),
            (b"5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200", 15),
            (b"1;a=b\r\nx\r\n00\r\nx-sum: 1\r\nb: 2\r\n\r\n!", 32),
            (b"A \r\n0123456789\r\n0\r\n\r\n", 21),
        ] {
            for piece in 1..=bytes.len() {
                assert_eq!(read_in_pieces(bytes, piece), Ok((length, true)), "{bytes:?} {piece}");
            }
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for bytes in [
            &b"\r\n"[..],
            b"5\nhello",
            b"x\r\n",
            b"5\r\nhello0\r\n",
            b"5\r\nhello\n0",
            b"-1\r\n",
            b"+1\r\n",
            b" 1\r\n",
            b"1;a\nb\r\n",
            b"fffffffffffffffff\r\n",
            b"0\r\nx\n\r\n",
        ] {
            assert_eq!(
                read_in_pieces(bytes, bytes.len()),
                Err(Garbled),
                "{:?}",
                bytes.escape_ascii().to_string()
            );
        }
        let endless = vec![b'0'; 10_000];
        assert_eq!(read_in_pieces(&endless, 1000), Err(Garbled));
        let trailers = b"a: b\r\n".repeat(2000);
        assert_eq!(read_in_pieces(&[b"0\r\n", &trailers[..]].concat(), 1000), Err(Garbled));
    }

    proptest! {
        #[test]
        fn any_body_ends_where_it_was_ended(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..8),
            behind in proptest::collection::vec(any::<u8>(), 0..20),
            piece in 1_usize..400,
        ) {
            let mut bytes = Vec::new();
            for part in &parts {
                bytes.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                bytes.extend_from_slice(part);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
            let length = bytes.len();
            bytes.extend_from_slice(&behind);
            prop_assert_eq!(read_in_pieces(&bytes, piece), Ok((length, true)));
            prop_assert_eq!(read_in_pieces(&bytes[..length - 1], piece), Ok((length - 1, false)));
        }

        #[test]
        fn nothing_makes_it_fall(bytes in proptest::collection::vec(any::<u8>(), 0..200), piece in 1_usize..50) {
            let _ = read_in_pieces(&bytes, piece);
        }
    }
}
