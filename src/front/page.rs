//! The servers' web page under a prefix.
//!
//! The page names its parts by paths from the root and takes its origin for its server's address. So, under a prefix
//! and only there, its page, scripts and styles are read whole and their paths to parts rewritten, and a small script
//! of ours is loaded first that mends what is only known when it runs. A page of another make is at worst as broken as
//! it would be without.

use bytes::Bytes;
use http::{
    HeaderValue, Method, Response, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
    request::Parts,
};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use memchr::memmem;

use crate::proxy::answer::{AnswerBody, AnswerError};

/// Where our script is, under the prefix.
pub(super) const SCRIPT: &str = "/base-path.js";

const SOURCE: &str = include_str!("page.js");

/// The largest script of the page is 2.7 MB; what is larger than this passes as it is.
const MOST: u64 = 16 * 1024 * 1024;

/// What is rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Page,
    /// A script or a style of the page.
    Part,
}

/// Makes sure that the answer can be read if it may be the page or a part of it. Says whether it may.
pub(super) fn prepare(parts: &mut Parts) -> bool {
    let page = || {
        let accept = parts.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
        accept.is_some_and(|accept| accept.contains("text/html"))
    };
    let wanted = parts.method == Method::GET && (parts.uri.path().starts_with("/assets/") || page());
    if wanted {
        parts.headers.remove(ACCEPT_ENCODING);
    }
    wanted
}

/// Our script.
pub(super) fn script() -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::from(Bytes::from_static(SOURCE.as_bytes())));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, const { HeaderValue::from_static("text/javascript; charset=utf-8") });
    headers.insert(CACHE_CONTROL, const { HeaderValue::from_static("no-cache") });
    response
}

/// The answer with its paths under `prefix`, if it is the page or a part of it.
pub(super) async fn put(
    response: Response<AnswerBody>,
    prefix: &str,
) -> Result<Response<AnswerBody>, AnswerError> {
    let Some(kind) = kind(&response) else { return Ok(response) };
    let (mut parts, body) = response.into_parts();
    let whole = body.collect().await?.to_bytes();
    let rewritten = match kind {
        Kind::Page => page(&whole, prefix),
        Kind::Part => part(&whole, prefix),
    };
    parts.headers.remove(CONTENT_LENGTH);
    Ok(Response::from_parts(parts, AnswerBody::from(Bytes::from(rewritten))))
}

fn kind(response: &Response<AnswerBody>) -> Option<Kind> {
    let small = response.body().size_hint().upper().is_some_and(|size| size <= MOST);
    if response.status() != StatusCode::OK || !small || response.headers().contains_key(CONTENT_ENCODING) {
        return None;
    }
    let kind = response.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    match kind.split(';').next()?.trim() {
        "text/html" => Some(Kind::Page),
        "text/javascript" | "application/javascript" | "text/css" => Some(Kind::Part),
        _ => None,
    }
}

fn page(text: &[u8], prefix: &str) -> Vec<u8> {
    let text = insert(text, "src=\"/", 5, prefix);
    let text = insert(&text, "href=\"/", 6, prefix);
    if memmem::find(&text, SCRIPT.as_bytes()).is_some() {
        return text;
    }
    insert(&text, "<head>", 6, &format!("<script src=\"{prefix}{SCRIPT}\"></script>"))
}

fn part(text: &[u8], prefix: &str) -> Vec<u8> {
    let text = insert(text, "\"/assets/", 1, prefix);
    let text = insert(&text, "(/assets/", 1, prefix);
    // The list from which parts are loaded early has no slash at the start and gains one where it is used.
    let bare = format!("{}/", prefix.trim_start_matches('/'));
    insert(&text, "\"assets/", 1, &bare)
}

/// `text` with `what` put into every `mark`, `at` bytes after its start, unless it is there or the address is of
/// another host.
fn insert(text: &[u8], mark: &str, at: usize, what: &str) -> Vec<u8> {
    let mut written = Vec::with_capacity(text.len() + 1024);
    let mut done = 0;
    for found in memmem::find_iter(text, mark) {
        let (before, rest) = text.split_at(found + at);
        let there = rest.strip_prefix(what.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'/'));
        if there || rest.starts_with(b"//") {
            continue;
        }
        written.extend_from_slice(&before[done..]);
        written.extend_from_slice(what.as_bytes());
        done = before.len();
    }
    written.extend_from_slice(&text[done..]);
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_page_loads_its_parts_and_our_script_under_the_prefix() {
        let before = "<html><head><link href=\"/a.png\"><script src=\"/assets/i.js\"></script><a href=\"//x/y\"></head>";
        let after = "<html><head><script src=\"/oc/base-path.js\"></script><link href=\"/oc/a.png\">\
            <script src=\"/oc/assets/i.js\"></script><a href=\"//x/y\"></head>";
        assert_eq!(text(page(before.as_bytes(), "/oc")), after);
        assert_eq!(text(page(after.as_bytes(), "/oc")), after);
    }

    #[test]
    fn scripts_and_styles_name_their_parts_under_the_prefix() {
        let before = "m=[\"assets/a.js\"];const u=\"/assets/b.svg\";import(\"./c.js\");x=\"my/assets/d\";url(/assets/e.woff2)";
        let after = "m=[\"a/oc/assets/a.js\"];const u=\"/a/oc/assets/b.svg\";import(\"./c.js\");x=\"my/assets/d\";url(/a/oc/assets/e.woff2)";
        assert_eq!(text(part(before.as_bytes(), "/a/oc")), after);
        assert_eq!(text(part(after.as_bytes(), "/a/oc")), after);
    }
}
