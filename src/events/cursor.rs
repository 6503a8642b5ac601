//! Where in the merged stream a client stands: `<epoch>.<number>`, the id of the last event that it has seen.
//!
//! Numbers count the events of one epoch and none is ever used twice in it. An epoch ends when the numbers do not go on
//! (the journal was deleted, or is not kept on disk); then a cursor of the old one says nothing any more.

use std::fmt;

use bytes::{BufMut, BytesMut};
use rand::{Rng, distr::Alphanumeric};
use serde::Serialize;
use utoipa::ToSchema;

/// Eight letters and digits: a journal that is begun anew draws one that an earlier one had with a chance of one in
/// 2 · 10¹⁴.
const EPOCH: usize = 8;

/// What an id line needs at most: `id: `, the epoch, a dot, 20 digits, the end of the line.
pub(super) const ID_LINE: usize = 4 + EPOCH + 1 + 20 + 1;

/// Names one run of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch([u8; EPOCH]);

impl Epoch {
    /// One that nobody else has.
    pub(super) fn draw() -> Self {
        let mut rng = rand::rng();
        Self(std::array::from_fn(|_| rng.sample(Alphanumeric)))
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let letters: [u8; EPOCH] = text.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_alphanumeric).then_some(Self(letters))
    }

    pub(super) fn as_str(&self) -> &str {
        // Only letters and digits get in, so this never falls back.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Writes the line that gives an event of this epoch its id.
    pub(super) fn put_id_line(self, out: &mut BytesMut, seq: u64) {
        const START: usize = "id: ".len() + EPOCH + ".".len();
        // In one piece: this is done for each event and view.
        let mut line = *b"id: --------.--------------------\n";
        line[4..4 + EPOCH].copy_from_slice(&self.0);
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(seq).as_bytes();
        let end = START + digits.len();
        line[START..end].copy_from_slice(digits);
        line[end] = b'\n';
        out.put_slice(&line[..=end]);
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Which run of numbers it belongs to.
    pub epoch: Epoch,
    /// The number of the last event seen.
    pub seq: u64,
}

impl Cursor {
    /// Reads what a client sent.
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, seq) = text.split_once('.')?;
        // `u64` would take a plus sign too.
        let digits = !seq.is_empty() && seq.bytes().all(|byte| byte.is_ascii_digit());
        Some(Self { epoch: Epoch::parse(epoch)?, seq: seq.parse().ok().filter(|_| digits)? })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.seq)
    }
}

/// Why a cursor cannot be honoured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(example = "too-old")]
pub enum Reset {
    /// It is no cursor, or names an event that was never told.
    Malformed,
    /// It belongs to numbers that ended.
    Epoch,
    /// What came behind it is not kept any more.
    TooOld,
    /// It names an event that was told but not kept, when we died.
    Crash,
}

impl Reset {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Malformed, Self::Epoch, Self::TooOld, Self::Crash];

    /// The word that clients are told.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Epoch => "epoch",
            Self::TooOld => "too-old",
            Self::Crash => "crash",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_cursor_is_none() {
        for text in
            ["", ".", "abcdefgh", "abcdefgh.", "abcdefgh.+1", "abcdefgh.-1", "abc.1", "abcdefg\u{e9}.1", "7"]
        {
            assert_eq!(Cursor::parse(text), None, "{text:?}");
        }
        assert_eq!(Cursor::parse("abcdefgh.99999999999999999999999"), None, "beyond any number");
    }

    proptest! {
        #[test]
        fn a_cursor_is_read_as_it_was_written(seq: u64) {
            let cursor = Cursor { epoch: Epoch::draw(), seq };
            prop_assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
            let mut line = BytesMut::new();
            cursor.epoch.put_id_line(&mut line, seq);
            prop_assert_eq!(String::from_utf8_lossy(&line), format!("id: {cursor}\n"));
            prop_assert!(line.len() <= ID_LINE);
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC{0,40}") {
            let _ = Cursor::parse(&text);
        }
    }
}
