//! The simulated machine: stores, processes, sessions, and what happens to them without any pointsman.
//!
//! Processes behave as real agents do: an abort, an edit or a deletion is carried out and told by whichever process
//! it was sent to; a wrong abort tells an idle; two processes may run one session at once.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use pointsman::{
    domain::{ids::SessionId, kind::Kind, session::SessionRow},
    registry::server::Address,
};

use super::{
    intake::Signal,
    random::Random,
    trace::Trace,
    truth::{Ledger, Seen, Turn},
};

/// When a simulation begins, in milliseconds since 1970: later than any clock, so that only simulated time counts.
pub(crate) const DAWN_MS: u64 = 4_102_444_800_000;

/// The place of a process in the list of all that ever ran.
pub(crate) type Pid = usize;

/// What somebody starts again and again in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) address: Address,
    pub(crate) directory: Arc<str>,
    pub(crate) store: usize,
    pub(crate) kind: Kind,
}

/// An event on its way.
#[derive(Clone, Debug)]
pub(crate) struct Emission {
    pub(crate) at_ms: u64,
    pub(crate) session: usize,
    pub(crate) signal: Signal,
}

/// One process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) seat: Seat,
    pub(crate) started_ms: u64,
    pub(crate) lives: bool,
    /// Whether a pointsman reads its stream.
    pub(crate) connected: bool,
    /// What was emitted on the stream and not read yet.
    pub(crate) stream: VecDeque<Emission>,
    /// Sessions of which something was emitted while nobody read the stream.
    pub(crate) missed: BTreeSet<usize>,
}

/// One session of one store.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) store: usize,
    pub(crate) directory: Arc<str>,
    pub(crate) parent: Option<usize>,
    pub(crate) updated_ms: u64,
    pub(crate) deleted: bool,
    /// Whether anything of it was ever emitted that did not arrive.
    pub(crate) lost: bool,
    /// Whether the pointsman of the day was told the row, and the parent with it.
    pub(crate) told: bool,
    pub(crate) ledger: Ledger,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now_ms: u64,
    pub(crate) processes: Vec<Process>,
    pub(crate) sessions: Vec<Session>,
    /// Whose place a process took, as far as a pointsman saw the one go and the other come.
    pub(crate) inherits: BTreeMap<Pid, Pid>,
    pub(crate) trace: Trace,
}

impl World {
    pub(crate) fn new(trace: Trace) -> Self {
        Self {
            now_ms: DAWN_MS,
            processes: Vec::new(),
            sessions: Vec::new(),
            inherits: BTreeMap::new(),
            trace,
        }
    }

    /// The next instant: no two things happen in one.
    pub(crate) fn tick(&mut self) -> u64 {
        self.now_ms += 1;
        self.now_ms
    }

    pub(crate) fn living(&self) -> Vec<Pid> {
        (0..self.processes.len()).filter(|pid| self.processes[*pid].lives).collect()
    }

    pub(crate) fn living_in(&self, store: usize) -> Vec<Pid> {
        self.living().into_iter().filter(|pid| self.processes[*pid].seat.store == store).collect()
    }

    pub(crate) fn sessions_in(&self, store: usize) -> Vec<usize> {
        (0..self.sessions.len()).filter(|session| self.sessions[*session].store == store).collect()
    }

    pub(crate) fn session(&self, store: usize, id: &SessionId) -> Option<usize> {
        self.sessions.iter().position(|session| session.store == store && session.id == *id)
    }

    /// Those whose place `process` took, one after the other.
    pub(crate) fn ancestors(&self, process: Pid) -> impl Iterator<Item = Pid> {
        std::iter::successors(self.inherits.get(&process), |gone| self.inherits.get(gone)).copied()
    }

    /// The sessions that started `session`, nearest first.
    pub(crate) fn parents(&self, session: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(self.sessions[session].parent, |parent| self.sessions[*parent].parent)
    }

    pub(crate) fn row(&self, session: usize) -> SessionRow {
        let it = &self.sessions[session];
        SessionRow {
            id: it.id.clone(),
            directory: Arc::clone(&it.directory),
            title: "a title".into(),
            project: "global".into(),
            parent: it.parent.map(|parent| self.sessions[parent].id.clone()),
            created_ms: DAWN_MS,
            updated_ms: it.updated_ms,
        }
    }

    pub(crate) fn start(&mut self, seat: Seat) -> Pid {
        let started_ms = self.tick();
        let pid = self.processes.len();
        self.trace.all(started_ms, || format!("process {pid} starts: {seat:?}"));
        self.processes.push(Process {
            seat,
            started_ms,
            lives: true,
            connected: false,
            stream: VecDeque::new(),
            missed: BTreeSet::new(),
        });
        pid
    }

    /// Kills a process; what it had not written is lost, what it ran has ended.
    pub(crate) fn kill(&mut self, pid: Pid, random: &mut Random) {
        let now_ms = self.tick();
        self.trace.all(now_ms, || format!("process {pid} is killed"));
        self.processes[pid].lives = false;
        if random.percent(30) {
            self.lose(pid, random);
        }
        for session in &mut self.sessions {
            session.ledger.turns.remove(&pid);
        }
    }

