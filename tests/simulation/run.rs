//! One seed: a world, a pointsman, and what chance does to both.

use std::{collections::BTreeMap, sync::Arc};

use pointsman::{
    domain::{evidence::Evidence, ids::SessionId, kind::Kind, session::SessionRow},
    registry::server::Address,
};

use super::{
    checks::{choices_do_not_depend_on_order, is_right, is_stable},
    pointsman::{Answer, Pointsman},
    random::Random,
    trace::Trace,
    truth::{Verdict, verdict},
    world::{Pid, Seat, World},
};

/// How much happens in one seed: enough for a few restarts, short enough to be read.
const STEPS: usize = 150;

/// How many sessions are made in one seed: few, so that much happens to each.
const SESSIONS: usize = 9;

/// A promise that was broken.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) session: usize,
    pub(crate) what: String,
    pub(crate) trace: String,
}

impl Failure {
    pub(crate) fn new(session: usize, what: impl std::fmt::Display) -> Self {
        Self { session, what: format!("session {session}: {what}"), trace: String::new() }
    }
}

/// What was seen, to show that it was seen at all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Owners that the oracle confirmed.
    pub(crate) judged: u64,
    /// Of these by `routed`.
    pub(crate) routed: u64,
    /// Of these by `succeeded`.
    pub(crate) succeeded: u64,
    /// Of these by `inherited`.
    pub(crate) inherited: u64,
    /// Choices where the oracle names nobody.
    pub(crate) chosen: u64,
    /// Answers for sessions deleted or behind a cut.
    pub(crate) not_judged: u64,
    /// Answers where what decides was lost.
    pub(crate) lost: u64,
    /// Forged idles that were told as foreign.
    pub(crate) foreign_idles: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.judged += other.judged;
        self.routed += other.routed;
        self.succeeded += other.succeeded;
        self.inherited += other.inherited;
        self.chosen += other.chosen;
        self.not_judged += other.not_judged;
        self.lost += other.lost;
        self.foreign_idles += other.foreign_idles;
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Run {
    world: World,
    /// Taken out only while it restarts.
    pointsman: Option<Pointsman>,
    random: Random,
    seats: Vec<Seat>,
    stores: usize,
    /// Lists as they once were.
    old_lists: Vec<(usize, Vec<SessionRow>)>,
    /// Whether streams are cut and pointsman restarts in this seed.
    lossy: bool,
    /// The choices made where nobody has a session, for as long as nobody has it.
    choices: BTreeMap<usize, Pid>,
    tally: Tally,
}

impl Run {
    /// The run of `seed`, with a trace of one session.
    pub(crate) fn new(seed: u64, traced: Option<usize>) -> Self {
        let mut random = Random::new(seed);
        let stores = 1 + random.below(3);
        let mut seats = Vec::new();
        for number in 0..3 + random.below(3) {
            let hosts = ["127.0.0.1", "::1"];
            let directories = ["/work/a", "/work/a/b", "/work/c"];
            let kinds = [Kind::Serve, Kind::Tui, Kind::Web, Kind::Other];
            // Equal ports on two hosts, and now and then two masters of one port.
            let address = Address::new(hosts[number % 2], 4096 + u16::try_from(number / 2).unwrap());
            seats.push(Seat {
                address,
                directory: directories[random.below(3)].into(),
                store: random.below(stores),
                kind: kinds[random.below(4)],
            });
        }
        let mut world = World::new(Trace::of(traced));
        for store in 0..stores {
            world.inherit_from_the_past(store, "/work/a".into());
        }
        // A database on the disk costs what a hundred other steps cost.
        let home = seed.is_multiple_of(32).then(|| tempfile::tempdir().unwrap());
        Self {
            world,
            pointsman: Some(Pointsman::new(stores, home)),
            random,
            seats,
            stores,
            old_lists: Vec::new(),
            lossy: seed % 4 != 1,
            choices: BTreeMap::new(),
            tally: Tally::default(),
        }
    }

    /// Plays it to the end.
    pub(crate) fn play(mut self) -> Result<Tally, Failure> {
        let played = self.steps();
        for session in &self.world.sessions {
            self.tally.foreign_idles += session.ledger.foreign_idles;
        }
        match played {
            Ok(()) => Ok(self.tally),
            Err(failure) => Err(Failure { trace: self.world.trace.take(), ..failure }),
        }
    }

    fn steps(&mut self) -> Result<(), Failure> {
        for _ in 0..3 {
            self.start();
        }
        for _ in 0..STEPS {
            self.step()?;
        }
        self.check_all()?;
        choices_do_not_depend_on_order(&self.world, &mut self.random)
    }

