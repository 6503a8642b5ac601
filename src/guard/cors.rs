//! What browsers are told about who may read an answer, in `OpenCode`'s own words (measured on 1.18.33).

use http::{HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts};

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, PUT, PATCH, POST, DELETE");
/// A day, as `OpenCode` says; browsers cut it to their own limit.
const MAX_AGE: HeaderValue = HeaderValue::from_static("86400");
const VARY_ORIGIN: HeaderValue = HeaderValue::from_static("Origin");
const VARY_BOTH: HeaderValue = HeaderValue::from_static("Access-Control-Request-Headers, Origin");

/// Whether a browser asks beforehand if it may send the real request. It does so without credentials, and the
/// question itself must never be forwarded.
pub fn is_preflight(request: &Parts) -> bool {
    request.method == Method::OPTIONS
        && request.headers.contains_key(header::ORIGIN)
        && request.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The headers of the `204` that answers a preflight the guard has admitted: its origin is a trusted one.
pub fn preflight(request: &Parts) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(5);
    if let Some(origin) = request.headers.get(header::ORIGIN) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
    let asked = request.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
    headers.insert(header::VARY, if asked.is_some() { VARY_BOTH } else { VARY_ORIGIN });
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    let allowed = asked.cloned().unwrap_or(HeaderValue::from_static(""));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    headers
}

/// Lets the page that asked read the answer: `origin` is the `Origin` of a request the guard has admitted.
///
/// What the answer already says stays: a server's own word about who may read it is neither replaced nor doubled.
/// Where the server has said nothing, because it does not know one of our own origins, ours counts.
pub fn allow(origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
    if answer.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        return;
    }
    if let Some(origin) = origin {
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
    let varies = answer.get_all(header::VARY).iter().any(|said| lists(said, "origin"));
    if !varies {
        answer.append(header::VARY, VARY_ORIGIN);
    }
}

/// Lets pages read the header `name` of the answer, beside those it already lets them read.
pub fn expose(name: &HeaderName, answer: &mut HeaderMap) {
    let exposed = answer.get_all(header::ACCESS_CONTROL_EXPOSE_HEADERS);
    if !exposed.iter().any(|said| lists(said, name.as_str())) {
        answer.append(header::ACCESS_CONTROL_EXPOSE_HEADERS, name.clone().into());
    }
}

fn lists(value: &HeaderValue, item: &str) -> bool {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(item.as_bytes()))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn asked(headers: &[(&str, &str)]) -> Parts {
        let request = Request::builder().method(Method::OPTIONS).uri("/session");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(()).unwrap().into_parts().0
    }

    fn shown(headers: &HeaderMap) -> Vec<(&str, &str)> {
        headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
    }

    // What a 1.18.33 server answered.
    #[test]
    fn a_preflight_is_answered_as_opencode_answers_it() {
        let request = asked(&[
            ("origin", "http://localhost:3000"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type,x-opencode-directory"),
        ]);
        assert!(is_preflight(&request));
        let mut answer = preflight(&request);
        let mut shown = shown(&answer);
        shown.sort_unstable();
        assert_eq!(
            shown,
            [
                ("access-control-allow-headers", "content-type,x-opencode-directory"),
                ("access-control-allow-methods", "GET, HEAD, PUT, PATCH, POST, DELETE"),
                ("access-control-allow-origin", "http://localhost:3000"),
                ("access-control-max-age", "86400"),
                ("vary", "Access-Control-Request-Headers, Origin"),
            ]
        );
        let bare = asked(&[("origin", "oc://renderer"), ("access-control-request-method", "DELETE")]);
        answer = preflight(&bare);
        assert_eq!(answer[header::VARY], "Origin");
        assert_eq!(answer[header::ACCESS_CONTROL_ALLOW_HEADERS], "");
    }

    #[test]
    fn an_options_request_that_is_no_preflight_is_not_taken_for_one() {
        assert!(!is_preflight(&asked(&[])));
        assert!(!is_preflight(&asked(&[("origin", "http://localhost:3000")])));
    }

    #[test]
    fn the_page_that_asked_may_read_our_own_answers() {
        let mut answer = HeaderMap::new();
        allow(Some(&HeaderValue::from_static("http://localhost:3000")), &mut answer);
        assert_eq!(answer[header::ACCESS_CONTROL_ALLOW_ORIGIN], "http://localhost:3000");
        assert_eq!(answer[header::VARY], "Origin");
        let mut unasked = HeaderMap::new();
        allow(None, &mut unasked);
        assert_eq!(shown(&unasked), [("vary", "Origin")]);
    }

    #[test]
    fn what_a_server_said_stays_as_it_is() {
        let mut answer = HeaderMap::new();
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("http://a"));
        answer.insert(header::VARY, HeaderValue::from_static("Accept-Encoding, Origin"));
        let before = answer.clone();
        allow(Some(&HeaderValue::from_static("http://b")), &mut answer);
        assert_eq!(answer, before);
        let mut answer = HeaderMap::new();
        answer.insert(header::VARY, HeaderValue::from_static("accept-encoding, origin"));
        allow(None, &mut answer);
        assert_eq!(shown(&answer), [("vary", "accept-encoding, origin")]);
    }

    #[test]
    fn exposed_headers_are_added_once_and_replace_none() {
        let route = HeaderName::from_static("x-pointsman-route");
        let mut answer = HeaderMap::new();
        answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Link, X-Next-Cursor"));
        expose(&route, &mut answer);
        expose(&route, &mut answer);
        let all: Vec<_> = answer.get_all(header::ACCESS_CONTROL_EXPOSE_HEADERS).iter().collect();
        assert_eq!(all, ["Link, X-Next-Cursor", "x-pointsman-route"]);
    }
}
