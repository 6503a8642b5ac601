//! The picture: what a client that has seen everything shows of what changed lately.
//!
//! A client that comes late, or that read too slowly to be given every event, is given this instead: ordinary events
//! that are safe to apply twice, endings included. Deltas are folded into whole parts, states that were superseded are
//! left out, and what is gone stays gone: a straggler that would bring it back is told to nobody.
//!
//! Promises: the picture at a position, followed by the events from there on, leads a client where all events would
//! have led it; it is bounded by bytes and by age, and says what it does not reach back to (`Forgotten`).
//! Keyed by session id alone, as clients' screens are.
//!
//! Pure: it neither waits nor looks at a clock.

mod part;
mod session;
#[cfg(test)]
pub(in crate::events) mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use foldhash::fast::RandomState;

use self::session::{Collected, Session};
use crate::{domain::ids::SessionId, events::log::Event, opencode::event::piece::Piece};

/// How much of the past the picture shows.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Bytes of all that it holds, as far as they can be told.
    pub bytes: usize,
    /// How long what changed last is shown.
    pub window: Duration,
}

impl Default for Extent {
    fn default() -> Self {
        Self { bytes: 64 << 20, window: Duration::from_mins(10) }
    }
}

/// The picture no longer shows all that changed since the position asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forgotten;

/// What one who read too slowly is told piece by piece, so that nothing is kept for it while it does not read: each piece
/// is made of what is so when the one before has been taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    /// It has been told all before.
    pub(super) from: u64,
    /// Where everybody else was when this began. What changed later may have been told in an earlier piece as well.
    pub(super) began: u64,
    /// Sessions that changed last before have been told.
    pub(super) behind: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Picture {
    sessions: HashMap<SessionId, Session, RandomState>,
    /// Sessions by their last change.
    order: BTreeMap<u64, SessionId>,
    bytes: usize,
    /// All that changed from here on is shown.
    floor: u64,
    extent: Extent,
}

impl Picture {
    /// One that begins empty, before the event at `start`.
    pub(super) fn new(extent: Extent, start: u64) -> Self {
        Self { sessions: HashMap::default(), order: BTreeMap::new(), bytes: 0, floor: start, extent }
    }

    /// Whether nobody is to be told of an event: it would bring back what is gone, or tell twice what is told once, or
    /// add to a text of which a piece was missed.
    pub(super) fn hides(&self, event: &Event, piece: &Piece<'_>) -> bool {
        let session = event.session.as_ref().and_then(|session| self.sessions.get(session));
        session.is_some_and(|session| session.hides(event, piece))
    }

    /// Takes in an event that has been told.
    pub(super) fn apply(&mut self, event: &Arc<Event>, piece: &Piece<'_>, now_ms: u64) {
        let Some(id) = &event.session else { return };
        if matches!(piece, Piece::Delta { .. }) && !self.sessions.contains_key(id) {
            self.floor = event.seq + 1;
            return;
        }
        let session = self.sessions.entry(id.clone()).or_default();
        let before = session.bytes();
        if before > 0 {
            self.order.remove(&session.newest());
        }
        if !session.apply(event, piece, now_ms) {
            self.floor = event.seq + 1;
        }
        self.bytes = self.bytes + session.bytes() - before;
        if session.is_empty() {
            self.sessions.remove(id);
        } else {
            self.order.insert(session.newest(), id.clone());
        }
        while self.bytes > self.extent.bytes {
            self.forget_oldest();
        }
    }

    /// Takes in a part that was found and not told by its server: more of its text may be on its way that it holds
    /// already, so that it must be told whole before it grows.
    pub(super) fn distrust(&mut self, event: &Event, piece: &Piece<'_>) {
        if let Some(session) = event.session.as_ref().and_then(|session| self.sessions.get_mut(session)) {
            session.distrust(piece);
        }
    }

    /// Takes in an event that an earlier run has told. What was told before it began is not shown in full.
    pub(super) fn recall(&mut self, event: &Arc<Event>, piece: &Piece<'_>) {
        let floor = self.floor;
        self.apply(event, piece, 0);
        self.floor = self.floor.max(floor);
    }

    /// What is shown to go on at servers of which `is_there` does not hold: work, and open questions.
    pub(super) fn left_open(&self, is_there: impl Fn(&str) -> bool) -> Vec<(SessionId, Arc<Event>)> {
        let mut open = Vec::new();
        for (id, session) in &self.sessions {
            let of_others = session.open().filter(|event| !event.server.as_deref().is_none_or(&is_there));
            open.extend(of_others.map(|event| (id.clone(), Arc::clone(event))));
        }
        open
    }

    /// The last event that changed this piece.
    pub(super) fn told_at(&self, session: &SessionId, kind: &str, piece: &Piece<'_>) -> Option<u64> {
        self.sessions.get(session)?.told_at(kind, piece)
    }