    fn step(&mut self) -> Result<(), Failure> {
        match self.random.below(100) {
            0..=4 => self.start(),
            5..=7 => self.kill(),
            8..=11 => self.meet_one()?,
            12..=15 if self.lossy => self.cut(),
            16..=18 => self.list(),
            19 if self.lossy => self.restart()?,
            20..=21 => self.check_all()?,
            22 => self.wait()?,
            23..=27 => self.create(),
            28..=31 => self.create_through_us()?,
            32..=66 => self.live(),
            67..=80 => self.read_some()?,
            _ => self.request()?,
        }
        Ok(())
    }

    fn us(&mut self) -> (&mut World, &mut Pointsman, &mut Random) {
        let Some(pointsman) = self.pointsman.as_mut() else {
            unreachable!("it is only out while it restarts")
        };
        (&mut self.world, pointsman, &mut self.random)
    }

    /// A process takes a seat that is free.
    fn start(&mut self) {
        let number = self.random.below(self.seats.len());
        if self.random.percent(5) {
            // From now on somebody else uses this port.
            self.seats[number].store = self.random.below(self.stores);
        }
        let seat = self.seats[number].clone();
        let taken = |pid: Pid| self.world.processes[pid].seat.address == seat.address;
        if !self.world.living().into_iter().any(taken) {
            self.world.start(seat);
        }
    }

    fn kill(&mut self) {
        let Some(pid) = self.random.pick(&self.world.living()) else { return };
        self.world.kill(pid, &mut self.random);
        if self.random.percent(50) {
            let seat = self.world.processes[pid].seat.clone();
            self.world.start(seat);
        }
    }

    /// Discovery meets a process, or a stream is opened again. A port's old process is seen to be gone first.
    fn meet_one(&mut self) -> Result<(), Failure> {
        let unread: Vec<Pid> =
            self.world.living().into_iter().filter(|pid| !self.world.processes[*pid].connected).collect();
        let Some(pid) = self.random.pick(&unread) else { return Ok(()) };
        self.connect(pid)
    }

    fn connect(&mut self, pid: Pid) -> Result<(), Failure> {
        let (world, pointsman, random) = self.us();
        let address = world.processes[pid].seat.address.clone();
        let known: Vec<Pid> = pointsman.keys.keys().copied().collect();
        for gone in known {
            if gone != pid && world.processes[gone].seat.address == address {
                while pointsman.read(world, gone)? {}
            }
        }
        if !pointsman.keys.contains_key(&pid) {
            pointsman.meet(world, pid, random);
        }
        pointsman.connect(world, pid)
    }

    fn cut(&mut self) {
        let read: Vec<Pid> =
            self.world.living().into_iter().filter(|pid| self.world.processes[*pid].connected).collect();
        if let Some(pid) = self.random.pick(&read) {
            self.world.cut(pid, &mut self.random);
        }
    }

    /// A list arrives: fresh or old, with lies, in part.
    fn list(&mut self) {
        let Some(pid) = self.random.pick(&self.world.living()) else { return };
        let store = self.world.processes[pid].seat.store;
        let there = self.world.sessions_in(store);
        let mut rows: Vec<SessionRow> = there
            .into_iter()
            .filter(|session| !self.world.sessions[*session].deleted)
            .map(|session| self.world.row(session))
            .collect();
        self.old_lists.push((store, rows.clone()));
        if self.random.percent(30) {
            let old = self.random.below(self.old_lists.len());
            if self.old_lists[old].0 == store {
                rows.clone_from(&self.old_lists[old].1);
            }
        }
        for row in &mut rows {
            match self.random.below(10) {
                0 => row.directory = "/nowhere".into(),
                1 => row.updated_ms = u64::MAX,
                2 => row.updated_ms = 0,
                3 => row.title = "x".repeat(50).into(),
                _ => {}
            }
        }
        if self.random.percent(20) {
            let row = SessionRow { id: SessionId::try_new("ses_phantom").unwrap(), ..self.world.row(0) };
            rows.push(row);
        }
        self.random.shuffle(&mut rows);
        let part = self.random.below(rows.len() + 1);
        let (world, pointsman, _) = self.us();
        pointsman.list(world, pid, &rows[part..]);
    }

    /// Time passes: places lapse.
    fn wait(&mut self) -> Result<(), Failure> {
        self.flush()?;
        if self.random.percent(30) {
            self.world.now_ms += 11 * 60 * 1000;
        }
        Ok(())
    }

