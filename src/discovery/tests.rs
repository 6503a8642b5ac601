//! Discovery as a whole, on a scripted machine with real sockets.

mod program;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use self::program::{Manner, Running};
use super::*;
use crate::{
    domain::{evidence::Evidence, ids::SessionId, kind::Kind},
    machine::{Listener, Process, SocketId, StoreFile, scripted::Scripted},
    registry::{
        server::{Source, State},
        sessions::Found,
        stores::StoreIdentity,
    },
};

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Watcher for Log {
    fn arrived(&self, server: Arc<Server>) {
        self.0.lock().push(format!("arrived {}", server.address.port));
    }

    fn departed(&self, server: Arc<Server>, _news: News) {
        self.0.lock().push(format!("departed {}", server.address.port));
    }

    fn changed(&self, _server: Arc<Server>) {}
}

struct Lab {
    machine: Arc<Scripted>,
    registry: Arc<Registry>,
    doubts: Doubts,
    log: Arc<Log>,
    stop: CancellationToken,
    first_round: Option<watch::Receiver<bool>>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn settings() -> Settings {
    Settings {
        configured: Vec::new(),
        default_credentials: None,
        ports: None,
        scan: true,
        tick: Duration::from_millis(100),
        own_address: "127.0.0.1:1".parse().unwrap(),
        preferred: None,
        connect_timeout: Duration::from_secs(2),
    }
}

fn configured(address: SocketAddr) -> Configured {
    Configured { address: address.into(), credentials: None }
}

fn process(pid: u32, line: &str) -> Process {
    let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
    Process {
        pid,
        parent: None,
        started: 100,
        uid: Some(1000),
        name: args[0].clone(),
        args,
        cwd: Some("/own".into()),
        store: Some(StoreFile { device: 1, inode: 2, path: "/nowhere/opencode.db".into() }),
    }
}

/// The socket of process `pid` at `address`.
fn socket(address: SocketAddr, pid: u32) -> SocketId {
    SocketId((u64::from(address.port()) << 32) + u64::from(pid))
}

impl Lab {
    fn new() -> Self {
        Self {
            machine: Arc::default(),
            registry: Arc::new(Registry::new(None)),
            doubts: Doubts::default(),
            log: Arc::default(),
            stop: CancellationToken::new(),
            first_round: None,
        }
    }

    /// Shows a running program as a process of the machine.
    fn show(&self, running: &Running, process: Process) {
        let pid = process.pid;
        self.machine.start(process);
        self.listen(running, pid);
    }

    fn listen(&self, running: &Running, pid: u32) {
        let socket = socket(running.address, pid);
        self.machine.listen(pid, Listener { address: running.address, socket, uid: Some(1000) });
    }

    fn discover(&mut self, settings: Settings) {
        let client = AgentClient::try_new(settings.connect_timeout).unwrap();
        let machine: Arc<dyn Machine> = self.machine.clone();
        let discovery =
            Discovery::new(settings, Arc::clone(&self.registry), machine, client, self.doubts.clone());
        self.first_round = Some(discovery.first_round());
        tokio::spawn(discovery.run(self.log.clone(), self.stop.clone()));
    }

    async fn first_round(&mut self) {
        let round = self.first_round.as_mut().unwrap().wait_for(|done| *done);
        tokio::time::timeout(PATIENCE, round).await.unwrap().unwrap();
    }

