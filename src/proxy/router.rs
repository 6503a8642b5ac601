//! Which server a request goes to.
//!
//! The order of the questions: what did the client name outright; whose session, request, terminal or flow is it;
//! which directory does it name; and last, who serves what names nothing. Only a session, request or terminal that
//! was never heard of makes the router ask servers, through its [`Scout`].

mod body;
mod screen;
mod session;
mod started;

use std::{future::Future, pin::Pin, sync::Arc, time::Instant};

use bytes::Bytes;
use http::request::Parts;

use self::body::{directory_in, session_in};
use super::{
    named,
    route::{Route, RouteError, Target, Unstarted},
    sticky::Sticky,
};
use crate::{
    domain::{
        candidate,
        directory::trimmed,
        ids::{ServerKey, SessionId, StoreKey},
    },
    opencode::operations::{Step, Subject},
    registry::{Registry, asked::Origin, server::Server, servers::Snapshot},
};

/// A future that the router waits for only when it knows no answer by itself.
pub type Asking<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who goes and asks the servers.
pub trait Scout: Send + Sync {
    /// Looks for a session that no list or event has mentioned, in every store. Never makes a server open a directory.
    fn look_up<'a>(
        &'a self,
        session: &'a SessionId,
        directory: Option<&'a str>,
    ) -> Asking<'a, Option<StoreKey>>;

    /// Looks for who raised a permission, question or terminal that no list or event has mentioned.
    fn who_raised<'a>(&'a self, id: &'a str) -> Asking<'a, Option<Origin>>;

    /// A server refused a connection or broke one off: finds out, within moments, whether it still lives.
    fn doubt<'a>(&'a self, server: &'a Arc<Server>) -> Asking<'a, ()>;

    /// The processes that may be running a session although we cannot reach them.
    fn unreachable_writers(&self, session: &SessionId) -> Vec<u32>;
}

/// Who starts a server where a request needs one and none runs.
pub trait Starter: Send + Sync {
    /// The server that was started in `directory`, by this call if need be. `None` if none may be started there.
    fn start<'a>(&'a self, directory: &'a str) -> Asking<'a, Result<Option<Arc<Server>>, Unstarted>>;
}

/// What a turn does whose session runs in a process that cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnreachableOwner {
    /// It goes to the best server of the store, and the answer says so.
    Fallback,
    /// It is refused.
    Refuse,
}

/// See the module.
pub struct Router {
    registry: Arc<Registry>,
    scout: Arc<dyn Scout>,
    sticky: Sticky,
    unreachable_owner: UnreachableOwner,
    starter: Option<Arc<dyn Starter>>,
}

impl Router {
    /// A router over `registry`.
    pub fn new(registry: Arc<Registry>, scout: Arc<dyn Scout>, unreachable_owner: UnreachableOwner) -> Self {
        Self { registry, scout, sticky: Sticky::default(), unreachable_owner, starter: None }
    }

    /// How many directories and flows have a server that was chosen for them, and how many of each may.
    pub fn chosen(&self) -> (usize, usize, usize) {
        self.sticky.held()
    }

    /// The same, with servers started by `starter` where none runs.
    pub fn starting(self, starter: Option<Arc<dyn Starter>>) -> Self {
        Self { starter, ..self }
    }

    /// Whether the body must be read before the request can be routed.
    pub fn needs_body(subject: Subject<'_>) -> bool {
        matches!(subject, Subject::NewSession | Subject::NamedInBody)
    }

    /// The server for a request about `subject`. `body` is needed where [`Self::needs_body`] says so.
    pub async fn route(
        &self,
        request: &Parts,
        subject: Subject<'_>,
        body: Option<&Bytes>,
    ) -> Result<Target, RouteError> {
        if let Some(name) = named::server(&request.headers) {
            let target = self.explicit(name)?;
            if let Subject::Flow { name, step: Step::First } = subject {
                // The next step may come from a browser that an identity provider sent back, and names nothing.
                self.sticky.begin(&flow(name, request), target.server.key, Instant::now());
            }
            return Ok(target);
        }
        match subject {
            Subject::Session { id, .. } => match SessionId::try_new(id) {
                Ok(session) => self.session(&session, request).await,
                // Whatever it is, the default server knows best how to refuse it.
                Err(_) => self.directory(request).await,
            },
            Subject::NewSession => match body.and_then(|body| self.known_session_in(body)) {
                Some(session) => self.session(&session, request).await,
                None => match body.and_then(directory_in) {
                    Some(directory) => self.at(&directory).await,
                    None => self.directory(request).await,
                },
            },
            Subject::NamedInBody => match body.and_then(session_in) {
                Some(session) if request.uri.path().starts_with("/tui/") => {
                    self.screen_for(&session, request).await
                }
                Some(session) => self.session(&session, request).await,
                None if request.uri.path().starts_with("/tui/") => self.screen(request),
                None => self.directory(request).await,
            },
            Subject::Request { id, session } => self.raised(id, session, request).await,
            Subject::Terminal { id } | Subject::Workspace { id } => self.raised(id, None, request).await,
            Subject::Flow { name, step } => self.flow(name, step, request).await,
            Subject::Screen => self.screen(request),
            Subject::NewTerminal => self.new_terminal(request).await,
            Subject::Disposal => self.disposal(request),
            Subject::List(_)
            | Subject::Stream(_)
            | Subject::Settings
            | Subject::Directory
            | Subject::Anything => match named::session(&request.uri).as_deref().map(SessionId::try_new) {
                Some(Ok(session)) => self.session(&session, request).await,
                _ => self.directory(request).await,
            },
        }
    }