    fn create(&mut self) {
        if self.world.sessions.len() >= SESSIONS {
            return;
        }
        let Some(pid) = self.random.pick(&self.world.living()) else { return };
        // A database that was copied: the same id in two stores.
        let store = self.world.processes[pid].seat.store;
        let copied = self
            .random
            .percent(10)
            .then(|| self.random.below(self.world.sessions.len()))
            .filter(|other| self.world.session(store, &self.world.sessions[*other].id).is_none())
            .map(|other| self.world.sessions[other].id.clone());
        let elsewhere: Option<Arc<str>> = self.random.percent(20).then(|| "/work/else".into());
        self.world.create(pid, None, copied, elsewhere);
    }

    /// A session made through us is usable in the very next request.
    fn create_through_us(&mut self) -> Result<(), Failure> {
        if self.world.sessions.len() >= SESSIONS {
            return Ok(());
        }
        let (world, pointsman, random) = self.us();
        let known: Vec<Pid> =
            pointsman.keys.keys().copied().filter(|pid| world.processes[*pid].lives).collect();
        let Some(pid) = random.pick(&known) else { return Ok(()) };
        let session = world.create(pid, None, None, None);
        let now_ms = pointsman.advance(world);
        if let Some(server) = pointsman.server(pid) {
            pointsman.registry.sessions.row(server.store, &world.row(session), 0);
            pointsman.registry.claim(&server, &world.sessions[session].id, Evidence::Emitted);
        }
        let it = &mut world.sessions[session].ledger;
        it.touch(pid, now_ms);
        it.arrive(pid, now_ms);
        world.sessions[session].told = true;
        match pointsman.answer(world, session) {
            Some(answer) if answer.process == pid => Ok(()),
            other => {
                Err(Failure::new(session, format!("made on process {pid}, then asked for at {other:?}")))
            }
        }
    }

    /// Something happens without us.
    fn live(&mut self) {
        let Some(pid) = self.random.pick(&self.world.living()) else { return };
        let (world, random) = (&mut self.world, &mut self.random);
        let store = world.processes[pid].seat.store;
        let running: Vec<usize> = world
            .sessions_in(store)
            .into_iter()
            .filter(|session| world.sessions[*session].ledger.turns.contains_key(&pid))
            .collect();
        if let Some(session) = random.pick(&running)
            && random.percent(75)
        {
            match random.below(10) {
                0..=5 => world.write(pid, session),
                6 if world.sessions.len() < SESSIONS => {
                    let child = world.create(pid, Some(session), None, None);
                    world.begin(pid, child);
                }
                _ => world.end(pid, session, random),
            }
            return;
        }
        let existing: Vec<usize> = world
            .sessions_in(store)
            .into_iter()
            .filter(|session| !world.sessions[*session].deleted)
            .collect();
        let Some(session) = random.pick(&existing) else { return };
        match random.below(20) {
            0..=8 => world.begin(pid, session),
            9..=14 => world.abort(pid, session),
            15..=18 => world.edit(pid, session),
            _ if random.percent(30) => world.delete(pid, session),
            _ => {}
        }
    }

    /// A few events arrive, from any stream, in the order of each stream alone.
    fn read_some(&mut self) -> Result<(), Failure> {
        for _ in 0..=self.random.below(8) {
            let (world, pointsman, random) = self.us();
            let known: Vec<Pid> = pointsman.keys.keys().copied().collect();
            if let Some(pid) = random.pick(&known) {
                pointsman.read(world, pid)?;
            }
        }
        Ok(())
    }

    /// Everything on connected streams arrives, in an order of chance between streams.
    fn drain(&mut self) -> Result<(), Failure> {
        let (world, pointsman, random) = self.us();
        pointsman.place_all(world);
        loop {
            let known = pointsman.keys.keys().copied();
            let unread: Vec<Pid> = known
                .filter(|pid| !world.processes[*pid].stream.is_empty() || !world.processes[*pid].lives)
                .collect();
            let Some(pid) = random.pick(&unread) else { return Ok(()) };
            pointsman.read(world, pid)?;
        }
    }

    /// Every process is met, every stream is read to its end.
    fn flush(&mut self) -> Result<(), Failure> {
        let mut unread: Vec<Pid> =
            self.world.living().into_iter().filter(|pid| !self.world.processes[*pid].connected).collect();
        self.random.shuffle(&mut unread);
        for pid in unread {
            self.connect(pid)?;
        }
        self.drain()
    }

