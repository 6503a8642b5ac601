//! The machine on Linux: `sock_diag` for sockets, `/proc` for processes.
//!
//! Everything about one process is read through one open `/proc/<pid>`, so that a number given to a new process
//! half-way yields an error, never a mixture of two.

use std::{
    collections::{HashMap, HashSet},
    io::{self, Read},
    net::SocketAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use procfs::process::{self, FDTarget, Stat};

use super::{
    Listener, Machine, MachineError, Process, SocketId, StoreFile,
    agent::{looks_like_agent, may_be_agent},
    without_wrappers,
};

mod diag;

/// How much of a command line is read. An `opencode run` may carry a whole document as its prompt; what we look for
/// stands before it or within a few words of it.
const LONGEST_COMMAND_LINE: u64 = 32 * 1024;

/// What the kernel adds to the path of something that has been unlinked.
const UNLINKED: &str = " (deleted)";

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

    /// Our user's processes that look like an agent, with what was read to find out.
    fn candidates(&self) -> impl Iterator<Item = Candidate> {
        processes().filter_map(|entry| {
            let uid = entry.uid().ok().filter(|uid| self.reaches(*uid))?;
            let stat = running(&entry)?;
            // The command line takes a lock of the process that owns it; its name does not.
            if !may_be_agent(&stat.comm) {
                return None;
            }
            let args = args(&entry);
            looks_like_agent(&stat.comm, &args).then_some(Candidate { entry, uid, stat, args })
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
        let wanted: HashSet<SocketId> = sockets.iter().copied().collect();
        let mut owners = HashMap::new();
        if wanted.is_empty() {
            return owners;
        }
        for candidate in self.candidates() {
            let files = OpenFiles::of(&candidate.entry);
            let held: Vec<SocketId> = files.sockets.intersection(&wanted).copied().collect();
            if !held.is_empty() {
                first_started(&mut owners, &held, &candidate.finish(files.store));
            }
        }
        owners
    }

    fn process(&self, pid: u32) -> Option<Process> {
        let entry = open(pid)?;
        let candidate = Candidate::read(entry)?;
        let store = OpenFiles::of(&candidate.entry).store;
        Some(candidate.finish(store))
    }

    fn alive(&self, pid: u32, started: u64) -> bool {
        open(pid).and_then(|entry| running(&entry)).is_some_and(|stat| stat.starttime == started)
    }

    fn agents(&self) -> Vec<Process> {
        let agents = self.candidates().map(|candidate| {
            let store = OpenFiles::of(&candidate.entry).store;
            candidate.finish(store)
        });
        without_wrappers(agents.collect())
    }

    fn peer_uid(&self, local: SocketAddr, peer: SocketAddr) -> Option<u32> {
        if !self.has_diag {
            return None;
        }
        diag::user_of(peer, local).ok().flatten()
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
        let mut owners = HashMap::new();
        for entry in processes() {
            let files = OpenFiles::of(&entry);
            let held: Vec<SocketId> = files.sockets.intersection(&sockets).copied().collect();
            if let (false, Some(candidate)) = (held.is_empty(), Candidate::read(entry)) {
                first_started(&mut owners, &held, &candidate.finish(files.store));
            }
        }
        owners.into_values().min_by_key(|process| (process.started, process.pid))
    }
}

/// A process of which everything but its open files has been read.
struct Candidate {
    entry: process::Process,
    uid: u32,
    stat: Stat,
    args: Vec<String>,
}

impl Candidate {
    fn read(entry: process::Process) -> Option<Self> {
        let uid = entry.uid().ok()?;
        let stat = running(&entry)?;
        let args = args(&entry);
        Some(Self { entry, uid, stat, args })
    }

    fn finish(&self, store: Option<StoreFile>) -> Process {
        Process {
            pid: self.entry.pid().cast_unsigned(),
            parent: u32::try_from(self.stat.ppid).ok().filter(|parent| *parent > 1),
            started: self.stat.starttime,
            uid: Some(self.uid),
            name: self.stat.comm.clone(),
            args: self.args.clone(),
            cwd: self.entry.cwd().ok().map(without_mark),
            store,
        }
    }
}

/// What a process has open, as far as it matters here.
#[derive(Default)]
struct OpenFiles {
    sockets: HashSet<SocketId>,
    store: Option<StoreFile>,
}

impl OpenFiles {
    /// Nothing where we may not look.
    fn of(entry: &process::Process) -> Self {
        let mut files = Self::default();
        for file in entry.fd().into_iter().flatten().flatten() {
            match file.target {
                FDTarget::Socket(inode) => {
                    files.sockets.insert(SocketId(inode));
                }
                FDTarget::Path(path) if files.store.is_none() => {
                    files.store = store_file(entry.pid(), file.fd, path);
                }
                _ => {}
            }
        }
        files
    }
}

fn store_file(pid: i32, fd: i32, path: PathBuf) -> Option<StoreFile> {
    let path = without_mark(path);
    if !is_store(&path) {
        return None;
    }
    // Through the descriptor, not by its path: the file may be unlinked or of another mount namespace.
    let file = std::fs::metadata(format!("/proc/{pid}/fd/{fd}")).ok()?;
    Some(StoreFile { device: file.dev(), inode: file.ino(), path })
}

/// `opencode.db`, or `opencode-<channel>.db` of a preview build.
fn is_store(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".db"));
    name.is_some_and(|name| name == "opencode" || name.starts_with("opencode-"))
}

