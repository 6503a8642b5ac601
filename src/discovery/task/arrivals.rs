//! From an address that answered to a server that the registry has.

use std::sync::Arc;

use super::{ASKED_AGAIN, Report, Task, reaches, socket_addresses};
use crate::{
    discovery::{
        Watcher,
        identity::{self},
        introduce::Introducer,
        place::Phase,
        probe::Answer,
    },
    domain::{evidence::Evidence, ids::ServerKey, kind::Kind},
    machine::{Listener, Process},
    opencode::wire::Health,
    registry::{
        server::{Address, Credentials, Server, ServerProcess, State},
        usage::Usage,
    },
};

/// A server that is about to be taken in, as far as its address does not tell.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) process: Option<Process>,
    pub(super) state: State,
    pub(super) version: Option<Arc<str>>,
    pub(super) credentials: Option<Credentials>,
    pub(super) kind: Kind,
    pub(super) directory: Option<Arc<str>>,
    pub(super) worktree: Option<Arc<str>>,
    pub(super) plugin: bool,
    pub(super) reports_screen: bool,
    pub(super) usage: Option<Arc<Usage>>,
}

impl Newcomer {
    /// What a process shows from outside.
    pub(super) fn of(process: Option<Process>) -> Self {
        let cwd = process.as_ref().and_then(|process| process.cwd.as_ref());
        Self {
            state: State::Up,
            version: None,
            credentials: None,
            kind: process.as_ref().map_or(Kind::Other, |process| process.invocation().kind),
            directory: cwd.and_then(|cwd| cwd.to_str()).map(Arc::from),
            worktree: None,
            plugin: false,
            reports_screen: false,
            usage: None,
            process,
        }
    }
}

impl Task {
    pub(super) async fn answered(&mut self, address: &Address, answer: Answer, watcher: &Arc<dyn Watcher>) {
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
            // A registration comes by itself; till then it is expected, as any process that does not answer yet.
            (Answer::Unregistered, None) => self.become_of(address, Phase::Foreign),
            (Answer::Locked | Answer::Unregistered, Some(_)) => self.probe(address, ASKED_AGAIN),
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

    pub(super) fn become_of(&mut self, address: &Address, phase: Phase) {
        if let Some(place) = self.places.get_mut(address) {
            place.phase = phase;
        }
    }

    /// Takes in the server that answered at `address`.
    pub(super) async fn arrive(
        &mut self,
        address: &Address,
        state: State,
        health: Option<Health>,
        credentials: Option<Credentials>,
        watcher: &Arc<dyn Watcher>,
    ) {
        let process = self.process_at(address).await;
        let Some(place) = self.places.get(address) else { return };
        let configured = place.configured();
        let newcomer = Newcomer {
            state,
            version: health.map(|health| health.version),
            credentials,
            ..Newcomer::of(process)
        };
        let served = newcomer.process.as_ref().is_some_and(|process| self.is_served(self.named(process)));
        if !configured && served || self.take_in(address, newcomer, watcher).is_none() {
            self.become_of(address, Phase::Twin);
        }
    }

    /// Adds a server at the place `address`. `None` if it is known already.
    pub(super) fn take_in(
        &mut self,
        address: &Address,
        newcomer: Newcomer,
        watcher: &Arc<dyn Watcher>,
    ) -> Option<Arc<Server>> {
        let place = self.places.get(address)?;
        let process = newcomer.process.as_ref();
        let store = self.registry.stores.key(identity::store_now(process, address));
        let server = self.registry.arrive(|key| Server {
            key,
            id: identity::server_id(self.machine.boot_id(), process, address),
            address: address.clone(),
            credentials: newcomer.credentials,
            kind: newcomer.kind,
            process: process.map(|process| self.named(process)),
            store,
            directory: newcomer.directory,
            worktree: newcomer.worktree,
            project: None,
            version: newcomer.version,
            state: newcomer.state,
            since_ms: self.registry.clock.now_ms(),
            sources: place.sources.clone(),
            preferred: self.settings.preferred.as_ref() == Some(address),
            plugin: newcomer.plugin,
            reports_screen: newcomer.reports_screen,
            directories: Arc::default(),
            usage: newcomer.usage,
        })?;
        if let Some(directory) = &server.directory {
            server.directories.note(directory);
        }
        if let Some(session) = process.and_then(|process| process.invocation().session) {
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
        if server.state == State::Locked {
            self.wait_for_password(address, server.key);
        } else {
            self.introduce(server.key, watcher);
        }
        Some(server)
    }

    /// A process as servers name it.
    pub(super) fn named(&self, process: &Process) -> ServerProcess {
        let started_ms = self.machine.started_ms(process.started);
        ServerProcess { pid: process.pid, started: process.started, started_ms }
    }

    pub(super) fn wait_for_password(&mut self, address: &Address, server: ServerKey) {
        self.probe(address, ASKED_AGAIN);
        if let Some(place) = self.places.get_mut(address)
            && let Phase::Probing(asking) = std::mem::replace(&mut place.phase, Phase::Foreign)
        {
            place.phase = Phase::Locked(server, asking);
        }
    }

    /// A server that wanted a password answers now.
    pub(super) fn unlock(
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

    pub(super) fn introduce(&mut self, server: ServerKey, watcher: &Arc<dyn Watcher>) {
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
    pub(super) async fn process_at(&self, address: &Address) -> Option<Process> {
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
    pub(super) fn is_served(&self, process: ServerProcess) -> bool {
        self.registry.servers.now().iter().any(|server| {
            server.process.is_some_and(|known| known.pid == process.pid && known.started == process.started)
        })
    }
}
