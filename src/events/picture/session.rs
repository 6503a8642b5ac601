//! What is shown of one session.

use std::{collections::BTreeMap, sync::Arc};

use smallvec::SmallVec;

use super::part::Part;
use crate::{events::log::Event, opencode::event::piece::Piece};

/// What an event costs beside its text.
const AROUND: usize = 256;

/// The event that told a state last, and when.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) event: Arc<Event>,
    pub(super) at_ms: u64,
}

impl Entry {
    pub(super) fn bytes(&self) -> usize {
        self.event.frame.len() + AROUND
    }
}

/// Something that is there, or was.
#[derive(Debug)]
struct State {
    entry: Entry,
    is_over: bool,
}

impl State {
    /// Takes its place; gives the bytes of what stood there.
    fn replace(self, place: &mut Option<Self>) -> usize {
        place.replace(self).map_or(0, |before| before.entry.bytes())
    }
}

/// A message, of which only parts may have been told.
#[derive(Debug, Default)]
struct Message {
    state: Option<State>,
    parts: BTreeMap<Box<str>, PartState>,
}

#[derive(Debug)]
enum PartState {
    Shown(Part),
    Removed(Entry),
}

impl Message {
    fn bytes(&self) -> usize {
        let state = self.state.as_ref().map_or(0, |state| state.entry.bytes());
        state + self.parts.values().map(PartState::bytes).sum::<usize>()
    }
}

