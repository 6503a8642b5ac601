//! The query of a list request: read as the servers read it, changed where paging over several needs it.
//!
//! What is not changed stays byte for byte, repeated and senseless parameters included: refusing them is the servers'
//! business.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Up to this limit rows are counted. A greater one means everything; no store has as many.
const MOST_COUNTED: f64 = 1e9;

/// How many rows a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// It did not say.
    Unnamed,
    /// This many, at least one.
    Rows(usize),
    /// Something that is no number of rows. Each server makes of it what it will; we cut nothing.
    Other,
}

/// The limit in `query`.
pub(super) fn limit(query: &str) -> Limit {
    let Some(text) = value(query, "limit") else { return Limit::Unnamed };
    let number = number(&text);
    if number.fract() == 0.0 && (1.0..MOST_COUNTED).contains(&number) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
        Limit::Rows(number as usize)
    } else {
        Limit::Other
    }
}

/// The decoded value of the first parameter called `key`.
pub(super) fn value<'q>(query: &'q str, key: &str) -> Option<Cow<'q, str>> {
    pairs(query).find(|(name, _)| decode(name) == key).map(|(_, value)| decode(value))
}

/// How many parameters are called `key`.
pub(super) fn count(query: &str, key: &str) -> usize {
    pairs(query).filter(|(name, _)| decode(name) == key).count()
}

/// `query` without the parameters called as one of `keys`.
pub(super) fn without(query: &str, keys: &[&str]) -> String {
    let kept = query.split('&').filter(|pair| {
        let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
        !pair.is_empty() && !keys.contains(&&*decode(name))
    });
    let mut text = String::with_capacity(query.len());
    for pair in kept {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(pair);
    }
    text
}

/// A text as JavaScript's `Number` reads it, which is what the servers do: an empty one is 0, a senseless one NaN.
pub(super) fn number(text: &str) -> f64 {
    let text = text.trim();
    if text.is_empty() {
        return 0.0;
    }
    let radix = match text.get(..2) {
        Some("0x" | "0X") => Some(16),
        Some("0o" | "0O") => Some(8),
        Some("0b" | "0B") => Some(2),
        _ => None,
    };
    if let Some(radix) = radix {
        #[expect(clippy::cast_precision_loss, reason = "as in JavaScript")]
        return u64::from_str_radix(&text[2..], radix).map_or(f64::NAN, |number| number as f64);
    }
    match text.strip_prefix(['+', '-']).unwrap_or(text) {
        "Infinity" => {
            if text.starts_with('-') {
                f64::NEG_INFINITY
            } else {
                f64::INFINITY
            }
        }
        // Rust reads names of infinity that JavaScript does not.
        digits if digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') => {
            text.parse().unwrap_or(f64::NAN)
        }
        _ => f64::NAN,
    }
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn decode(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned());
    }
    percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_servers_read_them() {
        assert_eq!(limit("a=1"), Limit::Unnamed);
        for (text, rows) in [("3", 3), ("1e2", 100), ("0x10", 16), ("%2010", 10), ("+7", 7), ("7.0", 7)] {
            assert_eq!(limit(&format!("a=1&limit={text}")), Limit::Rows(rows), "{text}");
        }
        for text in ["", "0", "-1", "1.5", "abc", "inf", "nan", "1e9", "1e30", "Infinity", "0xzz", "1_0"] {
            assert_eq!(limit(&format!("limit={text}")), Limit::Other, "{text}");
        }
    }

    #[test]
    fn parameters_that_are_not_taken_out_stay_as_they_were() {
        let query = "search=%2fa+b&location%5Bdirectory%5D=/x&&y&directory=/z&directory";
        assert_eq!(without(query, &["directory", "location[directory]"]), "search=%2fa+b&y");
    }
}
