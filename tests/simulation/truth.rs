//! The oracle: what processes truly did with a session, and which part of it has arrived anywhere.

use std::collections::{BTreeMap, BTreeSet};

use super::world::{Pid, World};

/// How the beginning of a running turn became known to the pointsman of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Not yet.
    No,
    /// By its own event.
    Began,
    /// By asking after a gap: it runs, but nobody can say since when.
    Asked,
}

/// A turn that is running.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) since_ms: u64,
    pub(crate) seen: Seen,
}

/// What was truly done with one session.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// When each process last showed that it ran or made the session.
    pub(crate) last: BTreeMap<Pid, u64>,
    /// The same, of what has arrived at a pointsman.
    pub(crate) arrived: BTreeMap<Pid, u64>,
    /// When each process last accepted a turn through a pointsman.
    pub(crate) accepted: BTreeMap<Pid, u64>,
    /// The turns that run now.
    pub(crate) turns: BTreeMap<Pid, Turn>,
    /// Who said it was busy and has not said otherwise, as far as has arrived.
    pub(crate) heard_busy: BTreeSet<Pid>,
    /// How many idles were told as foreign.
    pub(crate) foreign_idles: u64,
}

impl Ledger {
    pub(crate) fn arrive(&mut self, process: Pid, at_ms: u64) {
        let known = self.arrived.entry(process).or_default();
        *known = at_ms.max(*known);
    }

    /// Whether several processes run it and the beginning of one turn was lost.
    fn is_ambiguous(&self) -> bool {
        self.turns.len() > 1 && self.turns.values().any(|turn| turn.seen == Seen::Asked)
    }

    pub(crate) fn touch(&mut self, process: Pid, at_ms: u64) {
        let last = self.last.entry(process).or_default();
        *last = at_ms.max(*last);
    }
}

/// What the oracle says of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This process has it.
    Has(Pid),
    /// One of these; nobody could know which.
    OneOf(Vec<Pid>),
    /// Nobody that lives ever had to do with it.
    Nobody,
    /// It was deleted, or touched behind a cut.
    NotJudged,
    /// What decides was lost on the way.
    Lost,
}

/// How a process came by a session: the greater, the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Title {
    Accepted,
    Heir,
    Child,
    Worked,
}

/// What the oracle says of `session` now.
pub(crate) fn verdict(world: &World, session: usize) -> Verdict {
    let it = &world.sessions[session];
    let concerned = || std::iter::once(session).chain(world.parents(session));
    let behind = |process: &super::world::Process| {
        process.lives && !process.connected && concerned().any(|session| process.missed.contains(&session))
    };
    if concerned().any(|session| world.sessions[session].deleted) || world.processes.iter().any(behind) {
        return Verdict::NotJudged;
    }
    let turns = &it.ledger.turns;
    if turns.values().any(|turn| turn.seen == Seen::No) {
        return Verdict::NotJudged;
    }
    if it.ledger.is_ambiguous() {
        return Verdict::OneOf(turns.keys().copied().collect());
    }
    if let Some((&process, _)) = turns.iter().min_by_key(|(_, turn)| turn.since_ms) {
        return Verdict::Has(process);
    }
    let worked = it.ledger.arrived.keys().any(|process| world.processes[*process].lives);
    if !worked && world.parents(session).any(|parent| world.sessions[parent].ledger.is_ambiguous()) {
        return Verdict::NotJudged;
    }
    let truth = holder(world, session, false);
    let knowable = holder(world, session, true);
    match (truth, knowable) {
        (Some((truth, _)), Some((knowable, _))) if truth == knowable => Verdict::Has(truth),
        (None, None) => Verdict::Nobody,
        _ => Verdict::Lost,
    }
}

/// Who has a session that nobody runs: by everything, or only by what has `arrived`.
fn holder(world: &World, session: usize, arrived: bool) -> Option<(Pid, Title)> {
    let it = &world.sessions[session];
    let signs = if arrived { &it.ledger.arrived } else { &it.ledger.last };
    let living = |process: &Pid| world.processes[*process].lives;
    let newest = |signs: &BTreeMap<Pid, u64>| {
        signs.iter().filter(|(process, _)| living(process)).max_by_key(|(_, at)| **at).map(|(pid, _)| *pid)
    };
    let heir = || {
        let since = |process: Pid| {
            world
                .ancestors(process)
                .filter_map(|gone| signs.get(&gone).max(it.ledger.accepted.get(&gone)).copied())
                .max()
        };
        let living = (0..world.processes.len()).filter(living);
        living.filter_map(|process| Some((since(process)?, process))).max().map(|(_, process)| process)
    };
    let own = newest(signs)
        .map(|process| (process, Title::Worked))
        .or_else(|| heir().map(|process| (process, Title::Heir)))
        .or_else(|| newest(&it.ledger.accepted).map(|process| (process, Title::Accepted)));
    let parent = it.parent.filter(|_| it.told || !arrived).and_then(|parent| {
        // The parent may run right now: then it is where the oracle says.
        let running = world.sessions[parent].ledger.turns.iter().min_by_key(|(_, turn)| turn.since_ms);
        running.map(|(process, _)| (*process, Title::Worked)).or_else(|| holder(world, parent, arrived))
    });
    let child = parent.map(|(process, title)| (process, title.min(Title::Child)));
    match (own, child) {
        (Some(own), Some(child)) if child.1 > own.1 => Some(child),
        (own, child) => own.or(child),
    }
}
