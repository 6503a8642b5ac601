//! The loop: looks, asks, and keeps the registry's servers true.
//!
//! One task owns all state; what takes time runs beside it and reports back. A report that is no longer awaited (the
//! address went, another probe was started) is dropped.

use std::{
    collections::{BTreeSet, HashMap},
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Doubts, Settings, Watcher, check,
    identity::{self, host},
    introduce::Introducer,
    place::{Asking, Phase, Place},
    ports,
    probe::{Answer, Probe},
    sockets::Sockets,
};
use crate::{
    domain::{evidence::Evidence, ids::ServerKey, kind::Kind},
    machine::{Listener, Machine, Process, SocketId},
    opencode::{client::AgentClient, wire::Health},
    registry::{
        Registry,
        server::{Address, Credentials, Server, ServerProcess, Source, State},
    },
};

/// How many addresses are asked at once. A machine full of servers must not get all its questions in one instant.
const ASKED_AT_ONCE: usize = 16;

/// How long the first round may take at most: who asks whether we are ready is not kept waiting by one slow server.
const FIRST_ROUND: Duration = Duration::from_secs(3);

/// How often a server that wants a password, or a configured address where something else answers, is asked again.
const ASKED_AGAIN: Duration = Duration::from_secs(30);

/// How often the ports of the range are tried where the machine does not tell who listens.
const PORTS_AGAIN: Duration = Duration::from_secs(30);

/// What ran beside the loop and is done.
enum Report {
    /// The last part is only held, until the answer was acted on; see [`Task::first_look`].
    Answered {
        address: Address,
        number: u64,
        answer: Answer,
        _first_look: Option<mpsc::Sender<Infallible>>,
    },
    Checked {
        server: ServerKey,
        gone: Option<&'static str>,
    },
    OpenPorts(Vec<u16>),
    Done,
}

