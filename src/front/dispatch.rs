//! The life of a request, from its head to its answer.
//!
//! guard → ours? a stream? a list? → route → forward. Whatever goes wrong on the way is answered in the form that
//! the agent's clients read.

use std::{sync::Arc, time::Instant};

use axum::Router as Endpoints;
use http::{
    HeaderMap, Method, Request, Response, StatusCode, Uri,
    header::{ACCESS_CONTROL_ALLOW_ORIGIN, ORIGIN},
    request::Parts,
};
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::{
    address, page,
    prefixed::Prefixed,
    programs::{Ends, Programs},
    socket,
    subscribe::{self, subscribe, subscribe_own},
};
use crate::{
    api::error::{self, Fault},
    domain::ids::SessionId,
    events::{hub::Hub, occasional::Occasional},
    guard::{self, Admitted, Guard, Peer, cors},
    metrics::{Decision, Metrics},
    opencode::{
        lists::List,
        operations::{Act, Subject, subject},
    },
    proxy::{
        answer::AnswerBody,
        body::RequestBody,
        catalogue::Catalogue,
        forward::{ForwardError, Forwarder},
        headers::{self, Forwarding},
        merge::{self, Merged, Wanted},
        named,
        route::{Route, RouteError, Target},
        router::{Router, Scout},
        small_body,
    },
    registry::{Crier, News, Registry, sessions::Found},
};

/// How often a request that could not be sent is routed anew. Its server has gone, and so may the next have.
const ROUTES: usize = 3;

/// What every request passes through; one for all connections.
pub struct Dispatch {
    /// Who is let in.
    pub guard: Guard,
    /// Whether clients present a token of ours, which ends here.
    pub has_token: bool,
    /// The path under which everything is served as well.
    pub base_path: Option<Box<str>>,
    /// Our own endpoints.
    pub endpoints: Endpoints,
    /// Our own streams.
    pub hub: Hub,
    /// Those of the second interface.
    pub second: Occasional,
    /// What exists.
    pub registry: Arc<Registry>,
    /// Where requests go.
    pub router: Router,
    /// What servers offer, asked for once for many. Whatever goes to one server passes here.
    pub catalogue: Catalogue,
    /// How lists are merged of which every server has a part.
    pub merging: merge::Settings,
    /// Who finds out what became of a server.
    pub scout: Arc<dyn Scout>,
    /// Who is told of changes.
    pub crier: Arc<dyn Crier>,
    /// Which programs ask, and what they have opened.
    pub programs: Programs,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whether every server that was there when we started has had its chance to answer.
    pub first_round: watch::Receiver<bool>,
}

/// One client's connection.
#[derive(Debug)]
pub struct Connection {
    /// Who is at the other end.
    pub peer: Peer,
    /// Where it comes from and where it arrived.
    pub ends: Ends,
    /// What servers are told about it.
    pub forwarding: Forwarding,
    /// How its requests get to servers.
    pub forwarder: Arc<Forwarder>,
    /// Where a connection is counted that became a socket.
    pub tasks: TaskTracker,
}

/// What was decided, and the answer.
pub(super) type Answer = (Decision, Response<AnswerBody>);

