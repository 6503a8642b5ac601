//! `ownerPort`: the one member that session objects may gain on their way through.
//!
//! Objects pass byte for byte, with the member written before the brace that ends them.

use http::{Method, Uri, request::Parts};

use super::named;

/// The header with which a client asks for it on a single session.
const ANNOTATE: &str = "x-pointsman-annotate";
/// The parameter that does the same.
const PARAMETER: &str = "ownerPort";

/// Writes the members of a session's `object`, and its owner's port.
pub fn put_with_owner_port(body: &mut Vec<u8>, object: &[u8], port: u16) {
    let Some((b'}', members)) = object.trim_ascii_end().split_last() else {
        body.extend_from_slice(object);
        return;
    };
    body.extend_from_slice(members);
    body.extend_from_slice(b",\"ownerPort\":");
    body.extend_from_slice(port.to_string().as_bytes());
    body.push(b'}');
}

/// Takes the wish for an annotated session off a request. Tells whether there was one.
pub fn take_wish(parts: &mut Parts) -> bool {
    let by_header = parts.headers.remove(ANNOTATE).is_some_and(|value| value == "1" || value == "true");
    let by_query = is_wished_in(parts.uri.query().unwrap_or_default());
    if by_query && let Some(uri) = without_wish(&parts.uri) {
        parts.uri = uri;
    }
    (by_header || by_query) && parts.method == Method::GET && is_one_session(parts.uri.path())
}

/// Whether a query asks for it.
pub fn is_wished_in(query: &str) -> bool {
    named::value(query, &[PARAMETER]).is_some_and(|wish| wish == "true")
}

fn without_wish(uri: &Uri) -> Option<Uri> {
    named::without(uri, &[PARAMETER]).parse().ok()
}

fn is_one_session(path: &str) -> bool {
    path.strip_prefix("/session/").is_some_and(|id| id.starts_with("ses_") && !id.contains('/'))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn asked(uri: &str, header: Option<&str>) -> (bool, String) {
        let mut request = Request::get(uri);
        if let Some(value) = header {
            request = request.header(ANNOTATE, value);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        (take_wish(&mut parts), parts.uri.to_string())
    }

    #[test]
    fn only_who_asks_for_one_session_gets_it_annotated() {
        assert_eq!(
            asked("/session/ses_1?ownerPort=true&x=%2F", None),
            (true, "/session/ses_1?x=%2F".to_owned())
        );
        assert_eq!(asked("/session/ses_1", Some("1")), (true, "/session/ses_1".to_owned()));
        for unasked in
            ["/session/ses_1", "/session/ses_1?ownerPort=false", "/session/ses_1/message?ownerPort=true"]
        {
            assert!(!asked(unasked, None).0, "{unasked}");
        }
    }

    #[test]
    fn the_rest_of_the_object_stays_byte_for_byte() {
        let put = |object: &str| {
            let mut body = Vec::new();
            put_with_owner_port(&mut body, object.as_bytes(), 4301);
            String::from_utf8(body).unwrap()
        };
        assert_eq!(put(r#"{"id": "ses_1" }"#), r#"{"id": "ses_1" ,"ownerPort":4301}"#);
        assert_eq!(put("<html>"), "<html>");
    }
}
