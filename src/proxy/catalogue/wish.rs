//! What a client lets us do about its read of the catalogue.

use http::{
    HeaderMap, HeaderValue,
    header::{self, CACHE_CONTROL, PRAGMA},
    request::Parts,
};

use crate::proxy::headers::lists;

/// How a read may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// With a kept answer, or one that is on its way to others.
    Any,
    /// Only with one that the server is asked for from now on. It is kept for others.
    Fresh,
    /// Only by its server, and nothing of it is kept.
    Direct,
}

impl Wish {
    /// The wish in the head of a request.
    pub(super) fn of(request: &Parts) -> Self {
        let headers = &request.headers;
        // What asks for a part, or for anything but a plain answer, is too rare to be worth more than passing on.
        let odd = [
            header::RANGE,
            header::IF_MATCH,
            header::IF_UNMODIFIED_SINCE,
            header::IF_RANGE,
            header::UPGRADE,
            header::TRANSFER_ENCODING,
        ];
        if odd.iter().any(|name| headers.contains_key(name)) || says(headers, "no-store") {
            return Self::Direct;
        }
        let pragma = !headers.contains_key(CACHE_CONTROL)
            && headers.get(PRAGMA).is_some_and(|value| lists(value, "no-cache"));
        if pragma || says(headers, "no-cache") || says(headers, "max-age=0") {
            return Self::Fresh;
        }
        Self::Any
    }
}

fn says(headers: &HeaderMap, word: &str) -> bool {
    headers.get_all(CACHE_CONTROL).iter().any(|value| lists(value, word))
}

/// Whether an answer in gzip can be read by whoever sent these headers. Who says nothing can read everything, but
/// who says nothing is a simple client, and servers answer it in plain text.
pub fn reads_gzip(headers: &HeaderMap) -> bool {
    let mut any = None;
    for value in headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()) {
        for item in value.split(',') {
            let (coding, parameters) = item.split_once(';').unwrap_or((item, ""));
            let accepted = !is_zero(parameters);
            match coding.trim() {
                coding if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") => {
                    return accepted;
                }
                "*" => any = Some(accepted),
                _ => {}
            }
        }
    }
    any.unwrap_or(false)
}

/// Whether the parameters of a coding give it the weight nought.
fn is_zero(parameters: &str) -> bool {
    let weight = parameters.trim().strip_prefix("q=").or_else(|| parameters.trim().strip_prefix("Q="));
    weight.and_then(|weight| weight.trim().parse::<f32>().ok()).is_some_and(|weight| weight <= 0.0)
}

/// Whether a client that holds what `if_none_match` names holds `etag`. The comparison is the weak one: the same text
/// in gzip and in plain is the same.
pub(super) fn holds(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let Ok(etag) = etag.to_str() else { return false };
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let etag = bare(etag);
    let named = headers.get_all(header::IF_NONE_MATCH);
    named.iter().filter_map(|value| value.to_str().ok()).any(|value| {
        // A comma within a tag is no end of it to the standard; ours and those of servers have none.
        value.split(',').any(|tag| tag.trim() == "*" || bare(tag) == etag)
    })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn wish(lines: &[(&str, &str)]) -> Wish {
        let request =
            lines.iter().fold(Request::builder(), |request, (name, value)| request.header(*name, *value));
        Wish::of(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn what_a_client_says_about_caches_is_heeded() {
        assert_eq!(wish(&[]), Wish::Any);
        assert_eq!(wish(&[("if-none-match", "\"x\""), ("cache-control", "max-age=5")]), Wish::Any);
        assert_eq!(wish(&[("cache-control", "x, No-Cache")]), Wish::Fresh);
        assert_eq!(wish(&[("cache-control", "max-age=0")]), Wish::Fresh);
        assert_eq!(wish(&[("pragma", "no-cache")]), Wish::Fresh);
        assert_eq!(wish(&[("pragma", "no-cache"), ("cache-control", "max-age=9")]), Wish::Any);
        assert_eq!(wish(&[("cache-control", "no-cache, no-store")]), Wish::Direct);
        assert_eq!(wish(&[("range", "bytes=0-5")]), Wish::Direct);
    }

    #[test]
    fn gzip_is_read_by_those_who_say_so() {
        let reads = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, value.parse().unwrap());
            reads_gzip(&headers)
        };
        for value in ["gzip", "br, GZIP;q=0.5", "gzip, deflate, br, zstd", "*", "x-gzip", "*;q=0, gzip"] {
            assert!(reads(value), "{value}");
        }
        for value in ["", "identity", "br", "gzip;q=0", "gzip; q=0.0, *", "*;q=0"] {
            assert!(!reads(value), "{value}");
        }
        assert!(!reads_gzip(&HeaderMap::new()));
    }

    #[test]
    fn a_tag_is_the_same_strong_or_weak() {
        let etag = HeaderValue::from_static("W/\"a\"");
        let held = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, value.parse().unwrap());
            holds(&headers, &etag)
        };
        assert!(held("\"a\"") && held("W/\"a\"") && held("\"b\", W/\"a\"") && held("*"));
        assert!(!held("\"b\"") && !held("a"));
    }
}
