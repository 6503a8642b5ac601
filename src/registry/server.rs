//! One server as we know it.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, OnceLock},
};

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use super::usage::Usage;
use crate::domain::{
    candidate::Candidate,
    directory::{is_whole, trimmed},
    ids::{ServerKey, StoreKey},
    kind::Kind,
};

/// A server's public name: stable for the life of its process, also across restarts of ours, and never that of
/// another process, however pids and ports are used again.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServerId(pub Arc<str>);

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a server is reached: plain HTTP on a host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// `host:port`, the host in brackets where it is an IPv6 address.
    pub authority: Arc<str>,
    /// The port alone.
    pub port: u16,
}

impl Address {
    /// The address of `host` (an IPv6 address without brackets) and `port`.
    pub fn new(host: &str, port: u16) -> Self {
        let authority =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        Self { authority: authority.into(), port }
    }

    /// The address that `authority`, already written as `host:port`, names.
    pub fn from_authority(authority: &str, port: u16) -> Self {
        Self { authority: authority.into(), port }
    }

    /// The address as a URL without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.authority)
    }
}

impl From<std::net::SocketAddr> for Address {
    fn from(address: std::net::SocketAddr) -> Self {
        Self::new(&address.ip().to_string(), address.port())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority)
    }
}

/// The process behind a server on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerProcess {
    /// Its process id.
    pub pid: u32,
    /// When it started, in the machine's own unit: with the pid it names one process for as long as the machine runs.
    pub started: u64,
    /// When it started, in milliseconds since 1970.
    pub started_ms: u64,
}

/// How a server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It answers.
    Up,
    /// Nothing has been heard from it for 25 s: no new work, but its own sessions still go to it.
    Stalled,
    /// It wants a password that the configuration does not give.
    Locked,
}

impl State {
    /// The word used in answers, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Stalled => "stalled",
            Self::Locked => "locked",
        }
    }
}

/// How we learned of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The configuration names its URL.
    Configured,
    /// A listening socket of a process that looks like an agent.
    Socket,
    /// A port of the configured range.
    Port,
    /// A plugin inside it told us.
    Registration,
    /// We started it.
    Spawned,
}

impl Source {
    /// The word used in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::Socket => "socket",
            Self::Port => "port",
            Self::Registration => "registration",
            Self::Spawned => "spawned",
        }
    }
}

/// The user and password that a server wants, as the value of an `Authorization` header.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials(Arc<str>);

impl Credentials {
    /// Basic credentials.
    pub fn basic(username: &str, password: &str) -> Self {
        use base64::Engine;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
        Self(format!("Basic {pair}").into())
    }

    /// A bearer token.
    pub fn bearer(token: &str) -> Self {
        Self(format!("Bearer {token}").into())
    }

    /// The header's value. For the connection to the server only: never log it, never show it to a client.
    pub fn header(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// The directories in use of one server: its own, and those that its feed or requests through us have named. Nothing
/// else is ever asked for on our own account, so that no directory is opened which nobody wanted open.
#[derive(Default)]
pub struct Directories {
    known: RwLock<BTreeSet<Arc<str>>>,
    keep: OnceLock<Keep>,
}

/// What keeps a directory for the next run of ours.
type Keep = Box<dyn Fn(&str) + Send + Sync>;

impl Directories {
    /// How many directories of one server are remembered. Each costs that server far more than it costs us.
    const MOST: usize = 1000;

    /// Remembers that `directory` is in use. One that is not named from the root on is not: the two interfaces do not
    /// agree on what it is, and what happens in it is told under its whole name.
    pub fn note(&self, directory: &str) {
        let directory = trimmed(directory);
        if !is_whole(directory) || self.known.read().contains(directory) {
            return;
        }
        let mut known = self.known.write();
        if known.len() < Self::MOST && known.insert(directory.into()) {
            drop(known);
            if let Some(keep) = self.keep.get() {
                keep(directory);
            }
        }
    }

    /// Takes in those of an earlier run of ours, and has `keep` told of each that is noted from now on.
    pub(super) fn kept(&self, earlier: &[Arc<str>], keep: impl Fn(&str) + Send + Sync + 'static) {
        for directory in earlier {
            self.note(directory);
        }
        let _ = self.keep.set(Box::new(keep));
    }

    /// Whether `directory` is in use.
    pub fn contains(&self, directory: &str) -> bool {
        self.known.read().contains(trimmed(directory))
    }

    /// Every directory in use, in order of its name.
    pub fn all(&self) -> Vec<Arc<str>> {
        self.known.read().iter().cloned().collect()
    }
}

impl fmt::Debug for Directories {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.known.read().iter()).finish()
    }
}

/// A running agent process that we can reach, or could with the right password.
#[derive(Clone, Debug)]
pub struct Server {
    /// Our key for it.
    pub key: ServerKey,
    /// Its public name.
    pub id: ServerId,
    /// Where it is reached.
    pub address: Address,
    /// What it wants to be told before it answers.
    pub credentials: Option<Credentials>,
    /// How it was started.
    pub kind: Kind,
    /// Its process, where it runs on this machine and we may look.
    pub process: Option<ServerProcess>,
    /// The store it reads and writes.
    pub store: StoreKey,
    /// The directory it serves when a request names none.
    pub directory: Option<Arc<str>>,
    /// The root of the working tree around that directory.
    pub worktree: Option<Arc<str>>,
    /// The project of that directory.
    pub project: Option<Arc<str>>,
    /// Its version.
    pub version: Option<Arc<str>>,
    /// How it is doing.
    pub state: State,
    /// When we first reached it, in milliseconds since 1970.
    pub since_ms: u64,
    /// How we learned of it, each way once.
    pub sources: Vec<Source>,
    /// Whether the configuration makes it the default.
    pub preferred: bool,
    /// Whether it is reached through a plugin's listener instead of a port of its own.
    pub plugin: bool,
    /// Whether it tells us what its screen shows.
    pub reports_screen: bool,
    /// The directories in use.
    pub directories: Arc<Directories>,
    /// When it was last used, where somebody wants to know.
    pub usage: Option<Arc<Usage>>,
}

impl Server {
    /// Whether new work may go to it.
    pub fn answering(&self) -> bool {
        self.state == State::Up
    }

    /// What a choice looks at.
    pub fn candidate(&self) -> Candidate {
        Candidate {
            server: self.key,
            kind: self.kind,
            directory: self.directory.clone(),
            plugin: self.plugin,
            preferred: self.preferred,
            answering: self.answering(),
            started_ms: self.process.map(|process| process.started_ms),
            port: self.address.port,
            authority: Arc::clone(&self.address.authority),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A server that serves `/work` on `port` of this machine.
    pub(in crate::registry) fn server(key: ServerKey, id: &str, port: u16, store: StoreKey) -> Server {
        Server {
            key,
            id: ServerId(id.into()),
            address: Address::new("127.0.0.1", port),
            credentials: None,
            kind: Kind::Serve,
            process: None,
            store,
            directory: Some("/work".into()),
            worktree: None,
            project: None,
            version: None,
            state: State::Up,
            since_ms: 0,
            sources: Vec::new(),
            preferred: false,
            plugin: false,
            reports_screen: false,
            directories: Arc::default(),
            usage: None,
        }
    }
}
