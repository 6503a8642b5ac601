//! Passing one request to one server, and its answer back.
//!
//! Both bodies stream as they come, with back-pressure, for as long as they take. A request that could not be sent at
//! all comes back and may be routed anew; one that was sent, or of which a part was, is never sent again, except a GET
//! to whose first sending not one byte was answered.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use dashmap::DashMap;
use foldhash::fast::RandomState;
use http::{
    HeaderMap, Method, Request, Response, StatusCode, Uri,
    header::{self, AUTHORIZATION},
    request::Parts,
};
use http_body_util::{BodyExt, Limited};
use hyper::upgrade::OnUpgrade;
use thiserror::Error;

use super::{
    annotate,
    answer::AnswerBody,
    body::{RequestBody, UpstreamBody},
    headers,
    learn::{self, Lesson},
    named,
    route::Target,
    upgrade,
    upstream::{ConnectError, SendError, Upstream},
};
use crate::{
    domain::ids::ServerKey,
    guard::Tickets,
    opencode::operations::Subject,
    registry::{News, Registry, server::Server, usage::Usage},
};

/// The largest answer that is read whole before it is passed on. A created session is some kilobytes.
const MOST_READ: usize = 8 * 1024 * 1024;

/// Why a request got no answer from its server.
#[derive(Debug, Error)]
pub enum ForwardError {
    /// Nothing was sent; the request may be routed anew.
    #[error("{0}")]
    Unsent(#[source] ConnectError, Box<Request<RequestBody>>),
    /// It was sent, wholly or in part, and nobody knows what became of it.
    #[error("{0}")]
    Broke(#[source] SendError),
    /// The answer had to be read before it could be passed on, and could not be. What it answers was done.
    #[error("{server} did the request but its answer could not be read: {source}")]
    Unread {
        /// Who answered.
        server: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server's address cannot be used.
    #[error("{server} is no address that can be connected to")]
    BadAddress {
        /// The address.
        server: String,
    },
}

/// See the module.
#[derive(Debug)]
pub struct Forwarder {
    registry: Arc<Registry>,
    upstreams: DashMap<ServerKey, Arc<Upstream>, RandomState>,
    connect_timeout: Duration,
    tickets: Arc<Tickets>,
}

impl Forwarder {
    /// A forwarder that gives a connection `connect_timeout` to come about.
    pub fn new(registry: Arc<Registry>, connect_timeout: Duration) -> Self {
        Self { registry, upstreams: DashMap::default(), connect_timeout, tickets: Arc::default() }
    }

    /// Notes in `tickets` what it passes on to clients.
    pub fn noting(self, tickets: Arc<Tickets>) -> Self {
        Self { tickets, ..self }
    }

    /// The connections to `server`.
    pub fn upstream(&self, server: &Server) -> Result<Arc<Upstream>, ForwardError> {
        let known = self.upstreams.get(&server.key).map(|known| Arc::clone(&known));
        match known {
            Some(upstream) if upstream.suits(server) => return Ok(upstream),
            Some(_) => {
                self.upstreams.remove_if(&server.key, |_, upstream| !upstream.suits(server));
            }
            None => {}
        }
        let bad_address = || ForwardError::BadAddress { server: server.address.to_string() };
        let upstream = Upstream::new(server, self.connect_timeout).ok_or_else(bad_address)?;
        Ok(Arc::clone(&self.upstreams.entry(server.key).or_insert(upstream)))
    }

    /// Closes connections that have been idle for long, and all idle ones to servers that have gone.
    pub fn tidy(&self) {
        let servers = self.registry.servers.now();
        self.upstreams.retain(|&key, _| servers.get(key).is_some());
        for upstream in &self.upstreams {
            upstream.close_idle();
        }
    }

    /// Sends `request`, whose headers are those for a server already, to `target`. Gives back the answer, and what it
    /// taught the registry.
    pub async fn forward(
        &self,
        request: Request<RequestBody>,
        subject: Subject<'_>,
        target: &Target,
    ) -> Result<(Response<AnswerBody>, News), ForwardError> {
        let server = &target.server;
        let using = server.usage.as_ref().map(Usage::begin);
        let upstream = self.upstream(server)?;
        let (mut parts, body) = request.into_parts();
        let lesson = Lesson::of(&parts, subject);
        let named = named::directory(&parts.uri, &parts.headers);
        let directory: Option<Arc<str>> =
            target.directory.clone().or_else(|| named.map(|named| named.as_ref().into()));
        // A turn may ask for something long before it is answered. A read that fails may have opened nothing.
        let reads = parts.method == Method::GET || parts.method == Method::HEAD;
        if let Some(directory) = directory.as_deref().filter(|_| !reads) {
            server.directories.note(directory);
        }
        let annotate = annotate::take_wish(&mut parts);
        let client_upgrade =
            parts.extensions.remove::<OnUpgrade>().filter(|_| parts.headers.contains_key(header::UPGRADE));
        if lesson.needs_body() || annotate {
            // What is read here must be readable.
            parts.headers.remove(header::ACCEPT_ENCODING);
        }
        let again = can_repeat(&parts, &body)
            .then(|| (parts.method.clone(), parts.uri.clone(), parts.headers.clone()));
        let mut sent = self.send(&upstream, Request::from_parts(parts, body), target).await;
        if let (Err(ForwardError::Broke(_)), Some((method, uri, headers))) = (&sent, again) {
            sent = self.send(&upstream, bodiless(method, uri, headers), target).await;
        }
        let mut response = sent?;
        if let Some(directory) = directory.as_deref().filter(|_| !response.status().is_server_error()) {
            server.directories.note(directory);
        }

        let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        match client_upgrade {
            Some(client) if upgraded => {
                upgrade::join(client, hyper::upgrade::on(&mut response), using.clone());
            }
            None if upgraded => {
                let source = "it switched protocols unasked".into();
                return Err(ForwardError::Unread { server: server.address.to_string(), source });
            }
            Some(_) | None => {}
        }
        let (mut parts, body) = response.into_parts();
        // Below: what was learned is told to the client only once it would survive our own death.
        headers::to_client(&mut parts.headers, upstream.mark(), target.route.header(), upgraded);
        if !(lesson.needs_body() || annotate) || !parts.status.is_success() {
            let news = lesson.learn(&self.registry, server, parts.status, None, None);
            if lesson != Lesson::None {
                self.registry.settled().await;
            }
            return Ok((Response::from_parts(parts, AnswerBody::Upstream(body.used_by(using))), news));
        }
        let whole = Limited::new(body, MOST_READ).collect().await;
        let whole = whole
            .map_err(|source| ForwardError::Unread { server: server.address.to_string(), source })?
            .to_bytes();
        let news = lesson.learn(&self.registry, server, parts.status, Some(&whole), directory.as_deref());
        if lesson == Lesson::Ticket
            && let Some(ticket) = learn::ticket(&whole)
        {
            self.tickets.issued(&ticket);
        }
        let whole = if annotate { annotated(&mut parts.headers, &whole, server.address.port) } else { whole };
        self.registry.settled().await;
        Ok((Response::from_parts(parts, AnswerBody::from(whole)), news))
    }

    /// Adds what concerns this server alone, sends, and takes that off again if nothing was sent.
    async fn send(
        &self,
        upstream: &Upstream,
        mut request: Request<RequestBody>,
        target: &Target,
    ) -> Result<Response<UpstreamBody>, ForwardError> {
        let client_uri = request.uri().clone();
        if let Some(directory) = &target.directory
            && let Some(uri) = named::name_directory(&client_uri, request.headers_mut(), directory)
        {
            *request.uri_mut() = uri;
        }
        if let Some(authorization) = upstream.authorization() {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        upstream.send(request).await.map_err(|error| match error {
            SendError::Unsent(error, mut request) => {
                if upstream.authorization().is_some() {
                    request.headers_mut().remove(AUTHORIZATION);
                }
                *request.uri_mut() = client_uri;
                ForwardError::Unsent(error, request)
            }
            broke @ SendError::Broke { .. } => ForwardError::Broke(broke),
        })
    }
}

/// A session's object with its owner's port.
fn annotated(headers: &mut HeaderMap, object: &[u8], port: u16) -> Bytes {
    let mut body = Vec::with_capacity(object.len() + 20);
    annotate::put_with_owner_port(&mut body, object, port);
    headers.remove(header::CONTENT_LENGTH);
    body.into()
}

/// Whether a request may be sent a second time if nothing at all was answered to the first.
fn can_repeat(parts: &Parts, body: &RequestBody) -> bool {
    let safe = parts.method == Method::GET || parts.method == Method::HEAD;
    safe && http_body::Body::is_end_stream(body) && !parts.headers.contains_key(header::UPGRADE)
}

/// A request without a body.
pub(super) fn bodiless(method: Method, uri: Uri, headers: HeaderMap) -> Request<RequestBody> {
    let mut request = Request::new(RequestBody::EMPTY);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    request
}
