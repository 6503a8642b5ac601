//! One address that a source has reported, and what became of it.

use tokio::task::AbortHandle;

use crate::{
    domain::ids::ServerKey,
    machine::{Process, SocketId},
    registry::server::{Credentials, Source},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Place {
    /// Who reported it, each once.
    pub(super) sources: Vec<Source>,
    /// What the configuration gives for it.
    pub(super) credentials: Option<Credentials>,
    /// The socket that listens there, where the machine shows it.
    pub(super) socket: Option<SocketId>,
    /// The agent that holds the socket.
    pub(super) process: Option<Process>,
    pub(super) phase: Phase,
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Phase {
    /// It is being asked.
    Probing(Asking),
    /// It is no agent; remembered as long as the socket lives.
    Foreign,
    /// It is another way to a server that is known already.
    Twin,
    /// It is this server.
    Known(ServerKey),
    /// It is this server, but wants a password; asked again from time to time.
    Locked(ServerKey, Asking),
}

/// A probe that runs. Only the report with its number counts; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) number: u64,
    pub(super) abort: AbortHandle,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

impl Place {
    /// The server it is.
    pub(super) fn server(&self) -> Option<ServerKey> {
        match self.phase {
            Phase::Known(server) | Phase::Locked(server, _) => Some(server),
            Phase::Probing(_) | Phase::Foreign | Phase::Twin => None,
        }
    }

    /// The number of the probe that runs.
    pub(super) fn asking(&self) -> Option<u64> {
        match &self.phase {
            Phase::Probing(asking) | Phase::Locked(_, asking) => Some(asking.number),
            Phase::Known(_) | Phase::Foreign | Phase::Twin => None,
        }
    }

    /// Whether the configuration names it.
    pub(super) fn configured(&self) -> bool {
        self.sources.contains(&Source::Configured)
    }

    /// Adds a source. Tells whether it is new.
    pub(super) fn reported_by(&mut self, source: Source) -> bool {
        let new = !self.sources.contains(&source);
        if new {
            self.sources.push(source);
        }
        new
    }
}