    fn request(&mut self) -> Result<(), Failure> {
        let session = self.random.below(self.world.sessions.len());
        let checked = self.random.percent(75);
        if checked && self.random.percent(70) {
            self.flush()?;
        } else if checked {
            self.drain()?;
        }
        let (world, pointsman, _) = self.us();
        let Some(answer) = pointsman.answer(world, session) else { return Ok(()) };
        let now_ms = world.now_ms;
        world.trace.session(now_ms, answer.session, || format!("a request: {answer:?}"));
        is_stable(world, pointsman, answer, session)?;
        if checked {
            let Self { world, pointsman: Some(pointsman), choices, tally, .. } = self else { return Ok(()) };
            is_right(world, pointsman, answer, choices, tally)?;
        }
        self.serve(answer);
        Ok(())
    }

    /// The process asked does what the client wants.
    fn serve(&mut self, answer: Answer) {
        let Answer { mut process, session, .. } = answer;
        let (world, pointsman, random) = self.us();
        if random.percent(15) {
            // The client names a server itself.
            let store = world.sessions[session].store;
            let known: Vec<Pid> =
                world.living_in(store).into_iter().filter(|pid| pointsman.keys.contains_key(pid)).collect();
            process = random.pick(&known).unwrap_or(process);
        }
        if !world.processes[process].lives || world.sessions[session].deleted {
            return;
        }
        match random.below(10) {
            0..=4 => {
                world.begin(process, session);
                let now_ms = pointsman.advance(world);
                let Some(server) = pointsman.server(process) else { return };
                pointsman.registry.claim(&server, &world.sessions[session].id, Evidence::Routed);
                world.sessions[session].ledger.accepted.insert(process, now_ms);
                world.trace.session(now_ms, session, || format!("process {process} accepts a turn"));
                if self.lossy && self.random.percent(20) {
                    // A short turn of which nothing but our own knowledge remains.
                    self.world.cut(process, &mut self.random);
                    self.world.end(process, session, &mut self.random);
                }
            }
            5..=6 => world.abort(process, session),
            _ => {}
        }
    }

    fn check_all(&mut self) -> Result<(), Failure> {
        self.flush()?;
        for session in 0..self.world.sessions.len() {
            let Self { world, pointsman: Some(pointsman), choices, tally, .. } = self else { return Ok(()) };
            if let Some(answer) = pointsman.answer(world, session) {
                is_stable(world, pointsman, answer, session)?;
                is_right(world, pointsman, answer, choices, tally)?;
            }
        }
        Ok(())
    }

    /// Every list arrives, whole and true.
    fn list_everything(&mut self) {
        for pid in self.world.living() {
            let store = self.world.processes[pid].seat.store;
            let there = self.world.sessions_in(store);
            let rows: Vec<_> = there
                .into_iter()
                .filter(|session| !self.world.sessions[*session].deleted)
                .map(|session| self.world.row(session))
                .collect();
            let (world, pointsman, _) = self.us();
            pointsman.list(world, pid, &rows);
        }
    }

    /// Pointsman dies. If nothing happens meanwhile, every answer is what it was.
    fn restart(&mut self) -> Result<(), Failure> {
        let quiet = self.random.percent(60);
        let mut before = Vec::new();
        if quiet {
            self.flush()?;
            self.list_everything();
            self.check_all()?;
            for session in 0..self.world.sessions.len() {
                let (world, pointsman, _) = self.us();
                before.push(pointsman.answer(world, session));
            }
        }
        if let Some(pointsman) = self.pointsman.take() {
            self.pointsman = Some(pointsman.restart(&mut self.world)?);
        }
        if !quiet {
            // Whoever is asked for before the process chosen is met again gets another, and keeps it.
            self.choices.clear();
            for _ in 0..self.random.below(6) {
                self.live();
            }
            return Ok(());
        }
        self.flush()?;
        self.list_everything();
        for (session, before) in before.into_iter().enumerate() {
            let uncertain = matches!(verdict(&self.world, session), Verdict::OneOf(_) | Verdict::NotJudged);
            let (world, pointsman, _) = self.us();
            let after = pointsman.answer(world, session);
            // An id known in one store only means the session there.
            let meant = |answer: &Option<Answer>| answer.is_none_or(|answer| answer.session == session);
            let uncertain = uncertain || !meant(&before) || !meant(&after);
            let (one, other) = (before.map(|answer| answer.process), after.map(|answer| answer.process));
            if one != other && !uncertain {
                let what = format!("{before:?} before a restart of pointsman, {after:?} after it");
                return Err(Failure::new(session, what));
            }
        }
        Ok(())
    }
}
