//! Servers that made themselves known: new ones, and those that were sighted before.
//!
//! What registers is what a scan would find, and often has found: a plugin's listener before it registered looks like a
//! locked server. So a registration adds to the place at its address, and one process stays one server.

use std::sync::Arc;

use super::{Task, arrivals::Newcomer};
use crate::{
    discovery::{
        Registrant, Watcher,
        door::Call,
        place::{Phase, Place},
    },
    domain::ids::ServerKey,
    machine::Listener,
    registry::server::{Address, Server, Source, State},
};

impl Task {
    pub(super) fn take_call(&mut self, call: Call, watcher: &Arc<dyn Watcher>) {
        match call {
            Call::Register(registrant, answer) => {
                if let Some(server) = self.register(*registrant, watcher) {
                    // Who asked may have gone; the server has come all the same.
                    let _ = answer.send(server);
                }
            }
            Call::Leave { server, farewell } => self.leave(server, farewell, watcher),
            Call::Dismiss(server, answer) => {
                self.dismiss(server, watcher);
                let _ = answer.send(());
            }
        }
    }

    fn register(&mut self, registrant: Registrant, watcher: &Arc<dyn Watcher>) -> Option<Arc<Server>> {
        let address = self.place_of(&registrant);
        if let Some(known) = self.same_process_elsewhere(&registrant, &address) {
            if known.state != State::Locked {
                return self.confirm_elsewhere(&known, &registrant, &address, watcher);
            }
            self.depart(known.key, "its process registered another address", watcher);
        }
        let place = self.places.entry(address.clone()).or_insert_with(|| Place {
            sources: Vec::new(),
            credentials: None,
            socket: None,
            process: None,
            phase: Phase::Foreign,
        });
        if let Some(server) = place.server() {
            let known = self.registry.servers.get(server).and_then(|server| server.process);
            let own = registrant.process.as_ref().map(|process| (process.pid, process.started));
            if own.is_some() && known.is_some_and(|known| Some((known.pid, known.started)) != own) {
                self.depart(server, "another process registered its address", watcher);
                return self.register(registrant, watcher);
            }
            return self.confirm(server, &address, registrant, watcher);
        }
        place.reported_by(registrant.source);
        place.credentials = registrant.credentials.clone().or(place.credentials.take());
        place.process.clone_from(&registrant.process);
        place.socket = place.socket.or(registrant.socket);
        // What was being asked is known now.
        place.phase = Phase::Foreign;
        let outside = Newcomer::of(registrant.process);
        let newcomer = Newcomer {
            state: if registrant.health.is_some() { State::Up } else { State::Locked },
            version: registrant.health.map(|health| health.version),
            credentials: registrant.credentials,
            kind: registrant.kind,
            directory: registrant.directory.or(outside.directory),
            worktree: registrant.worktree,
            plugin: registrant.plugin,
            reports_screen: registrant.reports_screen,
            usage: registrant.usage,
            process: outside.process,
        };
        self.take_in(&address, newcomer, watcher)
    }

    /// The address under which a scan would find it.
    fn place_of(&self, registrant: &Registrant) -> Address {
        let socket = registrant.address.authority.parse().ok();
        match (socket, registrant.socket) {
            (Some(address), Some(socket)) => self.address_of(&Listener { address, socket, uid: None }),
            _ => registrant.address.clone(),
        }
    }

    /// The server of this very process, where it is known under another address.
    fn same_process_elsewhere(&self, registrant: &Registrant, address: &Address) -> Option<Arc<Server>> {
        let process = self.named(registrant.process.as_ref()?);
        let servers = self.registry.servers.now();
        let same = |server: &&Arc<Server>| {
            server.process.is_some_and(|known| (known.pid, known.started) == (process.pid, process.started))
        };
        if servers.iter().filter(same).any(|server| server.address == *address) {
            return None;
        }
        servers.iter().find(same).cloned()
    }

    /// It is known under another address, which stays its own.
    fn confirm_elsewhere(
        &mut self,
        known: &Server,
        registrant: &Registrant,
        address: &Address,
        watcher: &Arc<dyn Watcher>,
    ) -> Option<Arc<Server>> {
        let place = self.places.entry(address.clone()).or_insert_with(|| Place {
            sources: Vec::new(),
            credentials: None,
            socket: registrant.socket,
            process: None,
            phase: Phase::Twin,
        });
        place.phase = Phase::Twin;
        place.process.clone_from(&registrant.process);
        let own_address = known.address.clone();
        let sources = self.now_reported(&own_address, registrant.source);
        let changed = self.registry.servers.change(known.key, |server| {
            server.sources = sources.unwrap_or_else(|| server.sources.clone());
            server.kind = registrant.kind;
        })?;
        watcher.changed(Arc::clone(&changed));
        Some(changed)
    }

    /// It is known at this address.
    fn confirm(
        &mut self,
        server: ServerKey,
        address: &Address,
        registrant: Registrant,
        watcher: &Arc<dyn Watcher>,
    ) -> Option<Arc<Server>> {
        let was_locked =
            self.registry.servers.get(server).is_some_and(|server| server.state == State::Locked);
        let unlocked = was_locked && registrant.health.is_some();
        let sources = self.now_reported(address, registrant.source)?;
        let place = self.places.get_mut(address)?;
        place.credentials = registrant.credentials.clone().or(place.credentials.take());
        if registrant.process.is_some() {
            place.process = registrant.process;
        }
        if unlocked {
            place.phase = Phase::Known(server);
        }
        let changed = self.registry.servers.change(server, |server| {
            server.sources = sources;
            server.kind = registrant.kind;
            server.plugin = registrant.plugin;
            server.usage = registrant.usage.or(server.usage.take());
            server.credentials = registrant.credentials.or(server.credentials.take());
            server.directory = registrant.directory.or(server.directory.take());
            server.worktree = registrant.worktree.or(server.worktree.take());
            if let Some(health) = registrant.health {
                server.version = Some(health.version);
                if unlocked {
                    server.state = State::Up;
                }
            }
        })?;
        if let Some(directory) = &changed.directory {
            changed.directories.note(directory);
        }
        if unlocked {
            tracing::info!(server = %changed.id, address = %changed.address, "server answers now");
            self.introduce(server, watcher);
        }
        watcher.changed(Arc::clone(&changed));
        Some(changed)
    }

    fn now_reported(&mut self, address: &Address, source: Source) -> Option<Vec<Source>> {
        let place = self.places.get_mut(address)?;
        place.reported_by(source);
        Some(place.sources.clone())
    }

    fn leave(&mut self, key: ServerKey, farewell: bool, watcher: &Arc<dyn Watcher>) {
        let Some(server) = self.registry.servers.get(key) else { return };
        let Some(place) = self.places.get_mut(&server.address) else { return };
        place.sources.retain(|source| *source != Source::Registration);
        let sources = place.sources.clone();
        let nobody_else = sources.is_empty();
        if farewell && server.plugin || nobody_else && server.process.is_none() {
            self.depart(key, "its registration has ended", watcher);
            return;
        }
        if let Some(changed) = self.registry.servers.change(key, |server| server.sources = sources) {
            watcher.changed(changed);
        }
        self.doubts.doubt(key);
    }
}
