//! One answer of a server as it is kept, and as it is told to each client.

use std::time::Instant;

use bytes::Bytes;
use foldhash::quality::FixedState;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, ETAG, ORIGIN, SET_COOKIE, VARY,
    },
};

use super::{Found, epochs::Mark, inflate::Inflating, wish};
use crate::{
    guard::cors,
    proxy::{answer::AnswerBody, headers, route::Target},
};

/// The header that tells where an answer of the catalogue came from.
pub const CACHE: HeaderName = HeaderName::from_static("x-pointsman-cache");

/// What an answer depends on beside its URL; the server itself says `Origin`.
const VARIES: HeaderValue =
    HeaderValue::from_static("Accept-Encoding, X-OpenCode-Directory, X-Pointsman-Server");
/// Whoever keeps a copy asks before it uses it: that is answered in microseconds, with 304.
const ASK_FIRST: HeaderValue = HeaderValue::from_static("private, no-cache");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// See the module.
#[derive(Debug)]
pub(super) struct Edition {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    gzip: bool,
    etag: HeaderValue,
    begun: Instant,
    mark: Mark,
}

impl Edition {
    /// The answer `body` under `head` to a request that was begun at `begun`, under `mark`. `None` for one in a
    /// coding that nobody asked for.
    pub(super) fn new(head: http::response::Parts, body: Bytes, begun: Instant, mark: Mark) -> Option<Self> {
        let mut headers = head.headers;
        let gzip = match headers.remove(CONTENT_ENCODING) {
            None => false,
            Some(coding) if coding == GZIP => true,
            Some(_) => return None,
        };
        // What was about that one request: who answered it and why is told anew to each client.
        for name in [CONTENT_LENGTH, headers::SERVER, headers::ROUTE] {
            headers.remove(name);
        }
        let etag = headers.remove(ETAG).unwrap_or_else(|| etag(&body));
        Some(Self { status: head.status, headers, body, gzip, etag, begun, mark })
    }

    /// Whether it may be told to those who ask later: a good answer, to nobody in particular.
    pub(super) fn may_be_kept(&self) -> bool {
        // An unknown path is answered with a page, and status 200.
        let is_json = self
            .headers
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        let forbidden =
            self.headers.get_all(CACHE_CONTROL).iter().any(|value| headers::lists(value, "no-store"));
        self.status == StatusCode::OK && is_json && !forbidden && !self.headers.contains_key(SET_COOKIE)
    }

    /// When its request was sent: what it says may be as old as that.
    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    /// What had changed when its request was sent.
    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// How many bytes its server sent.
    pub(super) fn length(&self) -> u64 {
        self.body.len() as u64
    }

    /// How many bytes it takes, roughly.
    pub(super) fn weight(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        size_of::<Self>() + self.body.len() + headers
    }

    /// The answer for a client whose request had the headers `request`.
    pub(super) fn answer(&self, request: &HeaderMap, target: &Target, found: Found) -> Response<AnswerBody> {
        let unchanged = self.status == StatusCode::OK && wish::holds(request, &self.etag);
        let mut answer = Response::new(if unchanged { AnswerBody::EMPTY } else { self.body(request) });
        *answer.status_mut() = if unchanged { StatusCode::NOT_MODIFIED } else { self.status };
        let told = answer.headers_mut();
        told.clone_from(&self.headers);
        if unchanged {
            told.remove(CONTENT_TYPE);
        } else if self.gzip && wish::reads_gzip(request) {
            told.insert(CONTENT_ENCODING, GZIP);
        }
        if self.status == StatusCode::OK {
            told.insert(ETAG, self.etag.clone());
            told.entry(CACHE_CONTROL).or_insert(ASK_FIRST);
        }
        if found == Found::Kept {
            // Whoever listens sets its own.
            told.remove(DATE);
        }
        told.append(VARY, VARIES);
        let origin = request.get(ORIGIN);
        if origin.is_some() {
            cors::allow(origin, told);
            headers::expose(told);
        }
        if let Ok(server) = HeaderValue::from_str(&target.server.address.authority) {
            told.insert(headers::SERVER, server);
        }
        told.insert(headers::ROUTE, target.route.header());
        told.insert(CACHE, HeaderValue::from_static(found.as_str()));
        answer
    }

    fn body(&self, request: &HeaderMap) -> AnswerBody {
        if self.gzip && !wish::reads_gzip(request) {
            return AnswerBody::Inflating(Box::new(Inflating::new(self.body.clone())));
        }
        self.body.clone().into()
    }
}

/// A name for what `body` says. It is a weak one: the same text is told in gzip and in plain. It is the same after a
/// restart of ours, so that browsers' copies stay good.
fn etag(body: &Bytes) -> HeaderValue {
    let hash = std::hash::BuildHasher::hash_one(&FixedState::with_seed(0), body);
    let text = format!("W/\"{:x}-{hash:016x}\"", body.len());
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("W/\"\""))
}
