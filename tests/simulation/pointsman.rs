//! One life of pointsman after another: a registry, what it was told, and what it kept.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use pointsman::{
    domain::{
        claim::Claim,
        evidence::Evidence,
        ids::{ServerKey, StoreKey},
        session::SessionRow,
    },
    registry::{
        Registry,
        kept::{Kept, KeptClaim, Remembered, is_kept},
        server::{Server, ServerId, ServerProcess, State},
        sessions::Found,
        stores::StoreIdentity,
    },
};

use super::{
    intake::{Signal, take_in},
    random::Random,
    run::Failure,
    truth::Seen,
    world::{Emission, Pid, World},
};

/// How long the place of a process that has gone is kept for an heir, as documented.
const PLACE_MS: u64 = 10 * 60 * 1000;

/// An answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) process: Pid,
    pub(crate) evidence: Evidence,
    /// The session meant: where several stores have the id and only one is known, that one.
    pub(crate) session: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pointsman {
    pub(crate) registry: Registry,
    pub(crate) keys: BTreeMap<Pid, ServerKey>,
    stores: Vec<StoreKey>,
    unplaced: Vec<Pid>,
    left: Vec<(Pid, u64)>,
    /// What an earlier life left, where nothing is kept for real.
    remembered: Remembered,
    /// Where claims are kept for real; otherwise what is kept is taken out of the registry.
    home: Option<tempfile::TempDir>,
}

impl Pointsman {
    pub(crate) fn new(stores: usize, home: Option<tempfile::TempDir>) -> Self {
        let registry = match &home {
            Some(home) => Registry::new(Some(Kept::open(home.path()).unwrap())),
            None => Registry::new(None),
        };
        Self::with(registry, stores, home)
    }

    fn with(registry: Registry, stores: usize, home: Option<tempfile::TempDir>) -> Self {
        let stores = (0..stores).map(|store| registry.stores.key(file(store))).collect();
        Self {
            registry,
            keys: BTreeMap::new(),
            stores,
            unplaced: Vec::new(),
            left: Vec::new(),
            remembered: Remembered::new(),
            home,
        }
    }

    /// Dies and comes back, knowing nothing but what was kept.
    pub(crate) fn restart(self, world: &mut World) -> Result<Self, Failure> {
        let now_ms = world.tick();
        world.trace.all(now_ms, || String::from("pointsman restarts"));
        world.disconnect_all();
        let standing_in = self.keepable();
        let stores = self.stores.len();
        let Some(home) = self.home else {
            return Ok(Self { remembered: standing_in, ..Self::with(Registry::new(None), stores, None) });
        };
        let waiting = tokio::runtime::Builder::new_current_thread().build().unwrap();
        waiting.block_on(self.registry.settled());
        drop(self.registry);
        let (kept, remembered) = loop {
            // The writing thread may hold the lock for a moment longer.
            match Kept::open(home.path()) {
                Ok(opened) => break opened,
                Err(_) => std::thread::park_timeout(Duration::from_millis(1)),
            }
        };
        let (there, claimed) = (names(&remembered), names(&standing_in));
        let differs = |(server, id, _): &&(ServerId, String, Evidence)| {
            // What was left of processes that this life has not met stays on the disk.
            self.keys.keys().any(|pid| *server == name(*pid))
                && world.sessions.iter().any(|it| it.id.as_str() == id)
        };
        let more = there.iter().find(|claim| !claimed.contains(claim)).filter(differs);
        if let Some((server, id, evidence)) = claimed.iter().find(|claim| !there.contains(claim)).or(more) {
            let session = world.sessions.iter().position(|it| it.id.as_str() == id).unwrap_or_default();
            let what = format!("{evidence} of {server} was claimed or kept, not both");
            return Err(Failure::new(session, what));
        }
        Ok(Self::with(Registry::new(Some((kept, remembered))), stores, Some(home)))
    }

    /// What the claims of living servers would leave on the disk.
    fn keepable(&self) -> Remembered {
        let servers = self.registry.servers.now();
        // Whom this life has not met stays as an earlier one left it.
        let mut keepable = self.remembered.clone();
        self.registry.sessions.for_each(|session, _, _, _, known| {
            for claim in known().claims.iter().filter(|claim| is_kept(claim.evidence)) {
                if let Some(server) = servers.get(claim.server) {
                    keepable.entry(server.id.clone()).or_default().claims.push(KeptClaim {
                        session: session.clone(),
                        evidence: claim.evidence,
                        at_ms: claim.at_ms,
                    });
                }
            }
        });
        keepable
    }

    pub(crate) fn server(&self, pid: Pid) -> Option<Arc<Server>> {
        self.keys.get(&pid).and_then(|key| self.registry.servers.get(*key))
    }