    /// Waits until `wanted` holds of the servers.
    async fn eventually(&self, wanted: impl Fn(&[Arc<Server>]) -> bool) -> Vec<Arc<Server>> {
        let mut changes = self.registry.servers.changes();
        let found = async {
            loop {
                let servers: Vec<_> = self.registry.servers.now().iter().cloned().collect();
                if wanted(&servers) {
                    return servers;
                }
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("the servers wanted never came")
    }

    async fn one(&self) -> Arc<Server> {
        self.eventually(|servers| servers.len() == 1).await.remove(0)
    }

    /// Lets discovery look `times` more.
    async fn looks(&self, times: usize) {
        let until = self.machine.looks() + times;
        while self.machine.looks() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn an_agent_that_listens_becomes_a_server_and_other_programs_are_never_contacted() {
    let mut lab = Lab::new();
    let agent = Running::new(Manner::Agent).await;
    let other = Running::new(Manner::Agent).await;
    lab.show(&agent, process(10, "opencode serve -s ses_1"));
    lab.show(&other, process(11, "nginx"));
    lab.discover(settings());
    lab.first_round().await;
    let server = lab.one().await;
    assert_eq!(
        (server.kind, server.state, &server.sources[..]),
        (Kind::Serve, State::Up, &[Source::Socket][..])
    );
    assert_eq!(server.directory.as_deref(), Some("/own"));
    assert_eq!(server.version.as_deref(), Some("1.18.33"));
    assert_eq!(server.process.map(|process| process.pid), Some(10));
    let store = lab.registry.stores.key(StoreIdentity::File { device: 1, inode: 2 });
    assert_eq!(server.store, store);
    let session = SessionId::try_new("ses_1").unwrap();
    let Found::In(_, Some(owner)) = lab.registry.find(&session) else { panic!("no owner") };
    assert_eq!((owner.server, owner.evidence), (server.key, Evidence::StartedWith));

    let known = lab.eventually(|servers| servers[0].project.is_some()).await.remove(0);
    assert_eq!((known.worktree.as_deref(), known.store), (Some("/w"), store));
    assert_eq!(&*known.directories.all(), ["/own".into()]);
    lab.looks(5).await;
    assert_eq!(lab.machine.walks(), 1, "what is known must not be looked up again");
    assert!(other.asked().is_empty());
    let asked = agent.asked();
    assert!(asked.iter().all(|uri| !uri.contains('?')), "a directory was named: {asked:?}");
    assert_eq!(asked.iter().filter(|uri| *uri == "/global/health").count(), 1);
    assert!(lab.registry.asked.origin("per_1").is_some());
}

#[tokio::test]
async fn a_killed_server_is_out_within_a_second_of_the_first_doubt() {
    let mut lab = Lab::new();
    let agent = Running::new(Manner::Agent).await;
    lab.show(&agent, process(10, "opencode serve"));
    lab.discover(Settings { tick: Duration::from_mins(1), ..settings() });
    let server = lab.one().await;
    agent.close().await;
    let doubted = Instant::now();
    lab.doubts.doubt(server.key);
    // Its port is closed first, its process ends later.
    lab.eventually(<[_]>::is_empty).await;
    assert!(doubted.elapsed() < Duration::from_secs(1), "{:?}", doubted.elapsed());
    assert_eq!(lab.log.0.lock().last().unwrap(), &format!("departed {}", server.address.port));
}

#[tokio::test]
async fn a_vanished_process_is_noticed_without_a_doubt() {
    let mut lab = Lab::new();
    let agent = Running::new(Manner::Agent).await;
    lab.show(&agent, process(10, "opencode serve"));
    lab.discover(settings());
    lab.one().await;
    // Whoever inherited the socket still takes connections; the process decides.
    lab.machine.end(10);
    lab.eventually(<[_]>::is_empty).await;
}

#[tokio::test]
async fn silence_ends_nothing() {
    let mut lab = Lab::new();
    let agent = Running::new(Manner::Mute).await;
    lab.show(&agent, process(10, "opencode serve"));
    lab.discover(settings());
    let server = lab.one().await;
    for _ in 0..3 {
        lab.doubts.doubt(server.key);
        lab.looks(4).await;
    }
    assert_eq!(lab.one().await.key, server.key);
}

#[tokio::test]
async fn a_first_answer_that_takes_long_is_waited_for_and_taken_at_once() {
    let mut lab = Lab::new();
    let agent = Running::new(Manner::Sleeper).await;
    lab.show(&agent, process(10, "opencode serve"));
    lab.discover(settings());
    lab.looks(15).await;
    assert!(lab.registry.servers.now().is_empty());
    let woken = Instant::now();
    agent.fake.0.awake.notify_waiters();
    lab.one().await;
    assert!(woken.elapsed() < Duration::from_secs(1), "{:?}", woken.elapsed());
}

#[tokio::test]
async fn a_hanging_server_does_not_hold_up_the_others() {
    let mut lab = Lab::new();
    let mut hanging = Vec::new();
    for pid in 100..140 {
        let sleeper = Running::new(Manner::Sleeper).await;
        lab.show(&sleeper, process(pid, "opencode serve"));
        hanging.push(sleeper);
    }
    let agent = Running::new(Manner::Agent).await;
    lab.show(&agent, process(10, "opencode serve"));
    lab.discover(settings());
    lab.one().await;
    lab.first_round().await;
}

#[tokio::test]
async fn of_several_sockets_of_a_process_the_one_that_answers_as_an_agent_counts() {
    let mut lab = Lab::new();
    let page = Running::new(Manner::WebPage).await;
    let agent = Running::new(Manner::Agent).await;
    let again = Running::new(Manner::Agent).await;
    lab.show(&page, process(10, "opencode"));
    lab.listen(&agent, 10);
    lab.listen(&again, 10);
    lab.discover(settings());
    let server = lab.one().await;
    assert_ne!(server.address.port, page.address.port());
    lab.looks(5).await;
    assert_eq!(page.asked().len(), 1, "what is no agent is remembered as such");
    // When the way in use closes, the other one is taken.
    let (used, other) =
        if server.address.port == agent.address.port() { (agent, again) } else { (again, agent) };
    let closed = used.close().await;
    lab.machine.close(socket(closed, 10));
    let port = other.address.port();
    lab.eventually(|servers| servers.len() == 1 && servers[0].address.port == port).await;
}

#[tokio::test]
async fn a_port_that_changes_its_owner_is_another_server() {
    let mut lab = Lab::new();
    let agent = Running::new(Manner::Agent).await;
    lab.show(&agent, process(10, "opencode serve"));
    lab.discover(settings());
    let first = lab.one().await;
    lab.machine.close(socket(agent.address, 10));
    lab.show(&agent, process(11, "opencode serve"));
    let second = lab.eventually(|servers| servers.iter().any(|server| server.key != first.key)).await;
    assert_eq!(second.len(), 1);
    assert_ne!(second[0].id, first.id);
    assert_eq!(second[0].address, first.address);
}

#[tokio::test]
async fn a_configured_server_is_taken_in_when_it_starts_and_again_when_it_starts_again() {
    let mut lab = Lab::new();
    let address = Running::new(Manner::Agent).await.close().await;
    lab.discover(Settings { configured: vec![configured(address)], scan: false, ..settings() });
    lab.first_round().await;
    assert!(lab.registry.servers.now().is_empty());
    let agent = Running::at(address, Manner::Agent).await;
    let first = lab.one().await;
    assert_eq!((&first.sources[..], first.process), (&[Source::Configured][..], None));
    agent.close().await;
    lab.doubts.doubt(first.key);
    lab.eventually(<[_]>::is_empty).await;
    let _again = Running::at(address, Manner::Agent).await;
    let second = lab.one().await;
    assert_eq!(second.id, first.id);
    assert_ne!(second.key, first.key);
}

#[tokio::test]
async fn an_address_from_two_sources_is_one_server_known_by_its_process() {
    let mut lab = Lab::new();
    let agent = Running::new(Manner::Agent).await;
    lab.show(&agent, process(10, "opencode web"));
    let configured =
        Configured { address: Address::new("localhost", agent.address.port()), credentials: None };
    let preferred = Some(configured.address.clone());
    lab.discover(Settings { configured: vec![configured.clone()], preferred, ..settings() });
    let servers = lab.eventually(|servers| servers.iter().any(|server| server.sources.len() == 2)).await;
    assert_eq!(servers.len(), 1);
    assert_eq!(servers[0].sources, [Source::Configured, Source::Socket]);
    assert_eq!((servers[0].kind, &servers[0].address), (Kind::Web, &configured.address));
    assert!(servers[0].preferred && servers[0].process.is_some());
}

#[tokio::test]
async fn configured_urls_stay_apart_even_where_one_process_serves_both() {
    let mut lab = Lab::new();
    let (one, two) = (Running::new(Manner::Agent).await, Running::new(Manner::Agent).await);
    lab.show(&one, process(10, "opencode serve"));
    lab.listen(&two, 10);
    let both = vec![configured(one.address), configured(two.address)];
    lab.discover(Settings { configured: both, ..settings() });
    let servers = lab.eventually(|servers| servers.len() == 2).await;
    assert_eq!(servers[0].process, servers[1].process);
    assert_ne!(servers[0].id, servers[1].id);
}

#[tokio::test]
async fn a_server_with_a_password_is_locked_unless_the_default_opens_it() {
    let mut lab = Lab::new();
    let agent = Running::new(Manner::Password).await;
    lab.show(&agent, process(10, "opencode serve"));
    lab.discover(settings());
    lab.first_round().await;
    let server = lab.one().await;
    assert_eq!((server.state, &server.version), (State::Locked, &None));

    let mut lab = Lab::new();
    lab.show(&agent, process(10, "opencode serve"));
    let default_credentials = Some(Credentials::basic("x", "y"));
    lab.discover(Settings { default_credentials: default_credentials.clone(), ..settings() });
    let server = lab.one().await;
    assert_eq!((server.state, &server.credentials), (State::Up, &default_credentials));
}

#[tokio::test]
async fn ports_of_the_range_are_looked_at_whoever_listens_but_told_no_password() {
    let mut lab = Lab::new();
    let agent = Running::new(Manner::Agent).await;
    let guarded = Running::new(Manner::Password).await;
    lab.show(&agent, process(10, "docker-proxy"));
    lab.show(&guarded, process(11, "docker-proxy"));
    lab.discover(Settings {
        scan: false,
        ports: Some(1024..=65535),
        default_credentials: Some(Credentials::basic("x", "y")),
        ..settings()
    });
    lab.first_round().await;
    let servers = lab.eventually(|servers| servers.len() == 2).await;
    for server in servers {
        let locked = server.address.port == guarded.address.port();
        assert_eq!(server.state, if locked { State::Locked } else { State::Up });
        assert_eq!((&server.sources[..], server.process), (&[Source::Port][..], None));
    }
}

#[tokio::test]
async fn our_own_address_is_never_a_server() {
    let mut lab = Lab::new();
    let own = Running::new(Manner::Agent).await;
    lab.show(&own, process(10, "opencode serve"));
    let all = Some(1024..=65535);
    let named = Configured { address: Address::new("localhost", own.address.port()), credentials: None };
    lab.discover(Settings {
        own_address: ([0, 0, 0, 0], own.address.port()).into(),
        configured: vec![configured(own.address), named],
        ports: all,
        ..settings()
    });
    lab.first_round().await;
    lab.looks(3).await;
    assert!(own.asked().is_empty());
}