    /// The server that serves what names nothing.
    pub fn default_server(&self) -> Option<Arc<Server>> {
        let servers = self.registry.servers.now();
        let chosen = || candidate::by_default(&servers.candidates(None));
        let preferred =
            servers.iter().find(|server| server.preferred && server.answering()).map(|server| server.key);
        let key = match preferred {
            Some(key) => Some(key),
            None => self.sticky.default_server(|key| still_suits(&servers, key, None), chosen),
        };
        servers.get(key?).cloned()
    }

    /// The server for a directory, always the same one while it answers.
    pub fn directory_server(&self, directory: &str) -> Option<Arc<Server>> {
        let servers = self.registry.servers.now();
        let directory = trimmed(directory);
        let open = |key| servers.get(key).is_some_and(|server| server.directories.contains(directory));
        let chosen = || candidate::for_directory(&servers.candidates(None), directory, open);
        let suits = |key| still_suits(&servers, key, Some(directory));
        let key = self.sticky.directory_server(directory, suits, chosen)?;
        servers.get(key).cloned()
    }

    fn explicit(&self, name: &str) -> Result<Target, RouteError> {
        let servers = self.registry.servers.now();
        let server =
            servers.by_name(name).ok_or_else(|| RouteError::UnknownServer { name: name.to_owned() })?;
        Ok(Target::new(Arc::clone(server), Route::Explicit))
    }

    async fn raised(&self, id: &str, session: Option<&str>, request: &Parts) -> Result<Target, RouteError> {
        let known = match self.registry.asked.origin(id) {
            Some(origin) => Some(origin),
            None if has_prefix(id) => self.scout.who_raised(id).await,
            None => None,
        };
        if let Some(origin) = known
            && let Some(server) = self.registry.servers.get(origin.server)
        {
            return Ok(Target { server, route: Route::Raised, directory: origin.directory });
        }
        if let Some(kind) = self.registry.asked.orphaned(id) {
            return Err(RouteError::AskerGone { kind, id: id.to_owned() });
        }
        match session.map(SessionId::try_new) {
            Some(Ok(session)) => self.session(&session, request).await,
            _ => self.directory(request).await,
        }
    }

    async fn flow(&self, name: &str, step: Step, request: &Parts) -> Result<Target, RouteError> {
        let flow = flow(name, request);
        let begun = match step {
            Step::First => None,
            Step::Later => {
                self.sticky.begun(&flow, Instant::now()).and_then(|key| self.registry.servers.get(key))
            }
        };
        if let Some(server) = begun {
            return Ok(Target::new(server, Route::Flow));
        }
        let target = self.directory(request).await?;
        self.sticky.begin(&flow, target.server.key, Instant::now());
        Ok(target)
    }

    fn disposal(&self, request: &Parts) -> Result<Target, RouteError> {
        let servers = self.registry.servers.now();
        let directory = named::directory(&request.uri, &request.headers);
        let concerned = |server: &&Arc<Server>| {
            directory.as_deref().is_none_or(|directory| server.directories.contains(directory))
        };
        let mut candidates = servers.iter().filter(concerned);
        match (candidates.next(), candidates.next()) {
            (Some(server), None) => Ok(Target::new(Arc::clone(server), Route::Only)),
            (None, _) if servers.is_empty() => Err(RouteError::NoServer),
            _ => Err(RouteError::AmbiguousDisposal { candidates: names(servers.iter().filter(concerned)) }),
        }
    }

    /// A terminal is opened over a socket that switches protocols, which a plugin's listener cannot.
    async fn new_terminal(&self, request: &Parts) -> Result<Target, RouteError> {
        let usual = self.directory(request).await?;
        if !usual.server.plugin {
            return Ok(usual);
        }
        let servers = self.registry.servers.now();
        let candidates = candidate::with_a_port(servers.candidates(None));
        let other = named::directory(&request.uri, &request.headers).and_then(|directory| {
            candidate::for_directory(&candidates, &directory, |key| {
                servers.get(key).is_some_and(|server| server.directories.contains(&directory))
            })
        });
        let other = other.or_else(|| candidate::by_default(&candidates)).and_then(|key| servers.get(key));
        Ok(other.map_or(usual, |server| Target::new(Arc::clone(server), Route::Default)))
    }

    async fn directory(&self, request: &Parts) -> Result<Target, RouteError> {
        match named::directory(&request.uri, &request.headers) {
            Some(directory) => self.at(&directory).await,
            None => self.by_default(),
        }
    }

    fn by_default(&self) -> Result<Target, RouteError> {
        let server = self.default_server().ok_or(RouteError::NoServer)?;
        Ok(Target::new(server, Route::Default))
    }

    fn no_server_of_store(&self, session: &SessionId) -> RouteError {
        if self.registry.servers.now().is_empty() {
            RouteError::NoServer
        } else {
            RouteError::NoServerOfStore { session: session.clone() }
        }
    }
}

/// What is begun by one step and continued by others.
fn flow(name: &str, request: &Parts) -> String {
    let directory = named::directory(&request.uri, &request.headers).unwrap_or_default();
    format!("{name} {directory}")
}

/// Whether an id is one that a server may have raised: anything else need not be asked for.
fn has_prefix(id: &str) -> bool {
    ["per_", "que_", "pty_"].iter().any(|prefix| id.starts_with(prefix))
}

fn still_suits(servers: &Snapshot, key: ServerKey, directory: Option<&str>) -> bool {
    // The common case first: only a plugin's listener has to be compared with others.
    servers.get(key).is_some_and(|server| {
        server.answering()
            && (!server.plugin
                || candidate::still_suits(&server.candidate(), directory, &servers.candidates(None)))
    })
}

fn names<'s>(servers: impl Iterator<Item = &'s Arc<Server>>) -> Vec<String> {
    servers.map(|server| server.address.to_string()).collect()
}
