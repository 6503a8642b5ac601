//! A machine for tests, which has what the test gave it.

use std::{collections::HashMap, net::SocketAddr};

use parking_lot::Mutex;

use super::{Listener, Machine, MachineError, Process, SocketId, agent::looks_like_agent};

/// Starts empty, as user 1000; shared between the test and what it tests.
#[derive(Default)]
pub(crate) struct Scripted(Mutex<State>);

#[derive(Default)]
struct State {
    listeners: Vec<(Listener, u32)>,
    processes: HashMap<u32, Process>,
    peers: HashMap<SocketAddr, u32>,
    clients: HashMap<SocketAddr, u32>,
    walks: usize,
    looks: usize,
}

#[expect(dead_code, reason = "for the tests of other modules")]
impl Scripted {
    /// Adds or replaces a process.
    pub(crate) fn start(&self, process: Process) {
        self.0.lock().processes.insert(process.pid, process);
    }

    /// Ends a process and closes its sockets.
    pub(crate) fn end(&self, pid: u32) {
        let mut state = self.0.lock();
        state.processes.remove(&pid);
        state.listeners.retain(|(_, owner)| *owner != pid);
    }

    /// Opens a socket of process `pid`.
    pub(crate) fn listen(&self, pid: u32, listener: Listener) {
        self.0.lock().listeners.push((listener, pid));
    }

    /// Closes a socket.
    pub(crate) fn close(&self, socket: SocketId) {
        self.0.lock().listeners.retain(|(listener, _)| listener.socket != socket);
    }

    /// Says who is at `peer`.
    pub(crate) fn connect(&self, peer: SocketAddr, uid: u32) {
        self.0.lock().peers.insert(peer, uid);
    }

    /// Says which process is at `peer`.
    pub(crate) fn call_from(&self, peer: SocketAddr, pid: u32) {
        self.0.lock().clients.insert(peer, pid);
    }

    /// How often processes were walked.
    pub(crate) fn walks(&self) -> usize {
        self.0.lock().walks
    }

    /// How often the listening sockets were asked for.
    pub(crate) fn looks(&self) -> usize {
        self.0.lock().looks
    }
}

impl Machine for Scripted {
    fn boot_id(&self) -> &'static str {
        "scripted"
    }

    fn uid(&self) -> Option<u32> {
        Some(1000)
    }

    fn listeners(&self) -> Result<Vec<Listener>, MachineError> {
        let mut state = self.0.lock();
        state.looks += 1;
        Ok(state.listeners.iter().map(|(listener, _)| *listener).collect())
    }

    fn owners(&self, sockets: &[SocketId]) -> HashMap<SocketId, Process> {
        let mut state = self.0.lock();
        state.walks += 1;
        let state = &*state;
        let held = state.listeners.iter().filter(|(listener, _)| sockets.contains(&listener.socket));
        held.filter_map(|(listener, pid)| Some((listener.socket, state.processes.get(pid)?.clone())))
            .filter(|(_, process)| looks_like_agent(&process.name, &process.args))
            .collect()
    }

    fn listens(&self, pid: u32, address: SocketAddr) -> Option<SocketId> {
        let state = self.0.lock();
        let held = state.listeners.iter().find(|(listener, by)| *by == pid && listener.covers(address));
        held.map(|(listener, _)| listener.socket)
    }

    fn process(&self, pid: u32) -> Option<Process> {
        self.0.lock().processes.get(&pid).cloned()
    }

    fn alive(&self, pid: u32, started: u64) -> bool {
        self.process(pid).is_some_and(|process| process.started == started)
    }

    fn agents(&self) -> Vec<Process> {
        let state = self.0.lock();
        let agents =
            state.processes.values().filter(|process| looks_like_agent(&process.name, &process.args));
        let mut agents: Vec<Process> = agents.cloned().collect();
        agents.sort_by_key(|process| process.pid);
        agents
    }

    fn peer_uid(&self, _local: SocketAddr, peer: SocketAddr) -> Option<u32> {
        self.0.lock().peers.get(&peer).copied()
    }

    fn peer_agent(&self, _local: SocketAddr, peer: SocketAddr) -> Option<Process> {
        let state = self.0.lock();
        state.processes.get(state.clients.get(&peer)?).cloned()
    }

    fn tells_peers(&self) -> bool {
        true
    }

    fn holder(&self, address: SocketAddr) -> Option<Process> {
        let state = self.0.lock();
        let (_, pid) = state.listeners.iter().find(|(listener, _)| listener.covers(address))?;
        state.processes.get(pid).cloned()
    }
}
