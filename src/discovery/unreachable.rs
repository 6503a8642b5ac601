//! Agents that run but cannot be reached.

use crate::{
    domain::{ids::StoreKey, kind::Kind},
    machine::{Machine, Process},
    registry::{Registry, stores::StoreIdentity},
};

/// The agent processes of this machine that are no server we know and could own sessions: mostly terminals without a
/// port. Walks over processes, milliseconds: not for a worker thread.
pub fn unreachable(machine: &dyn Machine, registry: &Registry) -> Vec<Process> {
    let servers = registry.servers.now();
    let known = |process: &Process| {
        servers.iter().any(|server| {
            server.process.is_some_and(|known| (known.pid, known.started) == (process.pid, process.started))
        })
    };
    let mut agents = machine.agents();
    agents.retain(|process| owns_sessions(process.invocation().kind) && !known(process));
    agents
}

/// The ids of those that have `store` open.
pub fn unreachable_of(machine: &dyn Machine, registry: &Registry, store: StoreKey) -> Vec<u32> {
    let reads_it = |process: &Process| {
        process.store.as_ref().is_some_and(|file| {
            let identity = StoreIdentity::File { device: file.device, inode: file.inode };
            registry.stores.key(identity) == store
        })
    };
    unreachable(machine, registry)
        .iter()
        .filter(|process| reads_it(process))
        .map(|process| process.pid)
        .collect()
}

/// An attached terminal works on another process's server, and other commands run no turns.
fn owns_sessions(kind: Kind) -> bool {
    match kind {
        Kind::Serve | Kind::Web | Kind::Tui | Kind::Run | Kind::Acp => true,
        Kind::Attach | Kind::Other => false,
    }
}
