//! The machine on Linux: `sock_diag` for sockets, `/proc` for processes.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::SocketAddr,
};

use self::process::Running;
use super::{
    Listener, Machine, MachineError, Process, SocketId,
    agent::{looks_like_agent, may_be_agent},
    without_wrappers,
};

mod diag;
mod process;

/// See the module.
pub(super) struct Linux {
    boot_id: String,
    uid: u32,
    has_diag: bool,
}

impl Linux {
    pub(super) fn new() -> Self {
        Self {
            boot_id: procfs::sys::kernel::random::boot_id()
                .unwrap_or_else(|_| format!("since-{}", sysinfo::System::boot_time())),
            uid: rustix::process::geteuid().as_raw(),
            has_diag: diag::listening().is_ok(),
        }
    }

    /// Whether we may look into a process of this user.
    fn reaches(&self, uid: u32) -> bool {
        self.uid == 0 || self.uid == uid
    }

    /// The processes we may look into that look like an agent.
    fn running_agents(&self) -> impl Iterator<Item = Running> {
        // The command line takes a lock of the process it belongs to, its name does not: most are out by their name.
        Running::all(|uid| self.reaches(uid)).filter(|process| {
            may_be_agent(process.name()) && looks_like_agent(process.name(), &process.args())
        })
    }
}

impl Machine for Linux {
    fn boot_id(&self) -> &str {
        &self.boot_id
    }

    fn uid(&self) -> Option<u32> {
        Some(self.uid)
    }

    // Not `/proc/net/tcp`: to print it, the kernel walks the whole table of established connections, whose size goes
    // with the machine's memory. With 262,144 buckets that takes 5 ms for a handful of sockets; asking `sock_diag` for
    // listening ones takes microseconds, however many connections there are. The file is what is left where a
    // container forbids netlink.
    fn listeners(&self) -> Result<Vec<Listener>, MachineError> {
        if self.has_diag { diag::listening() } else { listed() }
            .map_err(|source| MachineError::Listeners { source })
    }

    fn owners(&self, sockets: &[SocketId]) -> HashMap<SocketId, Process> {
        if sockets.is_empty() {
            return HashMap::new();
        }
        first_holders(self.running_agents(), &sockets.iter().copied().collect())
    }

    fn listens(&self, pid: u32, address: SocketAddr) -> Option<SocketId> {
        let there = self.listeners().ok()?.into_iter().filter(|listener| listener.covers(address));
        let there: HashSet<SocketId> = there.map(|listener| listener.socket).collect();
        if there.is_empty() {
            return None;
        }
        Running::open(pid)?.open_files().among(&there).first().copied()
    }

    fn process(&self, pid: u32) -> Option<Process> {
        Running::open(pid).map(|process| process.describe(process.open_files().store))
    }

    fn started_ms(&self, started: u64) -> u64 {
        let since_boot_ms = started.saturating_mul(1000) / procfs::ticks_per_second().max(1);
        sysinfo::System::boot_time().saturating_mul(1000).saturating_add(since_boot_ms)
    }

    fn alive(&self, pid: u32, started: u64) -> bool {
        Running::open(pid).is_some_and(|process| process.started() == started)
    }

    fn agents(&self) -> Vec<Process> {
        let agents = self.running_agents().map(|process| process.describe(process.open_files().store));
        without_wrappers(agents.collect())
    }

    fn peer_uid(&self, local: SocketAddr, peer: SocketAddr) -> Option<u32> {
        if !self.has_diag {
            return None;
        }
        diag::end_of(peer, local).ok().flatten().map(|end| end.uid)
    }

    fn peer_agent(&self, local: SocketAddr, peer: SocketAddr) -> Option<Process> {
        if !self.has_diag {
            return None;
        }
        self.owner(diag::end_of(peer, local).ok().flatten()?.socket)
    }

    fn tells_peers(&self) -> bool {
        self.has_diag
    }

    fn holder(&self, address: SocketAddr) -> Option<Process> {
        let sockets: HashSet<SocketId> = self
            .listeners()
            .ok()?
            .iter()
            .filter(|listener| listener.covers(address))
            .map(|listener| listener.socket)
            .collect();
        if sockets.is_empty() {
            return None;
        }
        let holders = first_holders(Running::all(|_| true), &sockets).into_values();
        holders.min_by_key(|process| (process.started, process.pid))
    }
}

/// For each of `sockets` the process that holds it and started first: a child inherits what its parent had open.
fn first_holders(
    processes: impl Iterator<Item = Running>,
    sockets: &HashSet<SocketId>,
) -> HashMap<SocketId, Process> {
    let mut holders: HashMap<SocketId, Process> = HashMap::new();
    for process in processes {
        let files = process.open_files();
        let held = files.among(sockets);
        if held.is_empty() {
            continue;
        }
        let process = process.describe(files.store);
        for socket in held {
            let earlier = holders
                .get(&socket)
                .is_some_and(|known| (known.started, known.pid) <= (process.started, process.pid));
            if !earlier {
                holders.insert(socket, process.clone());
            }
        }
    }
    holders
}

