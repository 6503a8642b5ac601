//! Where a page ends, in the servers' own words.
//!
//! Both kinds of cursor are computed from the rows of the merged page and from nothing else: no state, the same on
//! every server, valid after a restart, and understood by a server that is asked directly.

use std::fmt;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::value::RawValue;

use super::query;

/// Cursors are written without padding and read with or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A cursor of `/api/session`: the list's filter and the row next to which the page lies.
#[derive(Debug)]
pub(super) struct Anchored {
    /// All but the anchor, in the order in which the server wrote it.
    filter: Vec<(String, Box<RawValue>)>,
    /// The row and the direction.
    pub(super) anchor: Anchor,
}

/// The row next to which a page lies, and on which side.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(super) struct Anchor {
    pub(super) id: String,
    pub(super) time: serde_json::Number,
    pub(super) direction: Direction,
}

/// On which side of its anchor a page lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Direction {
    Next,
    Previous,
}

impl Anchored {
    /// The cursor in `text`; `None` for what no server would take either.
    pub(super) fn read(text: &str) -> Option<Self> {
        let json = BASE64.decode(text.replace('+', "-").replace('/', "_")).ok()?;
        serde_json::from_slice(&json).ok()
    }

    /// Whether the list runs from the oldest row to the newest.
    pub(super) fn ascending(&self) -> bool {
        self.filter.iter().any(|(key, value)| key == "order" && value.get() == "\"asc\"")
    }

    /// The cursor for the page on that side of another row of the same list.
    pub(super) fn at(&self, id: &str, time: i64, direction: Direction) -> String {
        let anchor = Anchor { id: id.to_owned(), time: time.into(), direction };
        let written = Written { filter: &self.filter, anchor: &anchor };
        BASE64.encode(serde_json::to_vec(&written).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Anchored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Anchored;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a cursor with an anchor")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Anchored, M::Error> {
                let (mut filter, mut anchor) = (Vec::new(), None);
                while let Some(key) = map.next_key::<String>()? {
                    if key == "anchor" {
                        anchor = Some(map.next_value()?);
                    } else {
                        filter.push((key, map.next_value()?));
                    }
                }
                let anchor = anchor.ok_or_else(|| serde::de::Error::missing_field("anchor"))?;
                Ok(Anchored { filter, anchor })
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

struct Written<'a> {
    filter: &'a [(String, Box<RawValue>)],
    anchor: &'a Anchor,
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.filter.len() + 1))?;
        for (key, value) in self.filter {
            map.serialize_entry(key, value)?;
        }
        map.serialize_entry("anchor", self.anchor)?;
        map.end()
    }
}

/// A cursor of `/experimental/session`: the next page holds what changed before `time_ms`.
///
/// A server's own cursor is the time of the last row and loses the other rows of the same millisecond. Where there
/// are such rows, ours is a fraction above that time and counts those that were given already: still a number, and
/// one that survives JavaScript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Changed {
    /// The time of the last row given.
    pub(super) time_ms: i64,
    /// How many rows of exactly that time were given; 0 if all were.
    pub(super) given: usize,
}

/// One counted row. Times in milliseconds take 41 of the 53 bits that JavaScript's numbers have until 2039 and 42
/// until 2109, which leaves eleven.
const STEP: f64 = 1.0 / 2048.0;

impl Changed {
    /// The most rows of one millisecond that can be counted. Of a greater crowd the rest is lost at the end of the
    /// page, as with a single server.
    pub(super) const MOST_GIVEN: usize = 2047;

    /// The cursor in `text`, if it is one that counts rows; every other is the servers' to read.
    pub(super) fn read(text: &str) -> Option<Self> {
        let number = query::number(text);
        let given = (number.fract() / STEP).round();
        if !(number.is_finite() && (1.0..9e15).contains(&number) && (1.0..=2047.0).contains(&given)) {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
        Some(Self { time_ms: number.trunc() as i64, given: given as usize })
    }

    /// As the header says it.
    pub(super) fn text(self) -> String {
        if self.given == 0 || self.given > Self::MOST_GIVEN {
            return self.time_ms.to_string();
        }
        #[expect(clippy::cast_precision_loss, reason = "eleven bits are left, see STEP")]
        let number = self.time_ms as f64 + self.given as f64 * STEP;
        number.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cursor_for_another_row_is_the_one_a_server_would_write() {
        // Both seen on a 1.18.33 server.
        let filter = r#"{"order":"asc","search":"b","directory":"/work/b","anchor":"#;
        let seen = |id: &str, time: u64, direction: &str| {
            BASE64.encode(format!(r#"{filter}{{"id":"{id}","time":{time},"direction":"{direction}"}}}}"#))
        };
        let previous = Anchored::read(&seen("ses_a", 5, "previous")).unwrap();
        assert!(previous.ascending());
        assert_eq!(previous.at("ses_b", 7, Direction::Next), seen("ses_b", 7, "next"));
    }

    #[test]
    fn cursors_are_read_padded_or_not_and_in_either_alphabet() {
        let json = r#"{"anchor":{"id":"ses_~~~???","time":1.5,"direction":"next"}}"#;
        for engine in [&base64::engine::general_purpose::STANDARD, &base64::engine::general_purpose::URL_SAFE]
        {
            assert_eq!(Anchored::read(&engine.encode(json)).unwrap().anchor.id, "ses_~~~???");
        }
        for text in ["", "abc", "%", &BASE64.encode("[1]"), &BASE64.encode("{\"order\":\"desc\"}")] {
            assert!(Anchored::read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_servers_own_cursor_counts_nothing() {
        for text in ["1795262597827", "0", "-1", "", "abc", "1e30", "NaN"] {
            assert_eq!(Changed::read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_count_survives_the_way_through_a_double(time_ms in 1i64..(1 << 42), given in 1usize..=2047) {
            let cursor = Changed { time_ms, given };
            prop_assert_eq!(Changed::read(&cursor.text()), Some(cursor));
            let through_javascript = cursor.text().parse::<f64>().unwrap().to_string();
            prop_assert_eq!(Changed::read(&through_javascript), Some(cursor));
        }
    }
}