impl Dispatch {
    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>, connection: &Connection) -> Response<AnswerBody> {
        let begun = Instant::now();
        let (mut parts, body) = request.into_parts();
        let prefixed = Prefixed::take(&mut parts, self.base_path.as_deref());
        let mut origin = parts.headers.get(ORIGIN).cloned();
        let (decision, mut response) = match self.guard.check(&parts, &connection.peer) {
            Ok(Admitted::Request) => {
                if self.has_token {
                    take_off_token(&mut parts);
                }
                if prefixed.is_some() && parts.uri.path() == page::SCRIPT {
                    (Decision::Own, page::script())
                } else {
                    self.admitted(parts, body, connection).await
                }
            }
            Ok(Admitted::Preflight) => (Decision::Own, preflight(&parts)),
            Err(refusal) => {
                if !refusal.is_for_a_trusted_page() {
                    origin = None;
                }
                (Decision::Refused, error::refusal(&refusal))
            }
        };
        self.metrics.decided(decision);
        self.metrics.answered(decision, response.status(), begun.elapsed());
        if let Some(prefixed) = prefixed {
            response = prefixed.put(response).await.unwrap_or_else(|unread| error::forward_error(&unread));
        }
        if origin.is_some() {
            let headers = response.headers_mut();
            let server_has_spoken = headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN);
            cors::allow(origin.as_ref(), headers);
            if !server_has_spoken {
                headers::expose(headers);
            }
        }
        response
    }

    async fn admitted(&self, mut parts: Parts, body: Incoming, connection: &Connection) -> Answer {
        if parts.method == Method::CONNECT {
            let fault = Fault::NoSuchMethod { method: parts.method, path: parts.uri.to_string() };
            return (Decision::Own, error::fault(&fault));
        }
        if let path @ (subscribe::OWN | socket::SOCKET) = parts.uri.path() {
            return self.own_stream(path == socket::SOCKET, parts, connection);
        }
        if address::is_own(parts.uri.path()) && address::addressed(parts.uri.path()).is_none() {
            // These two are boxed so that the many that are forwarded do not carry their state around.
            return (Decision::Own, Box::pin(self.own(parts, body)).await);
        }
        let addressed = address::rewrite(&parts.uri, &mut parts.headers);
        let names_server_in_path = addressed.is_some();
        if let Some(uri) = addressed {
            parts.uri = uri;
        }
        // A cheap copy, so that what the path is about can be kept while the request is taken apart.
        let uri = parts.uri.clone();
        let subject = subject(&parts.method, uri.path());
        if !*self.first_round.borrow() && !self.has_owner(subject) {
            // Whoever answers first is not yet the owner. An error says that discovery has ended, and so do we.
            let _ = self.first_round.clone().wait_for(|done| *done).await;
        }
        match subject {
            Subject::Stream(stream) if !names_server_in_path => {
                if let Some(name) = named::server(&parts.headers)
                    && self.registry.servers.now().by_name(name).is_none()
                {
                    let error = RouteError::UnknownServer { name: name.to_owned() };
                    return (Decision::Nowhere, error::route_error(&error));
                }
                let servers = &self.registry.servers;
                let opened = self.programs.behind(&connection.ends, &parts.headers).await;
                let response = subscribe(&parts, stream, opened, &self.hub, &self.second, servers).await;
                return (Decision::Stream, response);
            }
            Subject::List(list) if named::server(&parts.headers).is_none() => {
                return (Decision::Merged, Box::pin(self.merge(list, parts, connection)).await);
            }
            _ => {}
        }
        self.pass_on(parts, body, subject, connection).await
    }

    /// Whether a request is for a session whose owner has been met already.
    fn has_owner(&self, subject: Subject<'_>) -> bool {
        let Subject::Session { id, .. } = subject else { return false };
        let Ok(session) = SessionId::try_new(id) else { return false };
        matches!(self.registry.find(&session), Found::In(_, Some(owner)) if owner.evidence.owns())
    }

    fn own_stream(&self, as_socket: bool, parts: Parts, connection: &Connection) -> Answer {
        if parts.method != Method::GET {
            let fault = Fault::NoSuchMethod { method: parts.method, path: parts.uri.path().to_owned() };
            return (Decision::Own, error::fault(&fault));
        }
        let answer = if as_socket {
            socket::open(parts, &self.hub, &self.registry, &connection.tasks)
        } else {
            subscribe_own(&parts, &self.hub, &self.registry.servers)
        };
        (Decision::Stream, answer)
    }

    async fn own(&self, parts: Parts, body: Incoming) -> Response<AnswerBody> {
        let request = Request::from_parts(parts, axum::body::Body::new(body));
        match self.endpoints.clone().oneshot(request).await {
            Ok(response) => response.map(AnswerBody::Own),
            Err(never) => match never {},
        }
    }

    async fn merge(&self, list: List, mut parts: Parts, connection: &Connection) -> Response<AnswerBody> {
        connection.forwarding.to_server(&mut parts.headers, false);
        let directory = named::directory(&parts.uri, &parts.headers);
        if let Some(directory) = &directory
            && let Err(error) = self.router.has_somebody(directory).await
        {
            return error::route_error(&error);
        }
        let chosen = directory.as_deref().and_then(|directory| {
            self.router.directory_server(directory).or_else(|| self.router.default_server())
        });
        let wanted = Wanted {
            list,
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
            directory: directory.as_deref(),
            chosen,
        };
        match merge::merge(&*connection.forwarder, &self.registry, &wanted, self.merging).await {
            Ok(Merged { status, headers, body, absences }) => {
                for absence in absences {
                    self.metrics.partial(absence.reason.as_str());
                }
                let mut response = Response::new(AnswerBody::from(body));
                *response.status_mut() = status;
                *response.headers_mut() = headers;
                headers::expose(response.headers_mut());
                response
            }
            Err(failure) => error::merge_error(&failure),
        }
    }

    async fn pass_on(
        &self,
        mut parts: Parts,
        body: Incoming,
        subject: Subject<'_>,
        connection: &Connection,
    ) -> Answer {
        let (body, read) = if Router::needs_body(subject) {
            match small_body::read(body).await {
                Ok(bytes) => (RequestBody::from(bytes.clone()), Some(bytes)),
                Err(error) => return (Decision::Nowhere, error::fault(&error.into())),
            }
        } else {
            (RequestBody::Incoming(body), None)
        };
        let mut target = match self.router.route(&parts, subject, read.as_ref()).await {
            Ok(target) => target,
            Err(error) => return (Decision::Nowhere, error::route_error(&error)),
        };
        if let Subject::Session { id, act } = subject
            && (act == Act::Turn || parts.uri.path().ends_with("/message"))
        {
            self.note_opened(id, &parts.headers, connection).await;
        }
        let upgrading = headers::asks_upgrade(&parts.headers);
        connection.forwarding.to_server(&mut parts.headers, upgrading);
        let mut request = Request::from_parts(parts, body);
        for _ in 1..ROUTES {
            match self.catalogue.pass(&connection.forwarder, request, subject, &target).await {
                Err(ForwardError::Unsent(error, unsent)) if target.route != Route::Explicit => {
                    self.scout.doubt(&target.server).await;
                    let (parts, body) = unsent.into_parts();
                    match self.router.route(&parts, subject, read.as_ref()).await {
                        // It still lives, as far as anybody can tell: trying again at once would change nothing.
                        Ok(same) if same.server.key == target.server.key => {
                            let unsent =
                                ForwardError::Unsent(error, Box::new(Request::from_parts(parts, body)));
                            return (decision(target.route), error::forward_error(&unsent));
                        }
                        Ok(next) => target = next,
                        Err(error) => return (Decision::Nowhere, error::route_error(&error)),
                    }
                    request = Request::from_parts(parts, body);
                }
                outcome => return self.finish(outcome, &target).await,
            }
        }
        let outcome = self.catalogue.pass(&connection.forwarder, request, subject, &target).await;
        self.finish(outcome, &target).await
    }

    /// Remembers that the program behind a connection has opened this session: it has read its messages or sent it a
    /// turn. What its agent asks reaches that program from now on.
    async fn note_opened(&self, session: &str, headers: &HeaderMap, connection: &Connection) {
        let Some(opened) = self.programs.behind(&connection.ends, headers).await else { return };
        let Ok(session) = SessionId::try_new(session) else { return };
        for known in self.registry.sessions.describe(&session, &self.registry.servers.now()) {
            opened.add(&known.row.directory);
        }
    }

    async fn finish(
        &self,
        outcome: Result<(Response<AnswerBody>, News), ForwardError>,
        target: &Target,
    ) -> Answer {
        match outcome {
            Ok((response, news)) => {
                self.crier.cry(news);
                (decision(target.route), response)
            }
            Err(error) => self.failed(&error, target).await,
        }
    }

    /// The answer to a request that got none, or none that can be passed on, from `target`.
    pub(super) async fn failed(&self, error: &ForwardError, target: &Target) -> Answer {
        tracing::debug!(server = %target.server.id, address = %target.server.address, %error, "request failed");
        self.scout.doubt(&target.server).await;
        (decision(target.route), error::forward_error(error))
    }
}