    /// Cuts a stream: some of what was on its way does not arrive.
    pub(crate) fn cut(&mut self, pid: Pid, random: &mut Random) {
        let now_ms = self.tick();
        self.trace.all(now_ms, || format!("the stream of process {pid} is cut"));
        if random.percent(60) {
            self.lose(pid, random);
        }
        self.processes[pid].connected = false;
    }

    fn lose(&mut self, pid: Pid, random: &mut Random) {
        let arriving = random.below(self.processes[pid].stream.len() + 1);
        self.lose_from(pid, arriving);
    }

    fn lose_from(&mut self, pid: Pid, first: usize) {
        let process = &mut self.processes[pid];
        for lost in process.stream.drain(first..) {
            process.missed.insert(lost.session);
            self.sessions[lost.session].lost = true;
        }
    }

    /// Nobody reads any stream any more.
    pub(crate) fn disconnect_all(&mut self) {
        for pid in 0..self.processes.len() {
            self.lose_from(pid, 0);
            self.processes[pid].connected = false;
        }
        for session in &mut self.sessions {
            session.ledger.heard_busy.clear();
            session.told = false;
            for turn in session.ledger.turns.values_mut() {
                turn.seen = Seen::No;
            }
        }
    }

    fn emit(&mut self, pid: Pid, session: usize, signal: Signal) -> u64 {
        let at_ms = self.tick();
        self.trace.session(at_ms, session, || format!("process {pid} emits {signal:?}"));
        let process = &mut self.processes[pid];
        if process.connected {
            process.stream.push_back(Emission { at_ms, session, signal });
        } else {
            process.missed.insert(session);
            self.sessions[session].lost = true;
        }
        at_ms
    }

    /// Makes a session on `pid`; with `id` one that another store has as well.
    pub(crate) fn create(
        &mut self,
        pid: Pid,
        parent: Option<usize>,
        id: Option<SessionId>,
        elsewhere: Option<Arc<str>>,
    ) -> usize {
        let number = self.sessions.len();
        let id = id.unwrap_or_else(|| SessionId::try_new(&format!("ses_{number:026}")).unwrap());
        let seat = &self.processes[pid].seat;
        let (store, directory) = (seat.store, elsewhere.unwrap_or_else(|| Arc::clone(&seat.directory)));
        let updated_ms = self.now_ms;
        self.sessions.push(Session {
            id,
            store,
            directory,
            parent,
            updated_ms,
            deleted: false,
            told: false,
            lost: false,
            ledger: Ledger::default(),
        });
        let row = self.row(number);
        let at_ms = self.emit(pid, number, Signal::Created(row));
        self.sessions[number].ledger.touch(pid, at_ms);
        number
    }

    /// A session that stands in a store although no process that lives has ever touched it.
    pub(crate) fn inherit_from_the_past(&mut self, store: usize, directory: Arc<str>) {
        let number = self.sessions.len();
        self.sessions.push(Session {
            id: SessionId::try_new(&format!("ses_{number:026}")).unwrap(),
            store,
            directory,
            parent: None,
            updated_ms: self.now_ms,
            deleted: false,
            told: false,
            lost: false,
            ledger: Ledger::default(),
        });
    }

    /// A turn begins on `pid`; what it says first is that it is busy.
    pub(crate) fn begin(&mut self, pid: Pid, session: usize) {
        if self.sessions[session].ledger.turns.contains_key(&pid) {
            // A prompt for a running turn joins it.
            return;
        }
        let since_ms = self.emit(pid, session, Signal::Busy);
        let ledger = &mut self.sessions[session].ledger;
        ledger.turns.insert(pid, Turn { since_ms, seen: Seen::No });
        ledger.touch(pid, since_ms);
    }

    /// A running turn writes.
    pub(crate) fn write(&mut self, pid: Pid, session: usize) {
        let at_ms = self.emit(pid, session, Signal::Output);
        self.sessions[session].ledger.touch(pid, at_ms);
    }

    /// A running turn ends, well or not.
    pub(crate) fn end(&mut self, pid: Pid, session: usize, random: &mut Random) {
        self.sessions[session].ledger.turns.remove(&pid);
        if random.percent(20) {
            self.emit(pid, session, Signal::Failed);
        }
        self.emit(pid, session, Signal::Idle);
        if random.percent(50) {
            self.edit(pid, session);
        }
    }

    /// An abort reaches `pid`, which tells an idle whether or not it ran anything.
    pub(crate) fn abort(&mut self, pid: Pid, session: usize) {
        self.sessions[session].ledger.turns.remove(&pid);
        self.emit(pid, session, Signal::Idle);
    }

    /// An edit (a title, a message) reaches `pid`.
    pub(crate) fn edit(&mut self, pid: Pid, session: usize) {
        if self.sessions[session].deleted {
            return;
        }
        self.sessions[session].updated_ms = self.now_ms;
        let row = self.row(session);
        self.emit(pid, session, Signal::Updated(row));
    }

    /// A deletion reaches `pid`; whoever runs the session keeps running it.
    pub(crate) fn delete(&mut self, pid: Pid, session: usize) {
        self.sessions[session].deleted = true;
        self.emit(pid, session, Signal::Deleted);
    }
}
