//! From a doubt to a server that is out, or to one that lives on.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{Report, Task};
use crate::{
    discovery::{
        Watcher, check,
        place::{Phase, Place},
    },
    domain::ids::ServerKey,
    registry::server::{Address, Server, ServerProcess},
};

impl Task {
    /// Looks whether doubted servers are still there.
    pub(super) fn check(&mut self, servers: BTreeSet<ServerKey>, watcher: &Arc<dyn Watcher>) {
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
    pub(super) fn is_displaced(&self, server: &Server) -> bool {
        let there = self.places.get(&server.address).and_then(|place| place.process.as_ref());
        match (there, server.process) {
            (Some(there), Some(own)) => (there.pid, there.started) != (own.pid, own.started),
            _ => false,
        }
    }

    /// Takes out a server that has gone.
    pub(super) fn depart(&mut self, key: ServerKey, why: &'static str, watcher: &Arc<dyn Watcher>) {
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

    /// Takes out a server that is about to be ended. Its socket is not looked at again for as long as it lives.
    pub(super) fn dismiss(&mut self, key: ServerKey, watcher: &Arc<dyn Watcher>) {
        let Some((server, news)) = self.registry.depart(key) else { return };
        tracing::info!(server = %server.id, address = %server.address, "server is being ended");
        let address = server.address.clone();
        watcher.departed(server, news);
        match self.places.get_mut(&address) {
            Some(place) if self.settings.scan && place.socket.is_some() => place.phase = Phase::Foreign,
            _ => drop(self.places.remove(&address)),
        }
    }

    /// Asks the other ways to a process again, now that the one in use has closed.
    pub(super) fn try_twins(&mut self, process: Option<ServerProcess>) {
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
}
