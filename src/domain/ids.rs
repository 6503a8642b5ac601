//! The names things go by: sessions, and our own short keys for servers and stores.

use std::{fmt, hash, str, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// How many bytes of a session id are kept without an allocation: `ses_` and 26 characters.
const INLINE: usize = 30;

/// The longest session id accepted, in bytes. `OpenCode` writes 30.
const LONGEST: usize = 128;

/// A session id as its server wrote it: `ses` first, 4 to 128 bytes of `[0-9A-Za-z_-]`, and so safe in a path
/// segment, a query and a header.
///
/// The usual 30 bytes are kept in place; a million of them cost no allocation.
#[derive(Clone)]
pub struct SessionId(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE] },
    Long(Arc<str>),
}

/// Why a text is not a session id.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "a session id starts with \"ses\" and has 4 to {LONGEST} characters of [0-9A-Za-z_-], which {0:?} does not"
)]
pub struct InvalidSessionId(String);

impl SessionId {
    /// Checks and keeps `text`.
    pub fn try_new(text: &str) -> Result<Self, InvalidSessionId> {
        let shaped = text.starts_with("ses")
            && (4..=LONGEST).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if !shaped {
            return Err(InvalidSessionId(text.chars().take(LONGEST).collect()));
        }
        let mut bytes = [0; INLINE];
        let Some(place) = bytes.get_mut(..text.len()) else {
            return Ok(Self(Repr::Long(text.into())));
        };
        place.copy_from_slice(text.as_bytes());
        #[expect(clippy::cast_possible_truncation, reason = "not above INLINE")]
        Ok(Self(Repr::Inline { len: text.len() as u8, bytes }))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Inline { len, bytes } => {
                // Only ASCII passes `try_new`, so this never falls back.
                str::from_utf8(&bytes[..usize::from(*len)]).unwrap_or_default()
            }
            Repr::Long(text) => text,
        }
    }

    /// When the session was made, in milliseconds since 1970, as far as its id tells.
    ///
    /// `OpenCode` writes the complement of (milliseconds × 4096 + counter), cut to 48 bits, as the 12 hexadecimal
    /// digits after `ses_`: newer ids sort first. The cut repeats every 2.2 years; the instant nearest to `now` that
    /// does not lie more than a day after it is meant.
    pub fn created_ms(&self, now_ms: u64) -> Option<u64> {
        const CYCLE: u64 = 1 << 36;
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        let digits = self.as_str().get(4..16)?;
        let low = (!u64::from_str_radix(digits, 16).ok()? & 0xffff_ffff_ffff) >> 12;
        let latest = now_ms + DAY_MS;
        let candidate = (latest & !(CYCLE - 1)) | low;
        Some(if candidate > latest { candidate.saturating_sub(CYCLE) } else { candidate })
    }
}

impl PartialEq for SessionId {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for SessionId {}

impl SessionId {
    fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Long(text) => text.as_bytes(),
        }
    }
}

impl PartialOrd for SessionId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SessionId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl hash::Hash for SessionId {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        state.write(self.as_bytes());
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::try_new(&text).map_err(serde::de::Error::custom)
    }
}

/// Our key for one server, valid until this daemon ends and never used twice: a dead server's key stays dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerKey(pub u32);

/// Our key for one store (one `opencode.db`), valid until this daemon ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreKey(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_the_usual_length_takes_32_bytes_in_all() {
        assert_eq!(size_of::<SessionId>(), 32);
    }

    #[test]
    fn ids_that_could_break_out_of_a_path_or_header_are_refused() {
        for text in [
            "",
            "ses",
            "msg_1",
            "ses_a/b",
            "ses_a%2f",
            "ses_a b",
            "ses_\r\n",
            "ses_é",
            &format!("ses_{}", "a".repeat(200)),
        ] {
            assert!(SessionId::try_new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn long_and_short_ids_keep_their_text() {
        for text in ["ses_1", "ses_e021c7fa2ffe8VGOoFNM8lM5q9", "ses_e021c7fa2ffe8VGOoFNM8lM5q9_and_more"] {
            assert_eq!(SessionId::try_new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn the_time_of_creation_is_read_from_the_id() {
        // Seen on a 1.18.33 server, with `time.created` beside it.
        let id = SessionId::try_new("ses_e021c7fa2ffe8VGOoFNM8lM5q9").unwrap();
        assert_eq!(id.created_ms(1_795_260_952_355), Some(1_795_260_907_613));
        assert_eq!(SessionId::try_new("ses_x").unwrap().created_ms(1_795_260_952_355), None);
    }
}
