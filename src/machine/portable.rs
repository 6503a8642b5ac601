//! The machine through libraries that know many systems: what macOS and Windows get, and in tests Linux too.
//!
//! Less is known than on Linux: no store file, no user of a peer. Listing the sockets asks about every process, so it
//! costs milliseconds rather than microseconds.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    net::SocketAddr,
};

use listeners::{Protocol, SocketState};
use sysinfo::{Pid, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System, Uid, UpdateKind};

use super::{Listener, Machine, MachineError, Process, SocketId, agent::looks_like_agent, without_wrappers};

/// In place of the number of a boot: start times are wall-clock times here and tell boots apart by themselves, while
/// the time of boot that these systems give moves with every correction of the clock.
const BOOT_ID: &str = "wall-clock";

/// See the module.
pub(super) struct Portable {
    user: Option<Uid>,
}

impl Portable {
    pub(super) fn new() -> Self {
        let own = sysinfo::get_current_pid().ok();
        let user = own.and_then(|pid| look(&[pid]).process(pid).and_then(owner).cloned());
        Self { user }
    }

    /// Whether a process is this user's; for root every process is.
    fn reaches(&self, process: &sysinfo::Process) -> bool {
        self.uid() == Some(0) || (self.user.is_some() && owner(process) == self.user.as_ref())
    }
}

impl Machine for Portable {
    fn boot_id(&self) -> &str {
        BOOT_ID
    }

    fn uid(&self) -> Option<u32> {
        self.user.as_ref().and_then(number)
    }

    fn listeners(&self) -> Result<Vec<Listener>, MachineError> {
        let found = listeners::get_all()
            .map_err(|error| MachineError::Listeners { source: io::Error::other(error.to_string()) })?;
        let listening = found
            .into_iter()
            .filter(|found| found.protocol == Protocol::TCP && found.state == SocketState::Listen)
            .map(|found| Listener {
                address: found.socket,
                socket: name(found.process.pid, found.socket),
                uid: None,
            });
        Ok(listening.collect())
    }

    fn owners(&self, sockets: &[SocketId]) -> HashMap<SocketId, Process> {
        if sockets.is_empty() {
            return HashMap::new();
        }
        let pids: Vec<Pid> = sockets.iter().map(|socket| Pid::from_u32(pid_of(*socket))).collect();
        let system = look(&pids);
        let owner = |socket: &SocketId| {
            let process = system.process(Pid::from_u32(pid_of(*socket)))?;
            let read = read(process)?;
            (self.reaches(process) && looks_like_agent(&read.name, &read.args)).then_some((*socket, read))
        };
        sockets.iter().filter_map(owner).collect()
    }

    fn listens(&self, pid: u32, address: SocketAddr) -> Option<SocketId> {
        let listeners = self.listeners().ok()?;
        let own =
            listeners.iter().find(|listener| listener.covers(address) && pid_of(listener.socket) == pid);
        own.map(|listener| listener.socket)
    }

    fn process(&self, pid: u32) -> Option<Process> {
        let pid = Pid::from_u32(pid);
        look(&[pid]).process(pid).and_then(read)
    }

    fn alive(&self, pid: u32, started: u64) -> bool {
        let pid = Pid::from_u32(pid);
        let mut system = System::new();
        system.refresh_processes_specifics(
            ProcessesToUpdate::Some(&[pid]),
            true,
            ProcessRefreshKind::nothing(),
        );
        system.process(pid).is_some_and(|process| runs(process) && process.start_time() == started)
    }

    fn agents(&self) -> Vec<Process> {
        let mut system = System::new();
        system.refresh_processes_specifics(ProcessesToUpdate::All, true, what_is_read());
        let own = system.processes().values().filter(|process| self.reaches(process));
        let agents = own.filter_map(read).filter(|process| looks_like_agent(&process.name, &process.args));
        without_wrappers(agents.collect())
    }

    fn peer_uid(&self, _local: SocketAddr, _peer: SocketAddr) -> Option<u32> {
        None
    }

