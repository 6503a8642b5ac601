//! Server-sent events out of a stream of bytes, however it is cut.
//!
//! Promises: linear time, since no byte is looked at twice; an event that lies within one chunk and has one data
//! line is a slice of that chunk; an event above [`MAX_EVENT`] is skipped and counted, at a bounded cost of memory,
//! and the next one is read as if nothing had been. Lines other than `data` and `id` carry nothing we use and are
//! passed over. Leaves to others: what the data says, and how long a silence may last.

use std::mem;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr2;

/// The largest event read, in bytes of data. A tool's output of 10 MB is real; one of 16 MiB is somebody's mistake
/// and would push every other event out of the log.
pub const MAX_EVENT: usize = 16 << 20;

/// What stands before the data in its line. An unfinished line may be longer than the limit by as much.
const FIELD: &[u8] = b"data: ";

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads the events of one stream: [`push`](Self::push) a chunk, then take what [`next`](Iterator::next) gives
/// until it is `None`. What a stream left unfinished at its end is no event.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four independent facts about where in the stream we stand"
)]
pub struct Decoder {
    /// What was pushed and not yet looked at.
    input: Bytes,
    /// The start of a line that the chunks before ended within.
    line: BytesMut,
    /// The data of the event being read.
    data: Data,
    /// The last id read: that of the event read last, or of one before it.
    id: Option<Bytes>,
    /// The line being read is too long to be kept.
    line_dropped: bool,
    /// The event being read is too large to be kept.
    event_dropped: bool,
    /// The last byte ended a line by `\r`: a `\n` now belongs to it.
    after_return: bool,
    /// No line has been read yet, so that a byte order mark may stand here.
    at_start: bool,
    limit: usize,
    skipped: u64,
}

#[derive(Debug, Default)]
enum Data {
    #[default]
    None,
    /// One line, still where it was received.
    Slice(Bytes),
    /// Several lines, joined.
    Joined(BytesMut),
}

impl Data {
    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Slice(line) => line.len(),
            Self::Joined(lines) => lines.len(),
        }
    }

    fn add(&mut self, line: Bytes) {
        *self = match mem::take(self) {
            Self::None => Self::Slice(line),
            Self::Slice(first) => {
                let mut lines = BytesMut::with_capacity(first.len() + 1 + line.len());
                lines.extend_from_slice(&first);
                Self::Joined(joined(lines, &line))
            }
            Self::Joined(lines) => Self::Joined(joined(lines, &line)),
        };
    }

    fn take(&mut self) -> Option<Bytes> {
        match mem::take(self) {
            Self::None => None,
            Self::Slice(line) => Some(line),
            Self::Joined(lines) => Some(lines.freeze()),
        }
    }
}

fn joined(mut lines: BytesMut, line: &[u8]) -> BytesMut {
    lines.extend_from_slice(b"\n");
    lines.extend_from_slice(line);
    lines
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::with_limit(MAX_EVENT)
    }

    fn with_limit(limit: usize) -> Self {
        Self {
            input: Bytes::new(),
            line: BytesMut::new(),
            data: Data::None,
            id: None,
            line_dropped: false,
            event_dropped: false,
            after_return: false,
            at_start: true,
            limit,
            skipped: 0,
        }
    }

    /// Takes in the next bytes of the stream. All events of the bytes before must have been taken.
    pub fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.input.is_empty(), "events left untaken");
        self.input = chunk;
    }

    /// The id that a client would send to come back behind the event given last.
    pub fn id(&self) -> Option<&[u8]> {
        self.id.as_deref()
    }

    /// How many events were too large and have been skipped.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The next whole line without its end, `None` until there is one. A dropped line is given as empty, and told
    /// by `line_dropped`.
    fn next_line(&mut self) -> Option<Bytes> {
        let next = *self.input.first()?;
        if mem::take(&mut self.after_return) && next == b'\n' {
            self.input.advance(1);
        }
        let Some(end) = memchr2(b'\n', b'\r', &self.input) else {
            self.keep_start();
            return None;
        };
        self.after_return = self.input[end] == b'\r';
        let rest = self.input.split_to(end);
        self.input.advance(1);
        if self.line.is_empty() {
            return Some(rest);
        }
        let mut line = mem::take(&mut self.line);
        line.extend_from_slice(&rest);
        Some(line.freeze())
    }

    /// Puts the unfinished line aside until its end comes, or gives it up if it can only be too long.
    fn keep_start(&mut self) {
        let start = mem::take(&mut self.input);
        if self.line_dropped || start.is_empty() {
            return;
        }
        if self.data.len() + self.line.len() + start.len() <= self.limit + FIELD.len() {
            self.line.extend_from_slice(&start);
            return;
        }
        let first = self.line.first().or(start.first());
        self.event_dropped |= first != Some(&b':');
        self.line_dropped = true;
        self.line = BytesMut::new();
    }

    /// Takes a line of the event in.
    fn read(&mut self, line: &Bytes) {
        if let Some(id) = line.strip_prefix(b"id:") {
            self.id = Some(line.slice_ref(id.strip_prefix(b" ").unwrap_or(id)));
            return;
        }
        let Some(rest) = line.strip_prefix(b"data") else { return };
        let value = match rest {
            [] => line.slice(line.len()..),
            [b':', b' ', ..] => line.slice(FIELD.len()..),
            [b':', ..] => line.slice(b"data:".len()..),
            _ => return,
        };
        if self.event_dropped || self.data.len() + value.len() > self.limit {
            self.event_dropped = true;
            self.data = Data::None;
        } else {
            self.data.add(value);
        }
    }
}

impl Iterator for Decoder {
    type Item = Bytes;

    /// The data of the next event that is complete; after `None`, push the next chunk.
    fn next(&mut self) -> Option<Bytes> {
        loop {
            let mut line = self.next_line()?;
            if mem::take(&mut self.line_dropped) {
                continue;
            }
            if mem::take(&mut self.at_start) && line.starts_with(BYTE_ORDER_MARK) {
                line.advance(BYTE_ORDER_MARK.len());
            }
            if !line.is_empty() {
                self.read(&line);
            } else if mem::take(&mut self.event_dropped) {
                self.data = Data::None;
                self.skipped += 1;
            } else if let Some(data) = self.data.take() {
                return Some(data);
            }
        }
    }
}

#[cfg(test)]
mod tests;