/// The path without the kernel's mark, unless something is really called so.
fn without_mark(path: PathBuf) -> PathBuf {
    match path.to_str().and_then(|text| text.strip_suffix(UNLINKED)) {
        Some(plain) if !path.exists() => plain.into(),
        _ => path,
    }
}

/// Keeps, for each socket, the process that started first: a child inherits what its parent had open.
fn first_started(owners: &mut HashMap<SocketId, Process>, held: &[SocketId], process: &Process) {
    for socket in held {
        let earlier = owners
            .get(socket)
            .is_some_and(|known| (known.started, known.pid) <= (process.started, process.pid));
        if !earlier {
            owners.insert(*socket, process.clone());
        }
    }
}

fn processes() -> impl Iterator<Item = process::Process> {
    process::all_processes().into_iter().flatten().flatten()
}

fn open(pid: u32) -> Option<process::Process> {
    process::Process::new(i32::try_from(pid).ok()?).ok()
}

/// What the kernel says of a process that has not ended: a zombie keeps its number and nothing else.
fn running(entry: &process::Process) -> Option<Stat> {
    entry.stat().ok().filter(|stat| !matches!(stat.state, 'Z' | 'X' | 'x'))
}

/// The command line with its empty words, which `procfs` leaves out: `--prompt ""` must stay two words.
fn args(entry: &process::Process) -> Vec<String> {
    let mut bytes = Vec::new();
    let read =
        entry.open_relative("cmdline").map(|file| file.take(LONGEST_COMMAND_LINE).read_to_end(&mut bytes));
    if !matches!(read, Ok(Ok(_))) || bytes.is_empty() {
        return Vec::new();
    }
    let words = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    words.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
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
        .map(|entry| Listener { address: entry.local_address, socket: SocketId(entry.inode) })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        process::{Command, Stdio},
    };

    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

    use super::*;
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
    fn empty_words_of_a_command_line_are_kept() {
        let mut child = Command::new("sh")
            .args(["-c", "read line", "opencode", "", "é", ""])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let read = Linux::new().process(child.id()).unwrap();
        assert_eq!(read.args, ["sh", "-c", "read line", "opencode", "", "é", ""]);
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn of_several_holders_the_first_started_is_the_owner() {
        let machine = Linux::new();
        let impostor = Impostor::start();
        let mut parent = machine.process(impostor.pid()).unwrap();
        parent.started = 5;
        let child = Process { pid: 1, started: 6, ..parent.clone() };
        for order in [[&parent, &child], [&child, &parent]] {
            let mut owners = HashMap::new();
            for process in order {
                first_started(&mut owners, &[SocketId(7)], process);
            }
            assert_eq!(owners[&SocketId(7)], parent);
        }
    }

    #[test]
    fn a_store_is_told_by_its_file_name() {
        for (path, is) in [
            ("/d/opencode.db", true),
            ("/d/opencode-dev.db", true),
            ("/d/opencode.db-wal", false),
            ("/d/opencode.db-shm", false),
            ("/d/other.db", false),
            ("/opencode.db/x", false),
        ] {
            assert_eq!(is_store(Path::new(path)), is, "{path}");
        }
        assert_eq!(without_mark("/nowhere/opencode.db (deleted)".into()), Path::new("/nowhere/opencode.db"));
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
    fn this_machine_has_a_boot_id_and_tells_peers() {
        let machine = Linux::new();
        assert_eq!(machine.boot_id().len(), 36);
        assert!(machine.tells_peers());
    }
}