/// Where a route stands in the metrics.
pub(super) fn decision(route: Route) -> Decision {
    match route {
        Route::Owner(evidence) => Decision::Owner(evidence),
        Route::Explicit => Decision::Explicit,
        Route::Raised => Decision::Raised,
        Route::Flow => Decision::Flow,
        Route::Directory => Decision::Directory,
        Route::Only => Decision::Only,
        Route::Default => Decision::Default,
        Route::OwnerUnreachable => Decision::OwnerUnreachable,
    }
}

/// The token is between the client and us: no server sees it.
fn take_off_token(parts: &mut Parts) {
    guard::strip(&mut parts.headers);
    let Some(query) = parts.uri.query() else { return };
    let kept = guard::strip_query(query);
    if kept.len() == query.len() {
        return;
    }
    let path = parts.uri.path();
    let without = if kept.is_empty() { path.to_owned() } else { format!("{path}?{kept}") };
    if let Ok(uri) = without.parse::<Uri>() {
        parts.uri = uri;
    }
}

fn preflight(parts: &Parts) -> Response<AnswerBody> {
    debug_assert_eq!(parts.method, Method::OPTIONS);
    let mut response = Response::new(AnswerBody::EMPTY);
    *response.status_mut() = StatusCode::NO_CONTENT;
    *response.headers_mut() = cors::preflight(parts);
    response
}
