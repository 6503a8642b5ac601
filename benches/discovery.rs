//! What a look costs when nothing has changed: the machine's real list of sockets, `SERVERS` servers known.
//!
//! `cargo bench --bench discovery`. The servers are one small HTTP program in this process with many sockets; the
//! processes they seem to belong to are made up. The time is processor time of the whole process, fakes included,
//! as the kernel counts it.

#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, routing::get};
use pointsman::{
    discovery::{Discovery, Doubts, Settings, Watcher},
    machine::{self, Listener, Machine, MachineError, Process, SocketId},
    opencode::client::AgentClient,
    registry::{News, Registry, server::Server},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

const SERVERS: usize = 200;
const LOOKS: usize = 2000;
const TICK: Duration = Duration::from_millis(5);

/// The real machine, on which our own sockets seem to belong to agents.
struct Peopled {
    real: Arc<dyn Machine>,
    ours: HashSet<SocketAddr>,
    looks: AtomicUsize,
    walks: AtomicUsize,
}

impl Peopled {
    fn agent(&self, pid: u32) -> Process {
        Process {
            pid,
            parent: None,
            started: 1,
            uid: self.real.uid(),
            name: "opencode".into(),
            args: vec!["opencode".into(), "serve".into()],
            cwd: Some("/nowhere".into()),
            store: None,
        }
    }
}

impl Machine for Peopled {
    fn boot_id(&self) -> &str {
        self.real.boot_id()
    }

    fn uid(&self) -> Option<u32> {
        self.real.uid()
    }

    fn listeners(&self) -> Result<Vec<Listener>, MachineError> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.real.listeners()
    }

    fn owners(&self, sockets: &[SocketId]) -> HashMap<SocketId, Process> {
        self.walks.fetch_add(1, Ordering::Relaxed);
        let listeners = self.real.listeners().unwrap();
        let ours = listeners
            .iter()
            .filter(|listener| sockets.contains(&listener.socket) && self.ours.contains(&listener.address));
        ours.map(|listener| (listener.socket, self.agent(u32::from(listener.address.port())))).collect()
    }

    fn listens(&self, _: u32, _: SocketAddr) -> Option<SocketId> {
        None
    }

    fn process(&self, pid: u32) -> Option<Process> {
        Some(self.agent(pid))
    }

    fn alive(&self, _pid: u32, _started: u64) -> bool {
        true
    }

    fn agents(&self) -> Vec<Process> {
        Vec::new()
    }

    fn peer_uid(&self, local: SocketAddr, peer: SocketAddr) -> Option<u32> {
        self.real.peer_uid(local, peer)
    }

    fn peer_agent(&self, local: SocketAddr, peer: SocketAddr) -> Option<Process> {
        self.real.peer_agent(local, peer)
    }

    fn tells_peers(&self) -> bool {
        self.real.tells_peers()
    }

    fn holder(&self, address: SocketAddr) -> Option<Process> {
        self.real.holder(address)
    }
}

struct Nobody;

impl Watcher for Nobody {
    fn arrived(&self, _server: Arc<Server>) {}
    fn departed(&self, _server: Arc<Server>, _news: News) {}
    fn changed(&self, _server: Arc<Server>) {}
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut ours = HashSet::new();
    for _ in 0..SERVERS {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        ours.insert(listener.local_addr().unwrap());
        let router = Router::new()
            .route("/global/health", get(async || Json(json!({"healthy": true, "version": "1"}))))
            .route(
                "/path",
                get(async || Json(json!({"home": "/h", "state": "/s", "worktree": "/", "directory": "/"}))),
            )
            .route("/project/current", get(async || Json(json!({"id": "p", "worktree": "/"}))))
            .fallback(async || Json(json!([])));
        tokio::spawn(async move { axum::serve(listener, router).await });
    }
    let machine = Arc::new(Peopled {
        real: machine::native(),
        ours,
        looks: AtomicUsize::new(0),
        walks: AtomicUsize::new(0),
    });
    let registry = Arc::new(Registry::new(None));
    let settings = Settings {
        configured: Vec::new(),
        default_credentials: None,
        ports: None,
        scan: true,
        tick: TICK,
        own_address: "127.0.0.1:1".parse().unwrap(),
        preferred: None,
        connect_timeout: Duration::from_secs(2),
    };
    let client = AgentClient::try_new(settings.connect_timeout).unwrap();
    let looked: Arc<dyn Machine> = machine.clone();
    let discovery = Discovery::new(settings, Arc::clone(&registry), looked, client, Doubts::default());
    tokio::spawn(discovery.run(Arc::new(Nobody), CancellationToken::new()));
    let introduced = || registry.servers.now().iter().filter(|server| server.project.is_some()).count();
    while introduced() < SERVERS {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The idle connections of the first questions are closed within five seconds, and are no part of a look.
    tokio::time::sleep(Duration::from_secs(6)).await;

    let (walks, looks) = (machine.walks.load(Ordering::Relaxed), machine.looks.load(Ordering::Relaxed));
    let before = processor_time();
    while machine.looks.load(Ordering::Relaxed) < looks + LOOKS {
        tokio::time::sleep(TICK).await;
    }
    let spent = processor_time().saturating_sub(before);
    let looks = machine.looks.load(Ordering::Relaxed) - looks;
    let each = spent / u32::try_from(looks).unwrap();
    println!(
        "{SERVERS} servers, {looks} looks, {} walks: {each:?} for each look, {:.3} % of one core at one a second",
        machine.walks.load(Ordering::Relaxed) - walks,
        each.as_secs_f64() * 100.0,
    );
}

/// The processor time of this thread, which is all there is: the runtime has no other, and looks at known sockets
/// need none.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}