/// See the module.
pub(super) struct Task {
    settings: Settings,
    registry: Arc<Registry>,
    machine: Arc<dyn Machine>,
    client: AgentClient,
    doubts: Doubts,
    sockets: Sockets,
    places: HashMap<Address, Place>,
    beside: JoinSet<Report>,
    /// The servers that are looked at because of a doubt, and whether another doubt came meanwhile.
    checking: HashMap<ServerKey, bool>,
    turns: Arc<Semaphore>,
    numbers: u64,
    /// The machine's sockets could be listed at the last look.
    machine_tells: bool,
    ports_tried: Option<Instant>,
    first_round: watch::Sender<bool>,
    /// Held by every probe of the first look until its first answer, clear or not.
    first_look: Option<mpsc::Sender<Infallible>>,
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Task {
    pub(super) fn new(
        settings: Settings,
        registry: Arc<Registry>,
        machine: Arc<dyn Machine>,
        client: AgentClient,
        doubts: Doubts,
    ) -> Self {
        Self {
            settings,
            registry,
            machine,
            client,
            doubts,
            sockets: Sockets::default(),
            places: HashMap::new(),
            beside: JoinSet::new(),
            checking: HashMap::new(),
            turns: Arc::new(Semaphore::new(ASKED_AT_ONCE)),
            numbers: 0,
            machine_tells: true,
            ports_tried: None,
            first_round: watch::Sender::new(false),
            first_look: None,
        }
    }

    pub(super) fn first_round(&self) -> watch::Receiver<bool> {
        self.first_round.subscribe()
    }

    pub(super) async fn run(mut self, watcher: Arc<dyn Watcher>, stop: CancellationToken) {
        let mut tick = interval(self.settings.tick);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let doubts = self.doubts.clone();
        let (held, mut first_look) = mpsc::channel(1);
        self.first_look = Some(held);
        let mut first_round = std::pin::pin!(async move {
            // `None` once nobody holds it any more.
            let _ = timeout(FIRST_ROUND, first_look.recv()).await;
        });
        self.expect_configured();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {
                    let begun = Instant::now();
                    self.look().await;
                    watcher.looked(begun.elapsed());
                    self.first_look = None;
                }
                servers = doubts.next() => self.check(servers, &watcher),
                Some(report) = self.beside.join_next() => match report {
                    Ok(report) => self.hear(report, &watcher).await,
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => tracing::error!(%error, "a question of discovery failed"),
                },
                () = &mut first_round, if !*self.first_round.borrow() => {
                    self.first_round.send_replace(true);
                }
            }
        }
    }

    /// Makes a place of every configured address.
    fn expect_configured(&mut self) {
        for configured in self.settings.configured.clone() {
            if self.is_own(&configured.address) {
                tracing::warn!(address = %configured.address, "a configured server is this daemon itself; it is left out");
                continue;
            }
            let place = Place {
                sources: vec![Source::Configured],
                credentials: configured.credentials,
                socket: None,
                process: None,
                phase: Phase::Foreign,
            };
            self.places.insert(configured.address.clone(), place);
            self.probe(&configured.address, Duration::ZERO);
        }
    }

    /// Looks at the machine's sockets and acts on what differs.
    async fn look(&mut self) {
        let listeners = match self.machine.listeners() {
            Ok(listeners) => listeners,
            Err(error) => {
                if std::mem::replace(&mut self.machine_tells, false) && self.settings.scan {
                    tracing::warn!(%error, "servers that are not named cannot be found");
                }
                self.try_ports();
                return;
            }
        };
        self.machine_tells = true;
        let concerns = listeners.into_iter().filter(|listener| self.concerns(listener));
        let concerns: Vec<Listener> = concerns.collect();
        let difference = self.sockets.look(concerns);
        for listener in difference.missed {
            if let Some(server) = self.places.get(&self.address_of(&listener)).and_then(Place::server) {
                self.doubts.doubt(server);
            }
        }
        for listener in difference.vanished {
            self.closed(&listener);
        }
        if difference.appeared.is_empty() {
            return;
        }
        let sockets: Vec<SocketId> = difference.appeared.iter().map(|listener| listener.socket).collect();
        let machine = Arc::clone(&self.machine);
        let owners = tokio::task::spawn_blocking(move || machine.owners(&sockets)).await;
        let mut owners = owners.unwrap_or_default();
        for listener in difference.appeared {
            self.opened(&listener, owners.remove(&listener.socket));
        }
    }

    /// Whether a socket is anything that the settings let us look at.
    fn concerns(&self, listener: &Listener) -> bool {
        let port = listener.address.port();
        let (bound, own) = (listener.address.ip(), self.settings.own_address);
        let own = port == own.port() && (reaches(bound, own.ip()) || reaches(own.ip(), bound));
        !own && (self.settings.scan || self.in_range(port) || self.configured_at(listener).is_some())
    }

    fn in_range(&self, port: u16) -> bool {
        self.settings.ports.as_ref().is_some_and(|ports| ports.contains(&port))
    }

    /// The configured address that leads to a socket, if one does.
    fn configured_at(&self, listener: &Listener) -> Option<&Address> {
        let leads = |address: &&Address| {
            socket_addresses(address).iter().any(|address| {
                address.port() == listener.address.port() && reaches(listener.address.ip(), address.ip())
            })
        };
        self.settings.configured.iter().map(|configured| &configured.address).find(leads)
    }

    fn address_of(&self, listener: &Listener) -> Address {
        self.configured_at(listener).cloned().unwrap_or_else(|| listener.connect_address().into())
    }

    fn is_own(&self, address: &Address) -> bool {
        let own = self.settings.own_address;
        socket_addresses(address)
            .iter()
            .any(|address| address.port() == own.port() && reaches(own.ip(), address.ip()))
    }

    /// A socket was opened.
    fn opened(&mut self, listener: &Listener, process: Option<Process>) {
        let source = match &process {
            Some(_) if self.settings.scan => Some(Source::Socket),
            _ if self.in_range(listener.address.port()) => Some(Source::Port),
            _ => None,
        };
        let address = self.address_of(listener);
        let Some(place) = self.places.get_mut(&address) else {
            if let Some(source) = source {
                let place = Place {
                    sources: vec![source],
                    credentials: None,
                    socket: Some(listener.socket),
                    process,
                    phase: Phase::Foreign,
                };
                self.places.insert(address.clone(), place);
                self.probe(&address, Duration::ZERO);
            }
            return;
        };
        let new_source = source.is_some_and(|source| place.reported_by(source));
        place.socket = Some(listener.socket);
        place.process = process;
        match place.server() {
            // Whether it is still the server we know, or another in its place, a look at the process tells.
            Some(server) => {
                if new_source {
                    let sources = place.sources.clone();
                    self.registry.servers.change(server, |server| server.sources = sources);
                }
                self.doubts.doubt(server);
            }
            None => self.probe(&address, Duration::ZERO),
        }
    }

    /// A socket was closed.
    fn closed(&mut self, listener: &Listener) {
        let address = self.address_of(listener);
        let Some(place) = self.places.get_mut(&address) else { return };
        if place.socket != Some(listener.socket) {
            return;
        }
        place.socket = None;
        place.process = None;
        place.sources.retain(|source| *source == Source::Configured);
        match (place.server(), place.configured()) {
            (Some(server), _) => self.doubts.doubt(server),
            (None, true) => self.probe(&address, Duration::ZERO),
            (None, false) => {
                self.places.remove(&address);
            }
        }
    }

    /// Starts to ask an address after `pause`, instead of what was asked before.
    fn probe(&mut self, address: &Address, pause: Duration) {
        let Some(place) = self.places.get_mut(address) else { return };
        self.numbers += 1;
        let number = self.numbers;
        let vouched = place.process.is_some() || place.configured();
        let probe = Probe {
            client: self.client.clone(),
            address: address.clone(),
            credentials: place.credentials.clone(),
            // Whoever listens on a port of the range may be anybody, and is told no password.
            fallback: self
                .settings
                .default_credentials
                .clone()
                .filter(|_| vouched && place.credentials.is_none()),
            vouched,
            turns: Arc::clone(&self.turns),
        };
        let mut first_look = self.first_look.clone();
        let address = address.clone();
        let abort = self.beside.spawn(async move {
            sleep(pause).await;
            let mut told = false;
            let answer = probe
                .run(|error| {
                    first_look = None;
                    if !std::mem::replace(&mut told, true) {
                        tracing::debug!(%address, %error, "no answer yet");
                    }
                })
                .await;
            Report::Answered { address: address.clone(), number, answer, _first_look: first_look }
        });
        let asking = Asking { number, abort };
        place.phase = match place.phase {
            Phase::Locked(server, _) => Phase::Locked(server, asking),
            _ => Phase::Probing(asking),
        };
    }

    async fn hear(&mut self, report: Report, watcher: &Arc<dyn Watcher>) {
        match report {
            Report::Answered { address, number, answer, _first_look } => {
                if self.places.get(&address).and_then(Place::asking) == Some(number) {
                    self.answered(&address, answer, watcher).await;
                }
            }
            Report::Checked { server, gone } => {
                let doubted_again = self.checking.remove(&server) == Some(true);
                if let Some(why) = gone {
                    self.depart(server, why, watcher);
                } else if doubted_again {
                    self.doubts.doubt(server);
                }
            }
            Report::OpenPorts(ports) => self.found_open(&ports),
            Report::Done => {}
        }
    }

    async fn answered(&mut self, address: &Address, answer: Answer, watcher: &Arc<dyn Watcher>) {
        let Some(place) = self.places.get(address) else { return };
        let known = place.server();
        match (answer, known) {
            (Answer::Agent(health, credentials), None) => {
                self.arrive(address, State::Up, Some(health), credentials, watcher).await;
            }
            (Answer::Agent(health, credentials), Some(server)) => {
                self.unlock(address, server, health, credentials, watcher);
            }
            (Answer::Locked, None) => {
                let credentials = place.credentials.clone();
                self.arrive(address, State::Locked, None, credentials, watcher).await;
            }
            (Answer::Locked, Some(_)) => self.probe(address, ASKED_AGAIN),
            (Answer::Foreign(what), known) => {
                if let Some(server) = known {
                    self.doubts.doubt(server);
                    self.probe(address, ASKED_AGAIN);
                } else if place.configured() {
                    tracing::warn!(%address, what, "a configured server is not an OpenCode server");
                    self.probe(address, ASKED_AGAIN);
                } else {
                    tracing::debug!(%address, what, "not an OpenCode server");
                    self.become_of(address, Phase::Foreign);
                }
            }
        }
    }

    fn become_of(&mut self, address: &Address, phase: Phase) {
        if let Some(place) = self.places.get_mut(address) {
            place.phase = phase;
        }
    }

    /// Takes in the server at `address`.
    async fn arrive(
        &mut self,
        address: &Address,
        state: State,
        health: Option<Health>,
        credentials: Option<Credentials>,
        watcher: &Arc<dyn Watcher>,
    ) {
        let process = self.process_at(address).await;
        let Some(place) = self.places.get(address) else { return };
        let process_of = |process: &Process| ServerProcess {
            pid: process.pid,
            started: process.started,
            started_ms: self.machine.started_ms(process.started),
        };
        let server_process = process.as_ref().map(process_of);
        if !place.configured() && server_process.is_some_and(|process| self.is_served(process)) {
            self.become_of(address, Phase::Twin);
            return;
        }
        let invocation = process.as_ref().map(Process::invocation);
        let cwd = process.as_ref().and_then(|process| process.cwd.as_ref());
        let directory = cwd.and_then(|cwd| cwd.to_str()).map(Arc::from);
        let store = self.registry.stores.key(identity::store_now(process.as_ref(), address));
        let arrived = self.registry.arrive(|key| Server {
            key,
            id: identity::server_id(self.machine.boot_id(), process.as_ref(), address),
            address: address.clone(),
            credentials,
            kind: invocation.as_ref().map_or(Kind::Other, |invocation| invocation.kind),
            process: server_process,
            store,
            directory,
            worktree: None,
            project: None,
            version: health.map(|health| health.version),
            state,
            since_ms: self.registry.clock.now_ms(),
            sources: place.sources.clone(),
            preferred: self.settings.preferred.as_ref() == Some(address),
            directories: Arc::default(),
        });
        let Some(server) = arrived else {
            self.become_of(address, Phase::Twin);
            return;
        };
        if let Some(directory) = &server.directory {
            server.directories.note(directory);
        }
        if let Some(session) = invocation.and_then(|invocation| invocation.session) {
            // Too weak to take a session from an owner, so nobody needs to hear of it.
            self.registry.claim(&server, &session, Evidence::StartedWith);
        }
        tracing::info!(
            server = %server.id,
            address = %server.address,
            kind = %server.kind,
            directory = server.directory.as_deref(),
            version = server.version.as_deref(),
            state = server.state.as_str(),
            "server came"
        );
        watcher.arrived(Arc::clone(&server));
        self.become_of(address, Phase::Known(server.key));
        if state == State::Locked {
            self.wait_for_password(address, server.key);
        } else {
            self.introduce(server.key, watcher);
        }
    }

    fn wait_for_password(&mut self, address: &Address, server: ServerKey) {
        self.probe(address, ASKED_AGAIN);
        if let Some(place) = self.places.get_mut(address)
            && let Phase::Probing(asking) = std::mem::replace(&mut place.phase, Phase::Foreign)
        {
            place.phase = Phase::Locked(server, asking);
        }
    }

    /// A server that wanted a password answers now.
    fn unlock(
        &mut self,
        address: &Address,
        server: ServerKey,
        health: Health,
        credentials: Option<Credentials>,
        watcher: &Arc<dyn Watcher>,
    ) {
        self.become_of(address, Phase::Known(server));
        let changed = self.registry.servers.change(server, |server| {
            server.state = State::Up;
            server.version = Some(health.version);
            server.credentials = credentials;
        });
        if let Some(changed) = changed {
            tracing::info!(server = %changed.id, address = %changed.address, "server answers now");
            watcher.changed(changed);
            self.introduce(server, watcher);
        }
    }

    fn introduce(&mut self, server: ServerKey, watcher: &Arc<dyn Watcher>) {
        let introducer = Introducer {
            registry: Arc::clone(&self.registry),
            machine: Arc::clone(&self.machine),
            client: self.client.clone(),
            watcher: Arc::clone(watcher),
        };
        self.beside.spawn(async move {
            introducer.introduce(server).await;
            Report::Done
        });
    }

    /// The agent that listens at `address`, as it is now.
    async fn process_at(&self, address: &Address) -> Option<Process> {
        let known = self.places.get(address)?.process.clone();
        let here = socket_addresses(address);
        let machine = Arc::clone(&self.machine);
        let found = tokio::task::spawn_blocking(move || {
            if let Some(known) = known {
                let still = |process: &Process| process.started == known.started;
                return Some(machine.process(known.pid).filter(still).unwrap_or(known));
            }
            let leads = |listener: &Listener| {
                here.iter().any(|address| {
                    address.port() == listener.address.port() && reaches(listener.address.ip(), address.ip())
                })
            };
            let listener = machine.listeners().ok()?.into_iter().find(leads)?;
            machine.owner(listener.socket)
        });
        found.await.ok().flatten()
    }

    /// Whether a server of this very process is known.
    fn is_served(&self, process: ServerProcess) -> bool {
        self.registry.servers.now().iter().any(|server| {
            server.process.is_some_and(|known| known.pid == process.pid && known.started == process.started)
        })
    }

    /// Looks whether doubted servers are still there.
    fn check(&mut self, servers: BTreeSet<ServerKey>, watcher: &Arc<dyn Watcher>) {
        for key in servers {
            let Some(server) = self.registry.servers.get(key) else { continue };
            if self.is_displaced(&server) {
                self.depart(key, "another process has its address", watcher);
                continue;
            }
            if let Some(doubted_again) = self.checking.get_mut(&key) {
                *doubted_again = true;
                continue;
            }
            self.checking.insert(key, false);
            let machine = Arc::clone(&self.machine);
            let connect_timeout = self.settings.connect_timeout;
            self.beside.spawn(async move {
                let gone = check::gone(&*machine, &server, connect_timeout).await;
                Report::Checked { server: key, gone }
            });
        }
    }

    /// Whether the machine shows another process at a server's address than the server's own.
    fn is_displaced(&self, server: &Server) -> bool {
        let there = self.places.get(&server.address).and_then(|place| place.process.as_ref());
        match (there, server.process) {
            (Some(there), Some(own)) => (there.pid, there.started) != (own.pid, own.started),
            _ => false,
        }
    }

    /// Takes out a server that has gone.
    fn depart(&mut self, key: ServerKey, why: &'static str, watcher: &Arc<dyn Watcher>) {
        let Some((server, news)) = self.registry.depart(key) else { return };
        tracing::info!(server = %server.id, address = %server.address, why, "server went");
        let address = server.address.clone();
        let process = server.process;
        watcher.departed(server, news);
        self.try_twins(process);
        let Some(place) = self.places.get_mut(&address) else { return };
        place.phase = Phase::Foreign;
        let other = place.process.as_ref().map(|process| (process.pid, process.started))
            != process.map(|process| (process.pid, process.started));
        if place.configured() || place.socket.is_some() && other {
            if !other {
                place.process = None;
            }
            self.probe(&address, Duration::ZERO);
        } else {
            // If its socket is still there, somebody else holds it: the next look tells who.
            if let Some(socket) = place.socket {
                self.sockets.forget(socket);
            }
            self.places.remove(&address);
        }
    }

    /// Asks the other ways to a process again, now that the one in use has closed.
    fn try_twins(&mut self, process: Option<ServerProcess>) {
        let Some(process) = process else { return };
        let of_it = |place: &Place| {
            let known = place.process.as_ref();
            matches!(place.phase, Phase::Twin)
                && known.is_some_and(|known| known.pid == process.pid && known.started == process.started)
        };
        let twins: Vec<Address> = self
            .places
            .iter()
            .filter(|(_, place)| of_it(place))
            .map(|(address, _)| address.clone())
            .collect();
        for twin in twins {
            self.probe(&twin, Duration::ZERO);
        }
    }

    /// Tries the ports of the range one by one, where the machine does not tell.
    fn try_ports(&mut self) {
        let Some(range) = self.settings.ports.clone() else { return };
        if self.ports_tried.is_some_and(|tried| tried.elapsed() < PORTS_AGAIN) {
            return;
        }
        self.ports_tried = Some(Instant::now());
        self.beside.spawn(async move { Report::OpenPorts(ports::open(range).await) });
    }

    fn found_open(&mut self, ports: &[u16]) {
        for port in ports {
            let address = Address::new("127.0.0.1", *port);
            if self.is_own(&address) {
                continue;
            }
            if let Some(known) = self.places.get(&address) {
                // Nothing tells whether it is still the same program that listens there.
                if matches!(known.phase, Phase::Foreign) {
                    self.probe(&address, Duration::ZERO);
                }
                continue;
            }
            let place = Place {
                sources: vec![Source::Port],
                credentials: None,
                socket: None,
                process: None,
                phase: Phase::Foreign,
            };
            self.places.insert(address.clone(), place);
            self.probe(&address, Duration::ZERO);
        }
    }
}

/// Whether a socket bound to `bound` takes connections made to `asked`.
fn reaches(bound: IpAddr, asked: IpAddr) -> bool {
    let (bound, asked) = (bound.to_canonical(), asked.to_canonical());
    match bound {
        _ if bound == asked => true,
        // Whether `::` takes IPv4 as well is a setting of the socket; servers of this kind leave it at yes.
        IpAddr::V6(bound) => bound.is_unspecified(),
        IpAddr::V4(bound) => bound.is_unspecified() && asked.is_ipv4(),
    }
}

/// What an address means to the machine, as far as no name has to be resolved for that.
fn socket_addresses(address: &Address) -> Vec<SocketAddr> {
    let host = host(address);
    if host.eq_ignore_ascii_case("localhost") {
        return vec![([127, 0, 0, 1], address.port).into(), ([0, 0, 0, 0, 0, 0, 0, 1], address.port).into()];
    }
    host.parse().map(|ip: IpAddr| SocketAddr::new(ip, address.port)).into_iter().collect()
}