/// The listening sockets from `/proc/net/tcp` and `tcp6`.
fn listed() -> io::Result<Vec<Listener>> {
    let four = procfs::net::tcp().map_err(io::Error::other)?;
    // Absent where IPv6 is switched off.
    let six = procfs::net::tcp6().unwrap_or_default();
    Ok(four
        .into_iter()
        .chain(six)
        .filter(|entry| entry.state == procfs::net::TcpState::Listen)
        .map(|entry| Listener {
            address: entry.local_address,
            socket: SocketId(entry.inode),
            uid: Some(entry.uid),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        os::unix::fs::MetadataExt,
        process::Command,
    };

    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

    use super::*;
    use crate::machine::StoreFile;
    use crate::machine::impostor::Impostor;

    /// Another test that is just starting a process holds copies of our sockets until that runs.
    fn eventually(holds: impl Fn() -> bool) -> bool {
        let limit = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while std::time::Instant::now() < limit {
            if holds() {
                return true;
            }
            std::thread::yield_now();
        }
        false
    }

    fn socket_at(listeners: &[Listener], address: SocketAddr) -> Option<SocketId> {
        listeners.iter().find(|listener| listener.address == address).map(|listener| listener.socket)
    }

    /// A server and a client connected to each other: (kept open, the server's end, the client's end).
    fn connected(bind: &str, to: &str) -> (TcpListener, TcpStream, TcpStream) {
        let listener = TcpListener::bind(bind).unwrap();
        let to = SocketAddr::new(to.parse().unwrap(), listener.local_addr().unwrap().port());
        let client = TcpStream::connect(to).unwrap();
        let accepted = listener.accept().unwrap().0;
        (listener, accepted, client)
    }

    fn user_behind(accepted: &TcpStream) -> Option<u32> {
        Linux::new().peer_uid(accepted.local_addr().unwrap(), accepted.peer_addr().unwrap())
    }

    #[test]
    fn every_listening_socket_is_found_while_it_is_open_and_not_after() {
        let machine = Linux::new();
        let sockets =
            ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"].map(|bind| TcpListener::bind(bind).unwrap());
        let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
        let by_netlink = machine.listeners().unwrap();
        let by_file = listed().unwrap();
        for address in addresses {
            let socket = socket_at(&by_netlink, address);
            assert!(socket.is_some(), "{address}");
            assert_eq!(socket, socket_at(&by_file, address), "{address}");
        }
        drop(sockets);
        assert!(eventually(|| {
            let after = machine.listeners().unwrap();
            addresses.iter().all(|address| socket_at(&after, *address).is_none())
        }));
    }

    #[test]
    fn a_list_longer_than_one_part_is_complete() {
        // About 110 bytes each in parts of at most 32 KiB, the first ones of 4 to 16 KiB.
        let sockets: Vec<TcpListener> = (0..400).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let found: HashSet<SocketAddr> =
            diag::listening().unwrap().iter().map(|listener| listener.address).collect();
        assert!(sockets.iter().all(|socket| found.contains(&socket.local_addr().unwrap())));
    }

    #[test]
    fn the_owner_of_an_agents_socket_is_told_with_its_store_and_directory() {
        let machine = Linux::new();
        let impostor = Impostor::start();
        let socket = socket_at(&machine.listeners().unwrap(), impostor.address).unwrap();
        let owner = machine.owner(socket).unwrap();
        assert_eq!(owner.pid, impostor.pid());
        assert_eq!(owner.name, "opencode");
        assert_eq!(owner.parent, Some(std::process::id()));
        assert_eq!(owner.uid, machine.uid());
        assert_eq!(owner.cwd, Some(impostor.directory()));
        let file = std::fs::metadata(impostor.store()).unwrap();
        let store = StoreFile { device: file.dev(), inode: file.ino(), path: impostor.store() };
        assert_eq!(owner.store, Some(store));
        assert_eq!(machine.process(impostor.pid()), Some(owner.clone()));
        assert!(machine.agents().contains(&owner));
    }

    #[test]
    fn sockets_of_other_programs_have_no_owner_but_a_holder() {
        let machine = Linux::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let socket = socket_at(&machine.listeners().unwrap(), address).unwrap();
        assert_eq!(machine.owner(socket), None);
        assert_eq!(machine.holder(address).map(|process| process.pid), Some(std::process::id()));
        drop(listener);
        assert!(eventually(|| machine.holder(address).is_none()));
    }

    #[test]
    fn a_process_is_alive_by_its_start_time_and_not_as_a_zombie() {
        let machine = Linux::new();
        let mut impostor = Impostor::start();
        let pid = impostor.pid();
        let started = machine.process(pid).unwrap().started;
        assert!(machine.alive(pid, started));
        assert!(!machine.alive(pid, started + 1));
        impostor.kill();
        let raw = Pid::from_raw(pid.cast_signed()).unwrap();
        waitid(WaitId::Pid(raw), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
        assert!(!machine.alive(pid, started));
        assert_eq!(machine.process(pid), None);
        assert!(machine.agents().iter().all(|agent| agent.pid != pid));
    }

    #[test]
    fn numbers_that_are_no_process_are_none() {
        let machine = Linux::new();
        for pid in [0, u32::MAX, i32::MAX.cast_unsigned()] {
            assert_eq!(machine.process(pid), None);
            assert!(!machine.alive(pid, 0));
        }
    }

    #[test]
    fn of_several_holders_the_first_started_is_the_owner() {
        let machine = Linux::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = socket_at(&machine.listeners().unwrap(), listener.local_addr().unwrap()).unwrap();
        // The child has our listening socket as its standard input.
        let copy = std::os::fd::OwnedFd::from(listener.try_clone().unwrap());
        let mut child = Command::new("sleep").arg("60").stdin(copy).spawn().unwrap();
        let (child_pid, own_pid) = (child.id(), std::process::id());
        let holder = |pids: &[u32]| {
            let processes = pids.iter().filter_map(|pid| Running::open(*pid));
            first_holders(processes, &HashSet::from([socket])).remove(&socket).map(|process| process.pid)
        };
        let found = [holder(&[child_pid]), holder(&[child_pid, own_pid]), holder(&[own_pid, child_pid])];
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found, [Some(child_pid), Some(own_pid), Some(own_pid)]);
    }

    #[test]
    fn the_user_behind_a_loopback_connection_is_ours_over_both_families_and_mixed() {
        let own = Some(rustix::process::geteuid().as_raw());
        for (bind, to) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("0.0.0.0:0", "127.0.0.1")] {
            let (_listener, accepted, _client) = connected(bind, to);
            assert_eq!(user_behind(&accepted), own, "{bind}");
        }
        // Accepted on a wildcard IPv6 socket, IPv4 clients have addresses like ::ffff:127.0.0.1.
        let (_listener, accepted, _client) = connected("[::]:0", "127.0.0.1");
        assert!(accepted.peer_addr().unwrap().is_ipv6());
        assert_eq!(user_behind(&accepted), own);
        // And the other way round: an IPv6 socket that connects to an IPv4 listener.
        let (_listener, accepted, _client) = connected("127.0.0.1:0", "::ffff:127.0.0.1");
        assert_eq!(user_behind(&accepted), own);
    }

    #[test]
    fn nobody_is_behind_a_connection_that_its_client_has_closed() {
        let (_listener, accepted, client) = connected("127.0.0.1:0", "127.0.0.1");
        let (local, peer) = (accepted.local_addr().unwrap(), accepted.peer_addr().unwrap());
        drop(client);
        assert!(eventually(|| user_behind(&accepted).is_none()), "half closed");
        drop(accepted);
        assert!(eventually(|| Linux::new().peer_uid(local, peer).is_none()), "waiting for late packets");
    }

    #[test]
    fn nobody_is_found_behind_a_socket_bound_to_a_device() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = tokio::net::TcpSocket::new_v4().unwrap();
        client.bind_device(Some(b"lo")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _client = runtime.block_on(client.connect(listener.local_addr().unwrap())).unwrap();
        let accepted = listener.accept().unwrap().0;
        // The guard must not take this for "the system cannot tell": any user can do it.
        assert_eq!(user_behind(&accepted), None);
    }

    #[test]
    fn a_socket_that_listens_where_the_client_would_be_is_not_the_client() {
        let own = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let machine = Linux::new();
        assert_eq!(machine.peer_uid(own.local_addr().unwrap(), other.local_addr().unwrap()), None);
        assert_eq!(
            machine.peer_uid(own.local_addr().unwrap(), "[::1]:9".parse().unwrap()),
            None,
            "mixed families"
        );
    }

    #[test]
    fn the_agent_at_the_other_end_of_a_connection_is_told_and_no_other_program() {
        let machine = Linux::new();
        let impostor = Impostor::start();
        let stream = TcpStream::connect(impostor.address).unwrap();
        let (local, peer) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
        // It takes the connection a moment later.
        assert!(eventually(|| {
            machine.peer_agent(local, peer).is_some_and(|agent| agent.pid == impostor.pid())
        }));
        assert_eq!(machine.peer_agent(peer, local), None, "the other way round it is this test");
    }

    #[test]
    fn this_machine_has_a_boot_id_and_tells_peers() {
        let machine = Linux::new();
        assert_eq!(machine.boot_id().len(), 36);
        assert!(machine.tells_peers());
    }
}