    /// Meets a process; sometimes its store is not seen at once.
    pub(crate) fn meet(&mut self, world: &mut World, pid: Pid, random: &mut Random) {
        let now_ms = self.advance(world);
        let process = &world.processes[pid];
        let unplaced = random.percent(20);
        let identity = if unplaced {
            StoreIdentity::Own { authority: Arc::clone(&process.seat.address.authority) }
        } else {
            file(process.seat.store)
        };
        let store = self.registry.stores.key(identity);
        let server = self.registry.arrive(|key| server(world, pid, key, store)).unwrap();
        for KeptClaim { session, evidence, at_ms } in
            self.remembered.remove(&server.id).unwrap_or_default().claims
        {
            let claim = Claim { server: server.key, evidence, at_ms };
            self.registry.sessions.claim(store, &session, claim, &self.registry.servers.now());
        }
        world.trace.all(now_ms, || format!("pointsman meets process {pid} in {store:?}"));
        self.keys.insert(pid, server.key);
        if unplaced {
            self.unplaced.push(pid);
        }
        // An heir takes the place where it stands when it comes, or when its store is seen.
        self.inherit(world, pid, unplaced);
    }

    /// Sees the stores that were not seen at first.
    pub(crate) fn place_all(&mut self, world: &mut World) {
        for pid in std::mem::take(&mut self.unplaced) {
            let now_ms = self.advance(world);
            let store = self.stores[world.processes[pid].seat.store];
            world.trace.all(now_ms, || format!("process {pid} is placed in {store:?}"));
            if let Some(key) = self.keys.get(&pid) {
                self.registry.place(*key, store);
                self.inherit(world, pid, false);
            }
        }
    }

    fn inherit(&mut self, world: &mut World, pid: Pid, unplaced: bool) {
        let now_ms = world.now_ms;
        let seat = &world.processes[pid].seat;
        let free = |(gone, since): &(Pid, u64)| {
            !unplaced && world.processes[*gone].seat == *seat && now_ms - since <= PLACE_MS
        };
        if let Some(place) = self.left.iter().rposition(free) {
            let (gone, _) = self.left.remove(place);
            world.inherits.insert(pid, gone);
        }
    }

    /// Opens the stream of a process and asks what it is busy with, before anything of the stream is read.
    pub(crate) fn connect(&mut self, world: &mut World, pid: Pid) -> Result<(), Failure> {
        while self.read(world, pid)? {}
        let now_ms = self.advance(world);
        let Some(server) = self.server(pid) else { return Ok(()) };
        let busy: Vec<usize> = (0..world.sessions.len())
            .filter(|session| world.sessions[*session].ledger.turns.contains_key(&pid))
            .collect();
        let ids: HashSet<_> = busy.iter().map(|session| world.sessions[*session].id.clone()).collect();
        self.registry.confirm_busy(&server, &ids, |session, _| !ids.contains(session));
        world.trace.all(now_ms, || format!("pointsman reads process {pid}, which is busy with {ids:?}"));
        let process = &mut world.processes[pid];
        process.connected = true;
        process.missed.clear();
        for session in &mut world.sessions {
            session.ledger.heard_busy.remove(&pid);
        }
        for session in busy {
            let ledger = &mut world.sessions[session].ledger;
            ledger.touch(pid, now_ms);
            ledger.arrive(pid, now_ms);
            ledger.heard_busy.insert(pid);
            if let Some(turn) = ledger.turns.get_mut(&pid)
                && turn.seen == Seen::No
            {
                turn.seen = Seen::Asked;
            }
        }
        Ok(())
    }

    /// Reads one event of a stream, or its end. Tells whether there was one.
    pub(crate) fn read(&mut self, world: &mut World, pid: Pid) -> Result<bool, Failure> {
        let Some(server) = self.server(pid) else { return Ok(false) };
        let now_ms = self.advance(world);
        let Some(emission) = world.processes[pid].stream.pop_front() else {
            if world.processes[pid].lives {
                return Ok(false);
            }
            world.trace.all(now_ms, || format!("the stream of process {pid} ends"));
            self.place_all(world);
            self.registry.depart(server.key);
            self.keys.remove(&pid);
            self.left.push((pid, world.now_ms));
            for session in &mut world.sessions {
                session.ledger.heard_busy.remove(&pid);
            }
            return Ok(true);
        };
        self.take_in(world, pid, &server, &emission)?;
        Ok(true)
    }

