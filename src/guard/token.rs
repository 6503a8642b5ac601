//! The token clients present, in the three ways `OpenCode` clients can: Basic, Bearer, and `?auth_token=` for browser
//! event streams and sockets, which cannot set headers.
//!
//! Whatever opened this door is taken off before a request goes on: it is no server's business.

use std::borrow::Cow;

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use percent_encoding::percent_decode_str;
use subtle::ConstantTimeEq as _;

use crate::config::Secret;

/// The `WWW-Authenticate` of a `401`, as `OpenCode` sends it: clients and browsers know it.
pub const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"Secure Area\"");

/// The query parameter that carries base64 of `user:password`.
const PARAMETER: &str = "auth_token";

/// The longest base64 text looked at. A token has at most 256 characters, a user name may have some hundred more.
const LONGEST_CODE: usize = 768;

/// Padding is what people lose when they copy.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The token asked for.
#[derive(Debug)]
pub(super) struct Token(Secret);

impl Token {
    pub(super) fn new(secret: Secret) -> Self {
        Self(secret)
    }

    /// Whether the request presents the token in any of its ways. Any user name goes with it: clients differ in the
    /// one they send, and it is no secret.
    pub(super) fn is_presented(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        headers.get_all(header::AUTHORIZATION).iter().any(|value| self.opens_header(value.as_bytes()))
            || uri.query().is_some_and(|query| self.opens_query(query))
    }

    fn opens_header(&self, value: &[u8]) -> bool {
        let Some(space) = value.iter().position(|byte| *byte == b' ') else { return false };
        let (scheme, rest) = value.split_at(space);
        let rest = rest.trim_ascii();
        if scheme.eq_ignore_ascii_case(b"bearer") {
            self.is(rest)
        } else {
            scheme.eq_ignore_ascii_case(b"basic") && self.opens_code(rest.iter().copied())
        }
    }

    fn opens_query(&self, query: &str) -> bool {
        query.split('&').filter_map(value_of_parameter).any(|value| {
            // In a query a plus sign may be itself or a space, and code alphabets differ in two signs.
            self.opens_code(percent_decode_str(value).map(|byte| match byte {
                b' ' | b'-' => b'+',
                b'_' => b'/',
                other => other,
            }))
        })
    }

    /// `code` is base64 of `user:password`. Decoded on the stack: this runs for every request.
    fn opens_code(&self, code: impl Iterator<Item = u8>) -> bool {
        let mut text = [0; LONGEST_CODE];
        let mut length = 0;
        for byte in code {
            let Some(place) = text.get_mut(length) else { return false };
            *place = byte;
            length += 1;
        }
        let mut pair = [0; LONGEST_CODE];
        let Ok(decoded) = BASE64.decode_slice(&text[..length], &mut pair) else { return false };
        let pair = &pair[..decoded];
        pair.iter().position(|byte| *byte == b':').is_some_and(|colon| self.is(&pair[colon + 1..]))
    }

    /// Takes as long for a wrong text as for the right one of the same length.
    fn is(&self, presented: &[u8]) -> bool {
        self.0.expose().as_bytes().ct_eq(presented).into()
    }
}

/// Takes the credentials off that were meant for us. A page that was opened with the token in its address names that
/// address as the `Referer` of all it loads.
pub fn strip(headers: &mut HeaderMap) {
    headers.remove(header::AUTHORIZATION);
    headers.remove(HeaderName::from_static("proxy-authorization"));
    let Some((page, query)) = headers.get(header::REFERER).and_then(|page| split(page.as_bytes())) else {
        return;
    };
    let Cow::Owned(kept) = strip_query(query) else { return };
    let page = if kept.is_empty() { page.to_owned() } else { format!("{page}?{kept}") };
    match HeaderValue::from_str(&page) {
        Ok(page) => headers.insert(header::REFERER, page),
        Err(_) => headers.remove(header::REFERER),
    };
}

fn split(page: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(page).ok()?.split_once('?')
}

/// `query` without its `auth_token`; every other byte stays as it is, in its place.
pub fn strip_query(query: &str) -> Cow<'_, str> {
    if query.split('&').all(|pair| value_of_parameter(pair).is_none()) {
        return Cow::Borrowed(query);
    }
    let mut kept = String::with_capacity(query.len());
    for pair in query.split('&').filter(|pair| value_of_parameter(pair).is_none()) {
        if !kept.is_empty() {
            kept.push('&');
        }
        kept.push_str(pair);
    }
    Cow::Owned(kept)
}