    /// All that is shown of a session.
    pub(super) fn of(&mut self, session: &SessionId) -> Vec<Arc<Event>> {
        let session = self.sessions.get_mut(session);
        session.map(|session| session.since(0, &|_| true).in_order()).unwrap_or_default()
    }

    /// The sessions of which this server has told something that is shown, those that changed last first.
    pub(super) fn told_by(&self, server: &str, most: usize) -> Vec<SessionId> {
        let told = |id: &&SessionId| self.sessions.get(*id).is_some_and(|session| session.is_told_by(server));
        self.order.values().rev().filter(told).take(most).cloned().collect()
    }

    /// Events of this server were missed: what its texts grew by is not known, until they are told whole.
    pub(super) fn missed(&mut self, server: &str) {
        for session in self.sessions.values_mut() {
            session.missed(server);
        }
    }

    /// Forgets what changed last before the window.
    pub(super) fn tidy(&mut self, now_ms: u64) {
        let window_ms = u64::try_from(self.extent.window.as_millis()).unwrap_or(u64::MAX);
        let since_ms = now_ms.saturating_sub(window_ms);
        let mut emptied = Vec::new();
        for (id, session) in &mut self.sessions {
            let before = session.bytes();
            if let Some(newest) = session.forget_before(since_ms) {
                self.floor = self.floor.max(newest + 1);
            }
            self.bytes = self.bytes + session.bytes() - before;
            if session.is_empty() {
                emptied.push((session.newest(), id.clone()));
            }
        }
        for (newest, id) in emptied {
            self.order.remove(&newest);
            self.remove(&id);
        }
    }

    /// About `most` bytes of what changed in a stretch and that `admits`, as events to apply in this order: the sessions
    /// that changed last come last. Gives what is left of the stretch.
    pub(super) fn since(
        &mut self,
        stretch: Stretch,
        most: usize,
        admits: impl Fn(&Event) -> bool,
    ) -> Result<(Vec<Arc<Event>>, Option<Stretch>), Forgotten> {
        if stretch.from < self.floor {
            return Err(Forgotten);
        }
        let (mut all, mut bytes) = (Collected::default(), 0);
        for (newest, id) in self.order.range(stretch.behind.max(stretch.from)..) {
            if bytes >= most {
                return Ok((all.in_order(), Some(Stretch { behind: *newest, ..stretch })));
            }
            let Some(session) = self.sessions.get_mut(id) else { continue };
            let mut of_session = session.since(stretch.from, &admits);
            bytes += of_session.bytes();
            if *newest >= stretch.began {
                of_session.shown().for_each(as_there);
            }
            all.add(of_session);
        }
        Ok((all.in_order(), None))
    }

    /// All that is shown and that `admits`: the sessions that changed last first, up to about `most` bytes.
    pub(super) fn now(&mut self, most: usize, admits: impl Fn(&Event) -> bool) -> Vec<Arc<Event>> {
        let mut events = self.collect(most, &admits);
        events.iter_mut().for_each(as_there);
        events
    }

    fn collect(&mut self, most: usize, admits: &impl Fn(&Event) -> bool) -> Vec<Arc<Event>> {
        let mut all = Collected::default();
        let mut bytes = 0;
        for id in self.order.values().rev() {
            let Some(session) = self.sessions.get_mut(id) else { continue };
            let of_session = session.since(0, admits);
            bytes += of_session.bytes();
            if bytes > most {
                break;
            }
            all.add(of_session);
        }
        all.in_order()
    }

    /// About how many bytes it holds.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many it may hold.
    pub(super) fn limit(&self) -> usize {
        self.extent.bytes
    }

    fn forget_oldest(&mut self) {
        // The session that changed last is kept as far as there is room for it.
        if self.order.len() > 1 {
            let Some((newest, id)) = self.order.pop_first() else { return };
            self.floor = self.floor.max(newest + 1);
            self.remove(&id);
            return;
        }
        let Some(session) = self.sessions.values_mut().next() else { return };
        let before = session.bytes();
        let newest = session.forget_oldest();
        self.floor = self.floor.max(newest + 1);
        self.bytes = self.bytes + session.bytes() - before;
        if session.is_empty() {
            self.order.clear();
            self.sessions.clear();
            self.bytes = 0;
        }
    }

    fn remove(&mut self, id: &SessionId) {
        if let Some(session) = self.sessions.remove(id) {
            self.bytes -= session.bytes();
        }
    }
}

/// Tells that a session is there, not that it comes into being.
fn as_there(event: &mut Arc<Event>) {
    if event.kind == "session.created"
        && let Some(updated) = part::retyped(event, "session.updated")
    {
        *event = Arc::new(updated);
    }
}