    fn take_in(
        &self,
        world: &mut World,
        pid: Pid,
        server: &Server,
        emission: &Emission,
    ) -> Result<(), Failure> {
        let Emission { at_ms, session, signal } = emission;
        let it = &mut world.sessions[*session];
        let placed = !self.unplaced.contains(&pid);
        let heard = &it.ledger.heard_busy;
        let foreign = placed
            && matches!(signal, Signal::Idle)
            && !heard.contains(&pid)
            && heard.iter().any(|busy| !self.unplaced.contains(busy));
        let before = self.registry.find(&it.id);
        let news = take_in(&self.registry, server, &it.id, signal, *at_ms);
        let after = self.registry.find(&it.id);
        world.trace.session(world.now_ms, *session, || {
            format!("{signal:?} of process {pid} arrives: {before:?} becomes {after:?}")
        });
        if foreign && (news.is_some() || before != after) {
            return Err(Failure::new(*session, format!("a forged idle of process {pid} was applied")));
        }
        match signal {
            Signal::Busy => {
                it.ledger.arrive(pid, *at_ms);
                it.ledger.heard_busy.insert(pid);
                if let Some(turn) = it.ledger.turns.get_mut(&pid).filter(|turn| turn.since_ms == *at_ms) {
                    turn.seen = Seen::Began;
                }
            }
            Signal::Output => it.ledger.arrive(pid, *at_ms),
            Signal::Created(_) => {
                it.ledger.arrive(pid, *at_ms);
                it.told = true;
            }
            Signal::Updated(_) => it.told = true,
            Signal::Idle | Signal::Failed => {
                it.ledger.heard_busy.remove(&pid);
            }
            Signal::Deleted => it.ledger.heard_busy.clear(),
        }
        if foreign {
            it.ledger.foreign_idles += 1;
        }
        Ok(())
    }

    /// Takes in a list that `pid` gave.
    pub(crate) fn list(&self, world: &mut World, pid: Pid, rows: &[SessionRow]) {
        self.advance(world);
        let Some(server) = self.server(pid) else { return };
        for row in rows {
            self.registry.sessions.row(server.store, row, 0);
            if let Some(session) = world.session(world.processes[pid].seat.store, &row.id)
                && !self.unplaced.contains(&pid)
            {
                world.sessions[session].told = true;
            }
        }
    }

    /// Where a request for `session` goes, by the path that the proxy takes. `None` if no server could serve it.
    pub(crate) fn answer(&self, world: &mut World, session: usize) -> Option<Answer> {
        self.advance(world);
        let id = world.sessions[session].id.clone();
        let mut found = self.registry.find(&id);
        if found == Found::Unknown {
            self.look_up(world, session);
            found = self.registry.find(&id);
        }
        let servers = self.registry.servers.now();
        let meant = self.stores[world.sessions[session].store];
        let (store, owner) = match found {
            Found::Unknown => return None,
            Found::In(store, owner) => (store, owner),
            Found::InSeveral(_) => (meant, self.registry.sessions.owner_in(&id, meant, &servers)),
        };
        let owner = owner.or_else(|| self.registry.choose(store, &id))?;
        let process = *self.keys.iter().find(|(_, key)| **key == owner.server)?.0;
        let session = world.session(world.processes[process].seat.store, &id)?;
        Some(Answer { process, evidence: owner.evidence, session })
    }

    /// Whether the server named by the answer is one that pointsman holds for alive.
    pub(crate) fn holds_for_alive(&self, answer: Answer) -> bool {
        self.server(answer.process).is_some()
    }

    /// Asks one server of each store whether the session exists.
    fn look_up(&self, world: &mut World, session: usize) {
        let row = world.row(session);
        for store in 0..self.stores.len() {
            let mut of_store = self.keys.keys().filter(|pid| world.processes[**pid].seat.store == store);
            let Some(server) = of_store.next().and_then(|pid| self.server(*pid)) else { continue };
            if let Some(there) = world.session(store, &row.id)
                && !world.sessions[there].deleted
            {
                self.registry.sessions.row(server.store, &world.row(there), 0);
                world.sessions[there].told |= server.store == self.stores[store];
            }
        }
    }

    /// Sets the registry's clock to the time of the world.
    pub(crate) fn advance(&self, world: &mut World) -> u64 {
        self.registry.clock.not_before(world.tick())
    }
}

/// The store with this number.
pub(crate) fn file(store: usize) -> StoreIdentity {
    StoreIdentity::File { device: 1, inode: store as u64 }
}

/// How pointsman sees a process.
pub(crate) fn server(world: &World, pid: Pid, key: ServerKey, store: StoreKey) -> Server {
    let process = &world.processes[pid];
    Server {
        key,
        id: name(pid),
        address: process.seat.address.clone(),
        credentials: None,
        kind: process.seat.kind,
        process: Some(ServerProcess {
            pid: u32::try_from(pid).unwrap(),
            started: process.started_ms,
            started_ms: process.started_ms,
        }),
        store,
        directory: Some(Arc::clone(&process.seat.directory)),
        worktree: None,
        project: None,
        version: None,
        state: State::Up,
        since_ms: process.started_ms,
        sources: Vec::new(),
        preferred: false,
        plugin: false,
        reports_screen: false,
        usage: None,
        directories: Arc::default(),
    }
}

fn name(pid: Pid) -> ServerId {
    ServerId(format!("process-{pid}").into())
}

/// Which claims are remembered, without their times: renewals by the server that spoke last are not written.
fn names(remembered: &Remembered) -> Vec<(ServerId, String, Evidence)> {
    let mut names: Vec<_> = remembered
        .iter()
        .flat_map(|(server, kept)| {
            kept.claims.iter().map(|claim| (server.clone(), claim.session.to_string(), claim.evidence))
        })
        .collect();
    names.sort();
    names.dedup();
    names
}