    fn peer_agent(&self, _local: SocketAddr, _peer: SocketAddr) -> Option<Process> {
        None
    }

    fn tells_peers(&self) -> bool {
        false
    }

    fn holder(&self, address: SocketAddr) -> Option<Process> {
        let listeners = self.listeners().ok()?;
        let listener = listeners.iter().find(|listener| listener.covers(address))?;
        self.process(pid_of(listener.socket))
    }
}

/// A name for a socket where the system has none: its process in the upper half, its address hashed in the lower.
fn name(pid: u32, address: SocketAddr) -> SocketId {
    // This hasher starts from fixed keys, so a socket keeps its name from one look to the next.
    let mut hasher = DefaultHasher::new();
    address.hash(&mut hasher);
    SocketId(u64::from(pid) << 32 | hasher.finish() >> 32)
}

fn pid_of(socket: SocketId) -> u32 {
    u32::try_from(socket.0 >> 32).unwrap_or_default()
}

fn what_is_read() -> ProcessRefreshKind {
    ProcessRefreshKind::nothing()
        .without_tasks()
        .with_cmd(UpdateKind::Always)
        .with_cwd(UpdateKind::Always)
        .with_user(UpdateKind::Always)
}

fn look(pids: &[Pid]) -> System {
    let mut system = System::new();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(pids), true, what_is_read());
    system
}

fn runs(process: &sysinfo::Process) -> bool {
    process.thread_kind().is_none()
        && !matches!(process.status(), ProcessStatus::Zombie | ProcessStatus::Dead)
}

fn read(process: &sysinfo::Process) -> Option<Process> {
    runs(process).then(|| Process {
        pid: process.pid().as_u32(),
        parent: process.parent().map(Pid::as_u32).filter(|parent| *parent > 1),
        started: process.start_time(),
        uid: owner(process).and_then(number),
        name: process.name().to_string_lossy().into_owned(),
        args: process.cmd().iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        cwd: process.cwd().map(Into::into),
        store: None,
    })
}

/// The effective user where the system tells it from the real one.
fn owner(process: &sysinfo::Process) -> Option<&Uid> {
    process.effective_user_id().or_else(|| process.user_id())
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "users of Windows have no number")]
fn number(user: &Uid) -> Option<u32> {
    Some(**user)
}

#[cfg(not(unix))]
fn number(_user: &Uid) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::machine::impostor::Impostor;

    fn socket_at(machine: &Portable, address: SocketAddr) -> Option<SocketId> {
        let listeners = machine.listeners().unwrap();
        listeners.iter().find(|listener| listener.address == address).map(|listener| listener.socket)
    }

    #[test]
    fn the_owner_of_an_agents_socket_is_found() {
        let machine = Portable::new();
        let impostor = Impostor::start();
        let socket = socket_at(&machine, impostor.address).unwrap();
        assert_eq!(socket_at(&machine, impostor.address), Some(socket), "it keeps its name");
        let owner = machine.owner(socket).unwrap();
        assert_eq!(owner.pid, impostor.pid());
        assert_eq!(owner.uid, machine.uid());
        assert_eq!(owner.cwd, Some(impostor.directory()));
        assert!(machine.agents().contains(&owner));
        assert!(machine.alive(owner.pid, owner.started));
        assert!(!machine.alive(owner.pid, owner.started + 1));
    }

    #[test]
    fn sockets_of_other_programs_have_no_owner_but_a_holder() {
        let machine = Portable::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(machine.owner(socket_at(&machine, address).unwrap()), None);
        assert_eq!(machine.holder(address).map(|process| process.pid), Some(std::process::id()));
    }

    #[test]
    fn what_these_systems_do_not_tell_is_none() {
        let machine = Portable::new();
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        assert!(!machine.tells_peers());
        assert_eq!(machine.peer_uid(address, address), None);
        assert_eq!(machine.process(u32::MAX), None);
    }
}
