//! Why a request goes where it goes, in the words that every answer carries.

use std::sync::Arc;

use http::HeaderValue;
use thiserror::Error;

use crate::{
    domain::{ask::AskKind, evidence::Evidence, ids::SessionId},
    registry::server::Server,
};

/// Why this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// It owns the session, or was chosen for it.
    Owner(Evidence),
    /// The client named it.
    Explicit,
    /// It raised the permission, question or terminal.
    Raised,
    /// It saw the first step.
    Flow,
    /// It is the one for the directory.
    Directory,
    /// It is the only one that can be meant.
    Only,
    /// Nothing speaks for another.
    Default,
    /// The owner is a process that opens no port.
    OwnerUnreachable,
}

impl Route {
    /// The value of `X-Pointsman-Route`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner(Evidence::Pinned) => "owner; evidence=pinned",
            Self::Owner(Evidence::Busy) => "owner; evidence=busy",
            Self::Owner(Evidence::Viewing) => "owner; evidence=viewing",
            Self::Owner(Evidence::Emitted) => "owner; evidence=emitted",
            Self::Owner(Evidence::Inherited) => "owner; evidence=inherited",
            Self::Owner(Evidence::Succeeded) => "owner; evidence=succeeded",
            Self::Owner(Evidence::Routed) => "owner; evidence=routed",
            Self::Owner(Evidence::StartedWith) => "owner; evidence=started-with",
            Self::Owner(Evidence::Chosen) => "owner; evidence=chosen",
            Self::Owner(Evidence::Listed) => "owner; evidence=listed",
            Self::Explicit => "explicit",
            Self::Raised => "raised",
            Self::Flow => "flow",
            Self::Directory => "directory",
            Self::Only => "only",
            Self::Default => "default",
            Self::OwnerUnreachable => "fallback; reason=owner-unreachable",
        }
    }

    /// The same, ready to stand in a header.
    pub fn header(self) -> HeaderValue {
        HeaderValue::from_static(self.as_str())
    }
}

/// Where a request goes.
#[derive(Clone, Debug)]
pub struct Target {
    /// The server.
    pub server: Arc<Server>,
    /// Why.
    pub route: Route,
    /// The directory that the request must name, whatever the client has named: an answer to a permission is only
    /// understood in its session's directory.
    pub directory: Option<Arc<str>>,
}

impl Target {
    /// `server`, because of `route`.
    pub fn new(server: Arc<Server>, route: Route) -> Self {
        Self { server, route, directory: None }
    }
}

/// Why no server was started for a request.
#[derive(Debug, Error)]
pub enum Unstarted {
    /// As many run as may.
    #[error("{0}")]
    Full(String),
    /// It did not start, or did not answer.
    #[error("{0}")]
    Failed(String),
}

/// Why a request goes nowhere.
#[derive(Debug, Error)]
pub enum RouteError {
    /// There is no server at all.
    #[error(
        "no OpenCode server is running; start one with `opencode serve`, or `opencode --port 0` for a terminal that can be reached"
    )]
    NoServer,
    /// The session stands in a store that no live server has.
    #[error("no running OpenCode server has the store of session {session}; start one as the same user")]
    NoServerOfStore {
        /// The session.
        session: SessionId,
    },
    /// The same id in two stores.
    #[error("{session} stands in {} stores; name one of these servers in X-Pointsman-Server: {}", .servers.len(), .servers.join(", "))]
    SeveralStores {
        /// The session.
        session: SessionId,
        /// A server of each store.
        servers: Vec<String>,
    },
    /// The client named a server that is not here.
    #[error("no server is called {name:?}; GET /servers lists those that are")]
    UnknownServer {
        /// What the client said.
        name: String,
    },
    /// Several screens, or none, can be meant.
    #[error("{}; name one in X-Pointsman-Server, or the directory that has only one", several(.candidates, "terminal"))]
    AmbiguousScreen {
        /// Those that can be meant.
        candidates: Vec<String>,
    },
    /// Several servers can be meant by a request that ends running turns.
    #[error("this ends running turns and {}; name the server in X-Pointsman-Server", several(.candidates, "server"))]
    AmbiguousDisposal {
        /// Those that can be meant.
        candidates: Vec<String>,
    },
    /// The session's owner runs, as an earlier run of ours knew it, and has not answered yet.
    #[error(
        "the server that owns session {session} is running but has not answered yet; try again in a moment"
    )]
    OwnerSilent {
        /// The session.
        session: SessionId,
    },
    /// A server was to be started, and there is none else.
    #[error(transparent)]
    Unstarted(#[from] Unstarted),
    /// A question was asked by a server that has gone: nobody can take the answer.
    #[error("{} request not found: {id}", .kind.name())]
    AskerGone {
        /// What was asked for.
        kind: AskKind,
        /// The id it was asked under.
        id: String,
    },
    /// The session runs in a process that opens no port, and the configuration says to refuse then.
    #[error("session {session} runs in a terminal that opens no port (pid {}); start it with --port 0", join(.pids))]
    OwnerUnreachable {
        /// The session.
        session: SessionId,
        /// The processes that may run it.
        pids: Vec<u32>,
    },
}

fn several(candidates: &[String], what: &str) -> String {
    match candidates {
        [] => format!("no {what} can be meant"),
        candidates => format!("{} {what}s can be meant: {}", candidates.len(), candidates.join(", ")),
    }
}

fn join(pids: &[u32]) -> String {
    pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_evidence_has_its_own_words() {
        for evidence in Evidence::ALL {
            assert_eq!(Route::Owner(evidence).as_str(), format!("owner; evidence={evidence}"));
        }
    }
}