impl PartState {
    fn bytes(&self) -> usize {
        match self {
            Self::Shown(part) => part.bytes(),
            Self::Removed(entry) => entry.bytes(),
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Session {
    info: Option<Entry>,
    /// Its beginning has been told.
    was_created: bool,
    gone: Option<Entry>,
    status: Option<State>,
    singles: SmallVec<[Entry; 2]>,
    /// Ids sort by time.
    messages: BTreeMap<Box<str>, Message>,
    asks: BTreeMap<Box<str>, State>,
    newest: u64,
    bytes: usize,
}

/// Events to apply: first those that end something, then those that show something.
#[derive(Debug, Default)]
pub(super) struct Collected {
    ended: Vec<Arc<Event>>,
    shown: Vec<Arc<Event>>,
}

impl Collected {
    pub(super) fn bytes(&self) -> usize {
        self.ended.iter().chain(&self.shown).map(|event| event.frame.len()).sum()
    }

    pub(super) fn add(&mut self, other: Self) {
        self.ended.extend(other.ended);
        self.shown.extend(other.shown);
    }

    pub(super) fn shown(&mut self) -> impl Iterator<Item = &mut Arc<Event>> {
        self.shown.iter_mut()
    }

    pub(super) fn in_order(mut self) -> Vec<Arc<Event>> {
        self.ended.append(&mut self.shown);
        self.ended
    }

    fn put(&mut self, event: &Arc<Event>, is_over: bool) {
        let place = if is_over { &mut self.ended } else { &mut self.shown };
        place.push(Arc::clone(event));
    }
}

impl Session {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The last event that changed it.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    pub(super) fn hides(&self, event: &Event, piece: &Piece<'_>) -> bool {
        if self.gone.is_some() {
            return true;
        }
        let is_over = |message: &str| {
            let state = self.messages.get(message).and_then(|message| message.state.as_ref());
            state.is_some_and(|state| state.is_over)
        };
        let part =
            |message: &str, id: &str| self.messages.get(message).and_then(|message| message.parts.get(id));
        match piece {
            Piece::Session => event.kind == "session.created" && self.was_created,
            Piece::Message { id } => is_over(id),
            Piece::Part { message, id } => {
                is_over(message) || matches!(part(message, id), Some(PartState::Removed(_)))
            }
            Piece::Delta { message, part: id, .. } => {
                is_over(message)
                    || match part(message, id) {
                        Some(PartState::Removed(_)) => true,
                        Some(PartState::Shown(part)) => part.is_broken(),
                        None => false,
                    }
            }
            Piece::SessionDeleted
            | Piece::Status { .. }
            | Piece::Single
            | Piece::MessageRemoved { .. }
            | Piece::PartRemoved { .. }
            | Piece::Asked { .. }
            | Piece::Answered { .. } => false,
        }
    }

    /// Takes in an event; false if it added to what is not shown, and so cannot be told again.
    pub(super) fn apply(&mut self, event: &Arc<Event>, piece: &Piece<'_>, at_ms: u64) -> bool {
        let entry = Entry { event: Arc::clone(event), at_ms };
        let taken = entry.bytes();
        let freed = match piece {
            Piece::Session => {
                self.was_created |= event.kind == "session.created";
                self.info.replace(entry).map_or(0, |before| before.bytes())
            }
            Piece::SessionDeleted => {
                let before = std::mem::replace(self, Self { gone: Some(entry), ..Self::default() });
                self.bytes = before.bytes;
                before.bytes
            }
            Piece::Status { idle } => State { entry, is_over: *idle }.replace(&mut self.status),
            Piece::Single => {
                let same = self.singles.iter().position(|other| other.event.kind == event.kind);
                let freed = same.map_or(0, |at| self.singles.remove(at).bytes());
                self.singles.push(entry);
                freed
            }
            Piece::Message { id } => State { entry, is_over: false }.replace(&mut self.message(id).state),
            Piece::MessageRemoved { id } => {
                let state = Some(State { entry, is_over: true });
                let removed = Message { state, parts: BTreeMap::new() };
                std::mem::replace(self.message(id), removed).bytes()
            }
            Piece::Part { message, id } => {
                let shown = PartState::Shown(Part::new(entry));
                self.message(message).parts.insert((**id).into(), shown).map_or(0, |before| before.bytes())
            }
            Piece::PartRemoved { message, id } => {
                let removed = PartState::Removed(entry);
                self.message(message).parts.insert((**id).into(), removed).map_or(0, |before| before.bytes())
            }
            Piece::Delta { message, part, field, text } => {
                let known = self.messages.get_mut(&**message).and_then(|known| known.parts.get_mut(&**part));
                let Some(PartState::Shown(known)) = known else { return false };
                known.grow(field, text, event.seq, at_ms);
                self.bytes += text.len();
                self.newest = event.seq;
                return true;
            }
            Piece::Asked { id } => self.ask(id, State { entry, is_over: false }),
            Piece::Answered { id } => self.ask(id, State { entry, is_over: true }),
        };
        self.newest = event.seq;
        self.bytes = self.bytes + taken - freed;
        true
    }

    /// Events of this server were missed.
    pub(super) fn missed(&mut self, server: &str) {
        for state in self.messages.values_mut().flat_map(|message| message.parts.values_mut()) {
            if let PartState::Shown(part) = state
                && part.server() == Some(server)
            {
                part.miss();
            }
        }
    }

    /// A part that was found may hold what is on its way.
    pub(super) fn distrust(&mut self, piece: &Piece<'_>) {
        if let Piece::Part { message, id } = piece
            && let Some(message) = self.messages.get_mut(&**message)
            && let Some(PartState::Shown(part)) = message.parts.get_mut(&**id)
        {
            part.miss();
        }
    }

    /// The last event that changed this piece.
    pub(super) fn told_at(&self, kind: &str, piece: &Piece<'_>) -> Option<u64> {
        let of_part = |part: &PartState| match part {
            PartState::Shown(part) => part.newest(),
            PartState::Removed(entry) => entry.event.seq,
        };
        let message = |id: &str| self.messages.get(id);
        let of_state = |state: Option<&State>| state.map(|state| state.entry.event.seq);
        match piece {
            Piece::Session => self.info.as_ref().map(|entry| entry.event.seq),
            Piece::SessionDeleted => self.gone.as_ref().map(|entry| entry.event.seq),
            Piece::Status { .. } => of_state(self.status.as_ref()),
            Piece::Single => {
                self.singles.iter().find(|entry| entry.event.kind == kind).map(|entry| entry.event.seq)
            }
            Piece::Message { id } => message(id).and_then(|message| of_state(message.state.as_ref())),
            Piece::MessageRemoved { id } => message(id).and_then(|message| {
                let parts = message.parts.values().map(of_part).max();
                parts.max(of_state(message.state.as_ref()))
            }),
            Piece::Part { message: of, id }
            | Piece::PartRemoved { message: of, id }
            | Piece::Delta { message: of, part: id, .. } => {
                message(of).and_then(|message| message.parts.get(&**id)).map(of_part)
            }
            Piece::Asked { id } | Piece::Answered { id } => of_state(self.asks.get(&**id)),
        }
    }

    /// What told that something goes on: work, open questions.
    pub(super) fn open(&self) -> impl Iterator<Item = &Arc<Event>> {
        let states = self.status.iter().chain(self.asks.values());
        states.filter(|state| !state.is_over).map(|state| &state.entry.event)
    }

    /// Whether anything that is shown was told by this server.
    pub(super) fn is_told_by(&self, server: &str) -> bool {
        let is_its = |event: &Event| event.server.as_deref() == Some(server);
        let states = self.status.iter().chain(self.asks.values());
        let parts = self.messages.values().flat_map(|message| message.parts.values());
        self.info.iter().any(|entry| is_its(&entry.event))
            || states
                .chain(self.messages.values().filter_map(|message| message.state.as_ref()))
                .any(|state| is_its(&state.entry.event))
            || parts.into_iter().any(|part| match part {
                PartState::Shown(part) => part.server() == Some(server),
                PartState::Removed(_) => false,
            })
    }

    /// What changed at `from` or later and `admits`.
    pub(super) fn since(&mut self, from: u64, admits: &impl Fn(&Event) -> bool) -> Collected {
        let mut collected = Collected::default();
        let mut put = |event: &Arc<Event>, is_over| {
            if event.seq >= from && admits(event) {
                collected.put(event, is_over);
            }
        };
        if let Some(gone) = &self.gone {
            put(&gone.event, true);
        }
        if let Some(info) = &self.info {
            put(&info.event, false);
        }
        if let Some(status) = &self.status {
            put(&status.entry.event, status.is_over);
        }
        for single in &self.singles {
            put(&single.event, false);
        }
        for message in self.messages.values_mut() {
            if let Some(state) = &message.state {
                put(&state.entry.event, state.is_over);
            }
            for part in message.parts.values_mut() {
                match part {
                    PartState::Shown(part) if part.newest() >= from => put(&part.folded(), false),
                    PartState::Shown(_) => {}
                    PartState::Removed(entry) => put(&entry.event, true),
                }
            }
        }
        for ask in self.asks.values() {
            put(&ask.entry.event, ask.is_over);
        }
        collected
    }

    /// Forgets all that changed last before `since_ms`, but for what still goes on: work, and open questions. Gives the
    /// position of the last change that is forgotten.
    pub(super) fn forget_before(&mut self, since_ms: u64) -> Option<u64> {
        let mut newest = None;
        let mut keeps = |entry: &Entry| {
            let keeps = entry.at_ms >= since_ms;
            if !keeps {
                newest = newest.max(Some(entry.event.seq));
            }
            keeps
        };
        self.gone.take_if(|entry| !keeps(entry));
        self.info.take_if(|entry| !keeps(entry));
        self.status.take_if(|state| state.is_over && !keeps(&state.entry));
        self.singles.retain(|entry| keeps(entry));
        self.asks.retain(|_, state| !state.is_over || keeps(&state.entry));
        for message in self.messages.values_mut() {
            message.state.take_if(|state| !keeps(&state.entry));
            message.parts.retain(|_, part| match part {
                PartState::Removed(entry) => keeps(entry),
                PartState::Shown(_) => true,
            });
        }
        for message in self.messages.values_mut() {
            message.parts.retain(|_, part| match part {
                PartState::Shown(part) if part.at_ms() < since_ms => {
                    newest = newest.max(Some(part.newest()));
                    false
                }
                PartState::Shown(part) => {
                    part.unfold();
                    true
                }
                PartState::Removed(_) => true,
            });
        }
        self.messages.retain(|_, message| message.state.is_some() || !message.parts.is_empty());
        self.bytes = self.count();
        newest
    }

    /// Forgets its oldest message, or all if it has none. Gives the position of the last change that is forgotten.
    pub(super) fn forget_oldest(&mut self) -> u64 {
        let newest = self.newest;
        if self.messages.pop_first().is_none() {
            *self = Self { newest, ..Self::default() };
        }
        self.bytes = self.count();
        newest
    }

    fn message(&mut self, id: &str) -> &mut Message {
        self.messages.entry(id.into()).or_default()
    }

    fn ask(&mut self, id: &str, state: State) -> usize {
        self.asks.insert(id.into(), state).map_or(0, |before| before.entry.bytes())
    }

    fn count(&self) -> usize {
        let entries = [&self.gone, &self.info].into_iter().flatten().chain(&self.singles);
        let states = self.status.iter().chain(self.asks.values());
        entries.map(Entry::bytes).sum::<usize>()
            + states.map(|state| state.entry.bytes()).sum::<usize>()
            + self.messages.values().map(Message::bytes).sum::<usize>()
    }
}
