//! Which server a request goes to.
//!
//! The order of the questions: what did the client name outright; whose session, request, terminal or flow is it;
//! which directory does it name; and last, who serves what names nothing. Only a session, request or terminal that
//! was never heard of makes the router ask servers, through its [`Scout`].

mod screen;
mod started;

use std::{future::Future, pin::Pin, sync::Arc, time::Instant};

use bytes::Bytes;
use http::{Method, request::Parts};
use serde::Deserialize;

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
        ownership::Owner,
    },
    opencode::operations::{Step, Subject},
    registry::{Registry, asked::Origin, server::Server, servers::Snapshot, sessions::Found},
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

/// The ids that the small body of some operations holds.
#[derive(Debug, Default, Deserialize)]
struct Ids {
    #[serde(rename = "sessionID")]
    session: Option<String>,
    #[serde(rename = "parentID")]
    parent: Option<String>,
    id: Option<String>,
    #[serde(default)]
    events: Vec<AggregateId>,
}

/// Where a new session of the second interface is to be.
#[derive(Debug, Deserialize)]
struct Placed {
    location: Location,
}

#[derive(Debug, Deserialize)]
struct Location {
    directory: String,
}

#[derive(Debug, Deserialize)]
struct AggregateId {
    #[serde(rename = "aggregateID")]
    aggregate: Option<String>,
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

    /// Who has a session, after a look into the stores if nobody has mentioned it yet.
    async fn find(&self, session: &SessionId, request: &Parts) -> Found {
        let found = self.registry.find(session);
        if found != Found::Unknown {
            return found;
        }
        let directory = named::directory(&request.uri, &request.headers);
        match self.scout.look_up(session, directory.as_deref()).await {
            // A feed may have told more about it in the meantime.
            Some(store) => match self.registry.find(session) {
                Found::Unknown => Found::In(store, None),
                found => found,
            },
            None => found,
        }
    }

    /// The server for a request about `session`, where that can be told from memory alone and nothing stands against
    /// it. Whatever else there is to say, [`Self::route`] says.
    pub fn at_hand(&self, session: &SessionId) -> Option<Target> {
        let Found::In(store, owner) = self.registry.find(session) else { return None };
        if !self.scout.unreachable_writers(session).is_empty() {
            return None;
        }
        self.held(session, store, owner).ok().flatten()
    }

    /// The server of a session that stands in `store`: its owner, or one chosen for it. `None` if none is left.
    fn held(
        &self,
        session: &SessionId,
        store: StoreKey,
        owner: Option<Owner>,
    ) -> Result<Option<Target>, RouteError> {
        let is_owned = owner.is_some_and(|owner| owner.evidence.owns());
        if !is_owned && self.registry.is_awaited(session) {
            return Err(RouteError::OwnerSilent { session: session.clone() });
        }
        let owner = owner.or_else(|| self.registry.choose(store, session));
        Ok(owner.and_then(|owner| {
            let server = self.registry.servers.get(owner.server)?;
            Some(Target::new(server, Route::Owner(owner.evidence)))
        }))
    }

    async fn session(&self, session: &SessionId, request: &Parts) -> Result<Target, RouteError> {
        match self.find(session, request).await {
            Found::Unknown => self.directory(request).await,
            Found::InSeveral(stores) => Err(self.several(session, &stores)),
            Found::In(store, owner) => {
                if let Some(target) = self.unreachable(session, store, request)? {
                    return Ok(target);
                }
                match self.held(session, store, owner)? {
                    Some(target) => Ok(target),
                    None => self.started_for(session, store).await,
                }
            }
        }
    }

    /// Where a session goes that a process without a port seems to run: for a turn as configured, else as ever.
    fn unreachable(
        &self,
        session: &SessionId,
        store: StoreKey,
        request: &Parts,
    ) -> Result<Option<Target>, RouteError> {
        let pids = self.scout.unreachable_writers(session);
        if pids.is_empty() {
            return Ok(None);
        }
        let reads = request.method == Method::GET || request.method == Method::HEAD;
        if !reads && self.unreachable_owner == UnreachableOwner::Refuse {
            return Err(RouteError::OwnerUnreachable { session: session.clone(), pids });
        }
        let server =
            self.registry.choose(store, session).and_then(|owner| self.registry.servers.get(owner.server));
        Ok(server.map(|server| Target::new(server, Route::OwnerUnreachable)))
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

    /// The session that a new one is bound to: its parent, or the one that has its id already.
    fn known_session_in(&self, body: &Bytes) -> Option<SessionId> {
        let ids: Ids = serde_json::from_slice(body).ok()?;
        let parent = ids.parent.and_then(|id| SessionId::try_new(&id).ok());
        parent.or_else(|| {
            let id = SessionId::try_new(&ids.id?).ok()?;
            (self.registry.find(&id) != Found::Unknown).then_some(id)
        })
    }

    fn several(&self, session: &SessionId, stores: &[StoreKey]) -> RouteError {
        let servers = self.registry.servers.now();
        let one_of_each = stores.iter().filter_map(|&store| servers.of_store(store).next());
        RouteError::SeveralStores { session: session.clone(), servers: names(one_of_each) }
    }

    fn no_server_of_store(&self, session: &SessionId) -> RouteError {
        if self.registry.servers.now().is_empty() {
            RouteError::NoServer
        } else {
            RouteError::NoServerOfStore { session: session.clone() }
        }
    }
}

/// The session that a body names: by itself, by the events it replays, or as a key of the history it asks for.
fn session_in(body: &Bytes) -> Option<SessionId> {
    let ids: Ids = serde_json::from_slice(body).unwrap_or_default();
    let by_name = ids.session.or_else(|| ids.events.into_iter().find_map(|event| event.aggregate));
    match by_name {
        Some(id) => SessionId::try_new(&id).ok(),
        None => {
            let history: std::collections::BTreeMap<String, u64> = serde_json::from_slice(body).ok()?;
            history.keys().find_map(|id| SessionId::try_new(id).ok())
        }
    }
}

/// The directory that a new session is to be made in, as the body of the second interface says it. Servers heed it
/// before any that the request names.
fn directory_in(body: &Bytes) -> Option<String> {
    let placed: Placed = serde_json::from_slice(body).ok()?;
    Some(placed.location.directory).filter(|directory| !directory.is_empty())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_new_session_is_read_from_its_body_if_it_has_one() {
        let of = |body: &'static str| directory_in(&Bytes::from_static(body.as_bytes()));
        let placed = r#"{"agent":"build","location":{"directory":"/a b","workspaceID":"wrk_1"}}"#;
        assert_eq!(of(placed).as_deref(), Some("/a b"));
        for other in
            ["", "{}", r#"{"directory":"/a"}"#, r#"{"location":{"directory":""}}"#, r#"{"location":7}"#]
        {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