/// The value of `pair` if it is an `auth_token`, however its name is encoded: the server behind would decode it too.
fn value_of_parameter(pair: &str) -> Option<&str> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    percent_decode_str(name).eq(PARAMETER.bytes()).then_some(value)
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    fn token() -> Token {
        Token::new("s3cret:with~signs?>".into())
    }

    fn presents(authorization: &str, uri: &str) -> bool {
        let mut headers = HeaderMap::new();
        if !authorization.is_empty() {
            headers.insert(header::AUTHORIZATION, authorization.parse().unwrap());
        }
        token().is_presented(&headers, &uri.parse().unwrap())
    }

    #[test]
    fn basic_bearer_and_the_query_all_open() {
        let code = BASE64_STANDARD.encode("opencode:s3cret:with~signs?>");
        assert!(presents(&format!("Basic {code}"), "/"));
        assert!(presents(&format!("basic  {}", code.trim_end_matches('=')), "/"));
        assert!(presents(&format!("Basic {}", BASE64_STANDARD.encode(":s3cret:with~signs?>")), "/"));
        assert!(presents("Bearer s3cret:with~signs?>", "/"));
        for code in [code.clone(), code.replace('=', "%3D"), code.replace('+', "%2B")] {
            assert!(presents("", &format!("/event?directory=/a&auth_token={code}")), "{code}");
        }
        let url_safe = BASE64_URL_SAFE_NO_PAD.encode("opencode:s3cret:with~signs?>");
        assert!(presents("Basic d3Jvbmc6d3Jvbmc=", &format!("/?auth%5Ftoken={url_safe}")));
    }

    #[test]
    fn nothing_and_wrong_things_do_not_open() {
        assert!(!presents("", "/"));
        for authorization in [
            "Basic",
            "Basic ",
            "Basic =",
            "Basic !!!",
            "Bearer",
            "Bearer s3cret",
            "Bearer s3cret:with~signs?>x",
            "Digest s3cret:with~signs?>",
            "s3cret:with~signs?>",
        ] {
            assert!(!presents(authorization, "/"), "{authorization}");
        }
        let bare = BASE64_STANDARD.encode("s3cret:with~signs?>");
        assert!(!presents(&format!("Basic {bare}"), "/"), "the password's own colon would end a user name");
        assert!(!presents(&format!("Basic {}", "A".repeat(5000)), "/"));
        assert!(!presents("", "/?auth_token=s3cret"));
        assert!(!presents("", "/?xauth_token=b3BlbmNvZGU6"));
    }

    #[test]
    fn what_opened_our_door_is_taken_off() {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer x"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        strip(&mut headers);
        assert_eq!(headers.len(), 1);
    }

    #[test]
    fn the_address_of_the_page_that_asks_keeps_all_but_the_token() {
        for (page, rest) in [
            ("http://box:4747/?auth_token=x", "http://box:4747/"),
            ("http://box:4747/a?b=1&auth%5Ftoken=x&c=%2f", "http://box:4747/a?b=1&c=%2f"),
            ("http://box:4747/a?b=1", "http://box:4747/a?b=1"),
            ("http://box:4747/a", "http://box:4747/a"),
        ] {
            let mut headers = HeaderMap::from_iter([(header::REFERER, page.parse().unwrap())]);
            strip(&mut headers);
            assert_eq!(headers[header::REFERER], rest);
        }
    }

    #[test]
    fn the_rest_of_a_query_keeps_its_bytes() {
        for (query, rest) in [
            ("auth_token=x", ""),
            ("auth_token", ""),
            ("a=1&auth_token=x&b=%2f&&c", "a=1&b=%2f&&c"),
            ("auth%5ftoken=x&auth_token=y&d=e", "d=e"),
        ] {
            assert_eq!(strip_query(query), rest, "{query}");
        }
        assert!(matches!(strip_query("a=b%20c&my_auth_token=1"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn any_header_and_any_query_are_read_without_a_panic(
            value in proptest::collection::vec(any::<u8>(), 0..900),
            query in "[ -~]{0,900}",
        ) {
            prop_assert!(!token().opens_header(&value));
            prop_assert!(!token().opens_code(value.into_iter()));
            prop_assert!(!token().opens_query(&query));
            prop_assert!(strip_query(&query).len() <= query.len());
        }

        #[test]
        fn a_stripped_query_holds_no_token_any_more(query in "(auth_token|auth%5Ftoken|a|&|=|%20){0,12}") {
            let stripped = strip_query(&query).into_owned();
            prop_assert!(stripped.split('&').all(|pair| value_of_parameter(pair).is_none()));
        }
    }
}
