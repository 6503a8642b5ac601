//! What a request names beside its path: a directory, a session, a server.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::headers;

/// The parameters that name a directory, in the first interface and in the second.
const DIRECTORY_KEYS: [&str; 2] = ["directory", "location[directory]"];

/// What stays as it is in the value of the header.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// The directory a request names. The query comes before the header, as servers read it; both may be encoded.
pub fn directory<'r>(uri: &'r Uri, headers: &'r HeaderMap) -> Option<Cow<'r, str>> {
    directory_in(uri.query(), headers.get(headers::DIRECTORY).map(HeaderValue::as_bytes))
}

/// The same, from the query and the value of [`headers::DIRECTORY`].
pub fn directory_in<'r>(query: Option<&'r str>, header: Option<&'r [u8]>) -> Option<Cow<'r, str>> {
    let in_query = query.and_then(|query| value(query, &DIRECTORY_KEYS));
    let named =
        in_query.or_else(|| Some(percent_decode_str(std::str::from_utf8(header?).ok()?).decode_utf8_lossy()));
    named.filter(|directory| !directory.is_empty())
}

/// The session a query names.
pub fn session(uri: &Uri) -> Option<Cow<'_, str>> {
    value(uri.query()?, &["sessionID", "session"]).filter(|id| id.starts_with("ses_"))
}

/// The server a client asks for. A name that cannot be read names no server that exists: it must not count as none.
pub fn server(headers: &HeaderMap) -> Option<&str> {
    headers.get(headers::SERVER).map(|name| name.to_str().unwrap_or_default())
}

/// The path and query of `uri` without the parameters that have one of these `keys`. The rest stays byte for byte.
pub fn without(uri: &Uri, keys: &[&str]) -> String {
    let kept = uri.query().unwrap_or_default().split('&').filter(|pair| {
        let (key, _) = pair.split_once('=').unwrap_or((pair, ""));
        !pair.is_empty() && !keys.contains(&&*decode(key))
    });
    let mut text = uri.path().to_owned();
    for (at, pair) in kept.enumerate() {
        text.push(if at == 0 { '?' } else { '&' });
        text.push_str(pair);
    }
    text
}

/// Makes a request name `directory`, and no other. In the header: servers decode a directory in the query twice, so
/// that one with a percent sign in its name could not be named there. `None` if the rest cannot stand as a path.
pub fn name_directory(uri: &Uri, headers: &mut HeaderMap, directory: &str) -> Option<Uri> {
    let encoded = utf8_percent_encode(directory, PLAIN).to_string();
    headers.insert(headers::DIRECTORY, HeaderValue::from_str(&encoded).ok()?);
    without(uri, &DIRECTORY_KEYS).parse().ok()
}

/// The decoded value of the first parameter in `query` that has one of these `keys`.
pub fn value<'q>(query: &'q str, keys: &[&str]) -> Option<Cow<'q, str>> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        keys.contains(&&*decode(key)).then(|| decode(value))
    })
}

/// Every parameter of `query`, decoded.
pub fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decode(key), decode(value)))
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
    use proptest::prelude::*;

    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn the_query_comes_before_the_header_and_both_may_be_encoded() {
        let mut headers = HeaderMap::new();
        headers.insert(headers::DIRECTORY, "/from%20header".parse().unwrap());
        assert_eq!(directory(&uri("/x?a=1"), &headers).unwrap(), "/from header");
        assert_eq!(directory(&uri("/x?a=1&directory=%2Ffrom%2Fquery"), &headers).unwrap(), "/from/query");
        assert_eq!(directory(&uri("/x?location%5Bdirectory%5D=/a+b"), &headers).unwrap(), "/a b");
        assert_eq!(directory(&uri("/x?location[directory]=/a"), &headers).unwrap(), "/a");
        assert_eq!(directory(&uri("/x?directory="), &HeaderMap::new()), None);
    }

    #[test]
    fn a_raw_header_that_is_no_ascii_is_read_too() {
        let mut headers = HeaderMap::new();
        headers.insert(headers::DIRECTORY, http::HeaderValue::from_bytes("/tmp/né".as_bytes()).unwrap());
        assert_eq!(directory(&uri("/x"), &headers).unwrap(), "/tmp/né");
    }

    #[test]
    fn a_server_name_that_cannot_be_read_is_still_a_name() {
        let mut headers = HeaderMap::new();
        assert_eq!(server(&headers), None);
        headers.insert(headers::SERVER, http::HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(server(&headers), Some(""));
    }

    #[test]
    fn naming_a_directory_replaces_the_one_named_before_and_nothing_else() {
        let mut headers = HeaderMap::new();
        let before = uri("/permission/per_1/reply?x=%2f&directory=/wrong&y");
        let named = name_directory(&before, &mut headers, "/a b/ü%41").unwrap();
        assert_eq!(named, "/permission/per_1/reply?x=%2f&y");
        assert_eq!(headers[headers::DIRECTORY], "/a%20b/%C3%BC%2541");
    }

    proptest! {
        #[test]
        fn a_directory_that_was_named_is_read_back(name in "\\PC{1,40}") {
            let mut headers = HeaderMap::new();
            let named = name_directory(&uri("/x?directory=/y"), &mut headers, &name).unwrap();
            prop_assert_eq!(directory(&named, &headers).unwrap(), name);
        }
    }
}
