//! What the operating system knows of sockets and processes, behind one trait.
//!
//! Promises: every call returns at once and never waits for another process; nothing here opens a connection to a
//! server. Whatever the system does not tell is `None`, never a guess. All calls block on the kernel for microseconds
//! ([`Machine::listeners`], [`Machine::alive`], [`Machine::peer_uid`]) to milliseconds (the walks over processes); each
//! says which.
//!
//! Left to others: what a socket speaks (the probe), and how often to look (discovery).

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use thiserror::Error;

use self::agent::Invocation;

pub mod agent;
#[cfg(test)]
mod impostor;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(any(test, not(target_os = "linux")))]
mod portable;
#[cfg(test)]
pub(crate) mod scripted;

/// The machine this process runs on.
pub fn native() -> Arc<dyn Machine> {
    #[cfg(target_os = "linux")]
    return Arc::new(linux::Linux::new());
    #[cfg(not(target_os = "linux"))]
    return Arc::new(portable::Portable::new());
}

/// What discovery, the guard and the kept claims ask of the operating system.
pub trait Machine: Send + Sync + 'static {
    /// A text that changes with every start of the machine wherever [`Process::started`] counts from that start.
    fn boot_id(&self) -> &str;

    /// The effective user of this process; `None` where users have no number.
    fn uid(&self) -> Option<u32>;

    /// Every listening TCP socket, IPv4 and IPv6, of all users; microseconds on Linux, so that it can be asked
    /// each second.
    ///
    /// The kernel hands the list over in parts. A socket opened or closed meanwhile may be in or out, and its
    /// neighbour may, rarely, be left out once: a single absence is not yet a proof that a socket has gone.
    fn listeners(&self) -> Result<Vec<Listener>, MachineError>;

    /// Which `OpenCode` process holds each of `sockets`; sockets of other programs and of other users are left out
    /// (nobody is left out for root).
    ///
    /// Walks over processes, milliseconds: for sockets not seen before, all of them in one call. Where several
    /// processes hold one socket, the one that started first is meant; the others inherited it.
    fn owners(&self, sockets: &[SocketId]) -> HashMap<SocketId, Process>;

    /// [`Machine::owners`] for one socket.
    fn owner(&self, socket: SocketId) -> Option<Process> {
        self.owners(&[socket]).remove(&socket)
    }

    /// The socket of process `pid` that listens on `address`, or on a wildcard address that includes it; `None` if it
    /// holds none there, or we may not look. Reads that one process's open files.
    fn listens(&self, pid: u32, address: SocketAddr) -> Option<SocketId>;

    /// Any process we may look at; `None` when it has ended, as a zombie too.
    fn process(&self, pid: u32) -> Option<Process>;

    /// [`Process::started`] in milliseconds since 1970, by the wall clock as it is set now.
    fn started_ms(&self, started: u64) -> u64 {
        started.saturating_mul(1000)
    }

    /// Whether that very process still runs: `started` as [`Process::started`] said. One small read.
    fn alive(&self, pid: u32, started: u64) -> bool;

    /// All `OpenCode` processes of this user (of all users for root), listening or not, by pid. Scripts that only
    /// started another one are left out. Walks over processes, milliseconds.
    fn agents(&self) -> Vec<Process>;

    /// The user at the *other end* of a connection accepted from this machine: `local` and `peer` as the accepted
    /// socket names them. `None` when no process holds that end any more, when the peer is another machine, or when
    /// the system cannot tell ([`Machine::tells_peers`]). An exact look-up, microseconds.
    fn peer_uid(&self, local: SocketAddr, peer: SocketAddr) -> Option<u32>;

    /// The `OpenCode` process at the other end of such a connection, under the same conditions. Walks over processes,
    /// milliseconds.
    fn peer_agent(&self, local: SocketAddr, peer: SocketAddr) -> Option<Process>;

    /// Whether [`Machine::peer_uid`] can ever answer here. Does not change while this process runs.
    fn tells_peers(&self) -> bool;

    /// Who listens on `address`, or on a wildcard address that includes it: any program whose files we may look at.
    /// Walks over all processes: for an error message, not for a loop.
    fn holder(&self, address: SocketAddr) -> Option<Process>;
}

/// Why the machine could not be asked.
#[derive(Debug, Error)]
pub enum MachineError {
    /// The list of listening sockets could not be had.
    #[error(
        "cannot list this machine's listening sockets ({source}); name the servers with --server and add --no-scan"
    )]
    Listeners {
        /// What the system said.
        source: io::Error,
    },
}

/// One listening socket as the system names it: the inode on Linux, elsewhere made of process and address. Equal as
/// long as the socket lives; a later one may get the same number once it has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u64);

/// A listening TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listener {
    /// Where it listens, wildcard addresses as such.
    pub address: SocketAddr,
    /// Which socket it is.
    pub socket: SocketId,
    /// The user who opened it; `None` where the system does not say.
    pub uid: Option<u32>,
}

