//! Which addresses there are: what the machine's sockets, the configuration and the port range report.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{PORTS_AGAIN, Report, Task, reaches, socket_addresses};
use crate::{
    discovery::{
        identity,
        place::{Asking, Phase, Place},
        ports,
        probe::Probe,
    },
    machine::{Listener, Process, SocketId},
    registry::server::{Address, Source},
};

impl Task {
    /// Makes a place of every configured address.
    pub(super) fn expect_configured(&mut self) {
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
    pub(super) async fn look(&mut self) {
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
    pub(super) fn concerns(&self, listener: &Listener) -> bool {
        let port = listener.address.port();
        let (bound, own) = (listener.address.ip(), self.settings.own_address);
        let own = port == own.port() && (reaches(bound, own.ip()) || reaches(own.ip(), bound));
        !own && (self.may_look_at(listener) || self.configured_at(listener).is_some())
    }

    /// Whether the settings let us look at a socket that nobody named. One of another user is nobody's server here: who
    /// runs it could read what is sent there. Root forwards ports for containers, so the range takes those.
    fn may_look_at(&self, listener: &Listener) -> bool {
        let foreign = listener.is_foreign(self.machine.uid());
        let in_range = self.in_range(listener.address.port());
        self.settings.scan && !foreign || in_range && (!foreign || listener.uid == Some(0))
    }

    pub(super) fn in_range(&self, port: u16) -> bool {
        self.settings.ports.as_ref().is_some_and(|ports| ports.contains(&port))
    }

    /// The configured address that leads to a socket, if one does.
    pub(super) fn configured_at(&self, listener: &Listener) -> Option<&Address> {
        // Ports first: this is asked of every listening socket of the machine at every look.
        let leads = |address: &&Address| {
            address.port == listener.address.port()
                && socket_addresses(address).iter().any(|at| reaches(listener.address.ip(), at.ip()))
        };
        self.settings.configured.iter().map(|configured| &configured.address).find(leads)
    }

    pub(super) fn address_of(&self, listener: &Listener) -> Address {
        self.configured_at(listener).cloned().unwrap_or_else(|| listener.connect_address().into())
    }

    pub(super) fn is_own(&self, address: &Address) -> bool {
        let own = self.settings.own_address;
        socket_addresses(address)
            .iter()
            .any(|address| address.port() == own.port() && reaches(own.ip(), address.ip()))
    }

    /// A socket was opened.
    pub(super) fn opened(&mut self, listener: &Listener, process: Option<Process>) {
        let source = match &process {
            Some(_) if self.settings.scan => Some(Source::Socket),
            _ if self.in_range(listener.address.port()) => Some(Source::Port),
            _ => None,
        };
        let address = self.address_of(listener);
        if process.is_some() {
            self.registry.expect(identity::server_id(self.machine.boot_id(), process.as_ref(), &address));
        }
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
        // One that registered is known by its own word, even if it does not look like an agent.
        if process.is_some() || !place.sources.contains(&Source::Registration) {
            place.process = process;
        }
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
    pub(super) fn closed(&mut self, listener: &Listener) {
        let address = self.address_of(listener);
        let Some(place) = self.places.get_mut(&address) else { return };
        if place.socket != Some(listener.socket) {
            return;
        }
        place.socket = None;
        if let Some(process) = place.process.take() {
            let id = identity::server_id(self.machine.boot_id(), Some(&process), &address);
            self.registry.expect_no_more(&id);
        }
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
    pub(super) fn probe(&mut self, address: &Address, pause: Duration) {
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

    /// Tries the ports of the range one by one, where the machine does not tell.
    pub(super) fn try_ports(&mut self) {
        let Some(range) = self.settings.ports.clone() else { return };
        if self.ports_tried.is_some_and(|tried| tried.elapsed() < PORTS_AGAIN) {
            return;
        }
        self.ports_tried = Some(Instant::now());
        self.beside.spawn(async move { Report::OpenPorts(ports::open(range).await) });
    }

    pub(super) fn found_open(&mut self, ports: &[u16]) {
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
