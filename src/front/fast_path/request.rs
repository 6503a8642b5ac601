//! What a plain request is, told from its bytes alone.
//!
//! Read by the parser that the HTTP library uses, so that both take the same bytes for the same head. Whatever could mean
//! more than "this session's server, please" is not plain: credentials of ours, web pages, upgrades, a body whose length
//! is not told, a wish for another server. What is not plain loses nothing, it takes the long way.

use std::mem::MaybeUninit;

use http::Method;
use smallvec::SmallVec;

use super::content_length;
use crate::{
    opencode::operations::{Act, Subject, subject},
    proxy::annotate,
};

/// The longest request, head and body, that is plain.
pub(super) const MOST_BYTES: usize = 64 * 1024;

/// The most fields a plain head has.
const MOST_FIELDS: usize = 48;

/// What the bytes that have come so far are.
#[derive(Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "each lives for a moment, on the stack; a box would be an allocation"
)]
pub(super) enum Read<'b> {
    /// A part of a head, or nothing yet.
    PartOfHead,
    /// The head of a plain request, and a part of its body.
    PartOfBody,
    /// A whole plain request, and perhaps more behind it.
    Plain(Plain<'b>),
    /// Something else.
    Other,
}

/// One plain request. What is borrowed stands in the bytes it was read from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plain<'b> {
    /// Its method.
    pub(super) method: Method,
    /// Path and query, as sent.
    pub(super) target: &'b str,
    /// The session in its path, unchecked.
    pub(super) session: &'b str,
    /// Whether it makes the agent work.
    pub(super) turn: bool,
    /// The one `Host`.
    pub(super) host: &'b [u8],
    /// The fields that pass, in their order; `Connection` is left out.
    pub(super) fields: SmallVec<[(&'b str, &'b [u8]); 16]>,
    /// How long its head is.
    pub(super) head: usize,
    /// Its body.
    pub(super) content: &'b [u8],
    /// Whether the client wants the connection closed behind the answer.
    pub(super) closes: bool,
}

/// Reads what is at the beginning of `bytes`.
pub(super) fn read(bytes: &[u8]) -> Read<'_> {
    let mut room = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    let head = match request.parse_with_uninit_headers(bytes, &mut room) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if bytes.len() < MOST_BYTES => return Read::PartOfHead,
        Ok(httparse::Status::Partial) | Err(_) => return Read::Other,
    };
    let Some((plain, length)) = plain(&request) else { return Read::Other };
    let Some(end) = usize::try_from(length).ok().and_then(|length| head.checked_add(length)) else {
        return Read::Other;
    };
    if end > MOST_BYTES {
        return Read::Other;
    }
    match bytes.get(head..end) {
        Some(content) => Read::Plain(Plain { head, content, ..plain }),
        None => Read::PartOfBody,
    }
}

impl Plain<'_> {
    /// How many bytes it has.
    pub(super) fn length(&self) -> usize {
        self.head + self.content.len()
    }

    /// Whether it changes nothing, so that it may be sent a second time.
    pub(super) fn reads(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }

    /// What its target has before the question mark.
    pub(super) fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }

    /// What its target has behind the question mark.
    pub(super) fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// The first field of this name, which is to be given in small letters.
    pub(super) fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

/// A plain request without its body, and the length of that.
fn plain<'b>(request: &httparse::Request<'_, 'b>) -> Option<(Plain<'b>, u64)> {
    let target = request.path.filter(|target| is_plain_target(target))?;
    let method = Method::from_bytes(request.method?.as_bytes()).ok()?;
    if request.version != Some(1) || !is_passed_on(&method) {
        return None;
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Subject::Session { id: session, act: act @ (Act::Other | Act::Turn) } = subject(&method, path) else {
        return None;
    };
    if !session.starts_with("ses_") || annotate::is_wished_in(query) {
        return None;
    }
    let mut fields = SmallVec::new();
    let (mut host, mut body, mut closes) = (None, None, false);
    for field in &*request.headers {
        match meaning(field.name) {
            Meaning::Passes => {}
            Meaning::Host => {
                if host.replace(field.value).is_some() {
                    return None;
                }
            }
            Meaning::Length => {
                if body.replace(content_length(field.value)?).is_some() {
                    return None;
                }
            }
            Meaning::Connection => {
                if field.value.eq_ignore_ascii_case(b"close") {
                    closes = true;
                } else if !field.value.eq_ignore_ascii_case(b"keep-alive") {
                    return None;
                }
                continue;
            }
            Meaning::NotPlain => return None,
        }
        fields.push((field.name, field.value));
    }
    let (turn, length) = (act == Act::Turn, body.unwrap_or(0));
    let plain = Plain { method, target, session, turn, host: host?, fields, head: 0, content: b"", closes };
    (length == 0 || !plain.reads()).then_some((plain, length))
}

fn is_passed_on(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH | Method::DELETE
    )
}

/// Whether path and query are in origin form and have only letters that mean the same to everybody.
fn is_plain_target(target: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/?-._~%:@!$&'()*+,;=[]".contains(&byte);
    target.starts_with('/') && target.bytes().all(plain)
}

/// What a field means for the way of a request.
#[derive(Clone, Copy)]
enum Meaning {
    Passes,
    Host,
    Length,
    Connection,
    NotPlain,
}

fn meaning(name: &str) -> Meaning {
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    let begins = |start: &str| name.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start));
    match name.as_bytes().first().map(u8::to_ascii_lowercase) {
        Some(b'h') if is("host") => Meaning::Host,
        Some(b'h') if is("http2-settings") => Meaning::NotPlain,
        Some(b'c') if is("content-length") => Meaning::Length,
        Some(b'c') if is("connection") => Meaning::Connection,
        Some(b'o') if is("origin") => Meaning::NotPlain,
        Some(b'e') if is("expect") => Meaning::NotPlain,
        Some(b't') if is("te") || is("trailer") || is("transfer-encoding") => Meaning::NotPlain,
        Some(b'u') if is("upgrade") => Meaning::NotPlain,
        Some(b'v') if is("via") => Meaning::NotPlain,
        Some(b'k') if is("keep-alive") => Meaning::NotPlain,
        // Programs on Node send the mode; the others tell of a web page.
        Some(b's') if begins("sec-") && !is("sec-fetch-mode") => Meaning::NotPlain,
        Some(b'p') if begins("proxy-") => Meaning::NotPlain,
        Some(b'a') if begins("access-control-") => Meaning::NotPlain,
        Some(b'x') if begins("x-pointsman-") || is("x-forwarded-prefix") => Meaning::NotPlain,
        _ => Meaning::Passes,
    }
}

#[cfg(test)]
mod tests;