impl Listener {
    /// Where to connect to from this machine: a wildcard becomes the loopback address of its family.
    pub fn connect_address(&self) -> SocketAddr {
        let ip = match self.address.ip().to_canonical() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, self.address.port())
    }

    /// Whether a user other than `own` opened it.
    pub fn is_foreign(&self, own: Option<u32>) -> bool {
        matches!((self.uid, own), (Some(uid), Some(own)) if uid != own)
    }

    /// Whether a connection to `address` could end up here.
    fn covers(&self, address: SocketAddr) -> bool {
        let (own, asked) = (self.address.ip().to_canonical(), address.ip().to_canonical());
        self.address.port() == address.port()
            && (own == asked || own.is_unspecified() || asked.is_unspecified())
    }
}

/// A process, as it was when asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// The process that started it, while that lives.
    pub parent: Option<u32>,
    /// When it started, comparable only with itself: clock ticks since boot on Linux, seconds since 1970 elsewhere.
    /// With the pid and [`Machine::boot_id`] it names one process for good.
    pub started: u64,
    /// Its effective user.
    pub uid: Option<u32>,
    /// The short name the system shows.
    pub name: String,
    /// Its command line, the program first; empty where we may not read it. Bytes that are not UTF-8 are replaced.
    pub args: Vec<String>,
    /// Its working directory.
    pub cwd: Option<PathBuf>,
    /// The session store it has open.
    pub store: Option<StoreFile>,
}

impl Process {
    /// What its command line asks for.
    pub fn invocation(&self) -> Invocation {
        Invocation::parse(&self.args)
    }
}

/// An open `opencode.db`; device and inode identify the store, the path is for people.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoreFile {
    /// The file system's device number.
    pub device: u64,
    /// The file's inode.
    pub inode: u64,
    /// Where it was opened.
    pub path: PathBuf,
}

/// Leaves out what only started another agent: the script around the real program, which shares its command line but
/// has no store open and no screen.
fn without_wrappers(mut agents: Vec<Process>) -> Vec<Process> {
    let parents: Vec<u32> = agents.iter().filter_map(|agent| agent.parent).collect();
    agents.retain(|agent| {
        let wraps = !agent::is_program(&agent.args) && agent.store.is_none() && parents.contains(&agent.pid);
        !wraps
    });
    agents.sort_by_key(|agent| agent.pid);
    agents
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(address: &str) -> Listener {
        Listener { address: address.parse().unwrap(), socket: SocketId(1), uid: None }
    }

    fn agent(pid: u32, parent: u32, args: &[&str]) -> Process {
        Process {
            pid,
            parent: Some(parent),
            started: 1,
            uid: Some(1000),
            name: "opencode".into(),
            args: args.iter().map(ToString::to_string).collect(),
            cwd: None,
            store: None,
        }
    }

    #[test]
    fn wildcard_addresses_are_reached_through_the_loopback_of_their_family() {
        for (bound, reached) in [
            ("0.0.0.0:4096", "127.0.0.1:4096"),
            ("[::]:4096", "[::1]:4096"),
            ("[::ffff:0.0.0.0]:4096", "127.0.0.1:4096"),
            ("[::ffff:127.0.0.1]:4096", "127.0.0.1:4096"),
            ("127.0.0.2:1", "127.0.0.2:1"),
            ("192.0.2.7:4096", "192.0.2.7:4096"),
        ] {
            assert_eq!(listener(bound).connect_address(), reached.parse().unwrap(), "{bound}");
        }
    }

    #[test]
    fn a_listener_covers_its_own_address_and_whatever_a_wildcard_includes() {
        assert!(listener("0.0.0.0:4747").covers("127.0.0.1:4747".parse().unwrap()));
        assert!(listener("[::]:4747").covers("127.0.0.1:4747".parse().unwrap()));
        assert!(listener("127.0.0.1:4747").covers("0.0.0.0:4747".parse().unwrap()));
        assert!(!listener("127.0.0.1:4747").covers("127.0.0.2:4747".parse().unwrap()));
        assert!(!listener("127.0.0.1:4747").covers("127.0.0.1:4748".parse().unwrap()));
    }

    #[test]
    fn a_script_that_only_started_the_real_program_is_left_out() {
        let wrapper = agent(10, 1, &["node", "/usr/bin/opencode", "serve"]);
        let lone = agent(12, 1, &["node", "/usr/bin/opencode", "serve"]);
        let real = agent(11, 10, &["/usr/lib/opencode", "serve"]);
        let tool = agent(13, 11, &["/usr/lib/opencode", "models"]);
        let kept: Vec<u32> =
            without_wrappers(vec![tool, lone, real, wrapper]).iter().map(|agent| agent.pid).collect();
        assert_eq!(kept, [11, 12, 13]);
    }
}
