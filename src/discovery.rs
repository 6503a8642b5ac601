//! Finding servers, and noticing that they have gone.
//!
//! Sources report addresses: listening sockets of processes that look like `OpenCode`, configured URLs, a configured
//! range of ports, and servers that registered ([`Door`]). Each address is asked for its health and nothing else; one that answers as an agent is a server
//! from that moment on. What the machine does not tell of it (worktree, project, sometimes its store) is asked
//! afterwards, and routing never waits for that.
//!
//! Promises: a tick costs what changed; only such addresses are ever contacted; our own is never a server; a server is
//! out once its process has ended or its port refuses connections, and for no lesser reason: silence, a timeout or a
//! suspended machine end nothing. See [`Doubts`] for how soon.
//!
//! Left to others: the event stream, by whose end a death is noticed first (whoever reads it tells [`Doubts`]), the
//! lists of sessions ([`crate::sync`]), and what to do about a server that came or went ([`Watcher`]).

use std::{net::SocketAddr, ops::RangeInclusive, sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    machine::Machine,
    opencode::client::{Agent, AgentClient},
    registry::{
        News, Registry,
        server::{Address, Credentials, Server},
    },
};

mod check;
mod door;
mod doubts;
mod identity;
mod introduce;
mod place;
mod ports;
mod probe;
mod readiness;
mod sockets;
mod task;
#[cfg(test)]
mod tests;
mod unreachable;

pub use self::{
    door::{Door, Registrant},
    doubts::Doubts,
    readiness::Readiness,
    unreachable::{unreachable, unreachable_of},
};

/// A server that the configuration names.
#[derive(Clone, Debug)]
pub struct Configured {
    /// Where it is.
    pub address: Address,
    /// What it wants to be told; without, the default is tried.
    pub credentials: Option<Credentials>,
}

/// What discovery is told once, at start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The servers named one by one.
    pub configured: Vec<Configured>,
    /// What to tell a server that wants a password, of the processes of our own user and of the configured ones.
    pub default_credentials: Option<Credentials>,
    /// Ports of this machine to be looked at, whoever listens there.
    pub ports: Option<RangeInclusive<u16>>,
    /// Whether to look for processes that nobody named.
    pub scan: bool,
    /// How often to look. A server is found within this time and its first answer.
    pub tick: Duration,
    /// Where we listen ourselves.
    pub own_address: SocketAddr,
    /// The server that the configuration makes the default.
    pub preferred: Option<Address>,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
}

/// Who is told of servers. The calls come from one place, in order, and must not wait.
pub trait Watcher: Send + Sync + 'static {
    /// A server came; the registry has it.
    fn arrived(&self, server: Arc<Server>);

    /// A server went; the registry has it no longer. `news` is what moved by that.
    fn departed(&self, server: Arc<Server>, news: News);

    /// Something became known of a server, or changed.
    fn changed(&self, server: Arc<Server>);

    /// One look around took so long.
    fn looked(&self, _took: Duration) {}
}

/// Discovery before it runs.
#[derive(Debug)]
pub struct Discovery {
    task: task::Task,
    door: Door,
}

impl Discovery {
    /// Prepares to look as `settings` say. Nothing is contacted before [`Discovery::run`].
    pub fn new(
        settings: Settings,
        registry: Arc<Registry>,
        machine: Arc<dyn Machine>,
        client: AgentClient,
        doubts: Doubts,
    ) -> Self {
        let (door, calls) = Door::new();
        Self { task: task::Task::new(settings, registry, machine, client, doubts, calls), door }
    }

    /// Where servers that make themselves known come in.
    pub fn door(&self) -> Door {
        self.door.clone()
    }

    /// Becomes true once the first look is done: every address found by it has been asked once, or three seconds
    /// have passed.
    pub fn first_round(&self) -> watch::Receiver<bool> {
        self.task.first_round()
    }

    /// Looks until `stop`; then drops what it was asking.
    pub async fn run(self, watcher: Arc<dyn Watcher>, stop: CancellationToken) {
        self.task.run(watcher, stop).await;
    }
}

/// The means to ask `server` on our own account.
pub fn agent(client: &AgentClient, server: &Server) -> Agent {
    client.at(&server.address.url(), server.credentials.as_ref().map(Credentials::header))
}
