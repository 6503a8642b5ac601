//! One event of `/global/event` or of `/api/event`, read once: where its bare form lies, whom it concerns and what it
//! means to us.
//!
//! Promises: the bytes are kept exactly as received, unknown fields and types are no error, a text that is not an
//! event is an error and never a panic, and the payload is never built as a tree: the decoder walks it twice, once
//! to find its end and once to pick the few fields that matter. Leaves to others: what a signal claims, and who
//! may see the event.

pub mod piece;
mod wire;

use std::{borrow::Cow, ops::Range, str, sync::Arc};

use bytes::Bytes;
use smallvec::SmallVec;
use thiserror::Error;

use crate::domain::{
    ask::{Ask, AskKind, Interface},
    ids::SessionId,
    session::SessionRow,
};

/// How many directory names a decoder keeps to hand out again. A stream names few, and nearly always the last one;
/// eight are compared faster than one is allocated.
const REMEMBERED: usize = 8;

/// An event as its server sent it, and what we read in it.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The whole event, exactly as received.
    pub frame: Bytes,
    /// Where the bare form, that of `/event`, lies in the `/global/event` form. An event of the second interface has
    /// no other form: all of it.
    pub payload: Range<usize>,
    /// The directory whose instance emitted it; `None` for an event of the whole process.
    pub directory: Option<Arc<str>>,
    /// The type as written, such as `message.part.delta`.
    pub kind: Cow<'static, str>,
    /// The session it speaks of.
    pub session: Option<SessionId>,
    /// What it means to us.
    pub signal: Signal,
    /// When it was emitted, as far as its id tells.
    pub stamp: Option<Stamp>,
}

/// The time in an event's id.
///
/// `OpenCode` writes (milliseconds × 4096 + counter), cut to 48 bits, as the 12 hexadecimal digits after `evt_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(u64);

impl Stamp {
    fn of(id: &str) -> Option<Self> {
        let digits = id.strip_prefix("evt_")?.get(..12)?;
        u64::from_str_radix(digits, 16).ok().map(|bits| Self(bits >> 12))
    }

    /// The instant meant, in milliseconds since 1970, by the clock of the machine that emitted the event. The cut
    /// repeats every 2.2 years; the instant nearest to `now_ms` that does not lie more than a day after it is meant.
    pub fn at_ms(self, now_ms: u64) -> u64 {
        const CYCLE: u64 = 1 << 36;
        const DAY_MS: u64 = 24 * 60 * 60 * 1000;
        let latest = now_ms + DAY_MS;
        let candidate = (latest & !(CYCLE - 1)) | self.0;
        if candidate > latest { candidate.saturating_sub(CYCLE) } else { candidate }
    }
}

/// What an event means to us. Only the registry decides what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The session works here, or waits to try again.
    Busy,
    /// The session works here no more; also emitted by servers that never ran it.
    Idle,
    /// A turn failed.
    Failed,
    /// A piece of a turn that runs in this process.
    Output,
    /// A session was made here.
    Created(SessionRow),
    /// A session's row changed; emitted wherever the request for it landed.
    Updated(SessionRow),
    /// A session was deleted; emitted wherever the request for it landed.
    Deleted,
    /// The agent asks a person. Output too: only the process that runs the turn asks.
    Asked {
        /// What it asks for.
        ask: Ask,
        /// The id that the answer must name.
        id: Box<str>,
    },
    /// A question was answered, or turned down.
    Answered {
        /// What was asked for.
        ask: Ask,
        /// The id it was asked under.
        id: Box<str>,
    },
    /// A terminal was opened in this process.
    PtyCreated {
        /// Its id.
        id: Box<str>,
    },
    /// A terminal has ended or was removed.
    PtyGone {
        /// Its id.
        id: Box<str>,
    },
    /// The instance of the directory was closed.
    Disposed,
    /// The twin of a stored change, numbered without holes over all processes of the store.
    Sync {
        /// The session that changed.
        session: SessionId,
        /// The number of the change.
        seq: u64,
    },
    /// Moves the screen of whoever applies it.
    Tui,
    /// The first event of a stream.
    Connected,
    /// A sign of life.
    Heartbeat,
    /// The models, providers, integrations, agents or commands on offer changed, or may have.
    CatalogueChanged,
    /// Nothing we act on; subscribers may.
    Nothing,
}

impl Signal {
    /// Whether the event can only come from the process that runs a turn of the session.
    pub fn is_output(&self) -> bool {
        matches!(self, Self::Output | Self::Asked { .. })
    }
}

/// Why a text is not an event. The stream it came on is still good.
#[derive(Debug, Error)]
pub enum Malformed {
    /// Not text at all.
    #[error("the event is not UTF-8 (from byte {}); skip it and read on", .0.valid_up_to())]
    NotText(#[from] str::Utf8Error),
    /// Not JSON, or not of the shape of an event.
    #[error(
        "the event is not of the shape {{\"directory\",\"payload\":{{\"type\",…}}}} or {{\"type\",\"data\",…}}: {0}; skip it and read on"
    )]
    NotAnEvent(#[from] serde_json::Error),
}

/// Reads the events of one stream. Keeps the last few directory names, so that an event costs no copy of its own.
#[derive(Debug, Default)]
pub struct Decoder {
    directories: SmallVec<[Arc<str>; REMEMBERED]>,
}

impl Decoder {
    /// A decoder for one stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one event from the data of one `/global/event` message.
    pub fn decode(&mut self, frame: Bytes) -> Result<Decoded, Malformed> {
        let text = str::from_utf8(&frame)?;
        let envelope: wire::Envelope<'_> = serde_json::from_str(text)?;
        let payload = range_within(text, envelope.payload.get());
        let event: wire::Payload<'_> = serde_json::from_str(envelope.payload.get())?;
        let directory = self.named(envelope.directory.get());
        Ok(Meaning::of(event).in_frame(frame, payload, directory))
    }

    /// Reads one event from the data of one `/api/event` message.
    pub fn decode_api(&mut self, frame: Bytes) -> Result<Decoded, Malformed> {
        let text = str::from_utf8(&frame)?;
        let event: wire::ApiEvent<'_> = serde_json::from_str(text)?;
        let directory = self.named(event.location.get().and_then(|location| location.directory.get()));
        let (meaning, payload) = (Meaning::of(event.into()), 0..frame.len());
        Ok(meaning.in_frame(frame, payload, directory))
    }

    fn named(&mut self, name: Option<&str>) -> Option<Arc<str>> {
        match name {
            None | Some("" | "global") => None,
            Some(name) => Some(self.directory(name)),
        }
    }

    fn directory(&mut self, name: &str) -> Arc<str> {
        if let Some(at) = self.directories.iter().position(|known| **known == *name) {
            // The one just used stays in front: the next event most likely names it again.
            self.directories.swap(0, at);
            return self.directories[0].clone();
        }
        if self.directories.len() == REMEMBERED {
            self.directories.pop();
        }
        let name: Arc<str> = name.into();
        self.directories.insert(0, name.clone());
        name
    }
}

/// What is read in an event, apart from its text.
struct Meaning {
    kind: Cow<'static, str>,
    session: Option<SessionId>,
    signal: Signal,
    stamp: Option<Stamp>,
}

impl Meaning {
    fn of(event: wire::Payload<'_>) -> Self {
        let signal = signal(&event);
        let session = match &signal {
            Signal::Sync { session, .. } => Some(session.clone()),
            _ => session(&event),
        };
        let stamp = event.id.get().and_then(Stamp::of);
        let kind = known(&event.kind).map_or_else(|| Cow::Owned(event.kind.into_owned()), Cow::Borrowed);
        Self { kind, session, signal, stamp }
    }

    fn in_frame(self, frame: Bytes, payload: Range<usize>, directory: Option<Arc<str>>) -> Decoded {
        let Self { kind, session, signal, stamp } = self;
        Decoded { frame, payload, directory, kind, session, signal, stamp }
    }
}

/// Where `part`, a slice of `whole`, lies in it.
fn range_within(whole: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

/// The types that make up nearly all traffic: naming one costs no allocation.
fn known(kind: &str) -> Option<&'static str> {
    const KNOWN: [&str; 12] = [
        "message.part.delta",
        "sync",
        "message.part.updated",
        "message.updated",
        "session.status",
        "session.updated",
        "session.next.text.delta",
        "session.next.reasoning.delta",
        "session.next.tool.input.delta",
        "session.diff",
        "session.idle",
        "server.heartbeat",
    ];
    KNOWN.into_iter().find(|known| *known == kind)
}

fn session(event: &wire::Payload<'_>) -> Option<SessionId> {
    let properties = event.properties.get()?;
    let info = properties.info.get();
    let of_row = || match &*event.kind {
        "session.created" | "session.updated" | "session.deleted" => info.and_then(|info| info.id.get()),
        _ => None,
    };
    let text = properties
        .session
        .get()
        .or_else(|| info.and_then(|info| info.session.get()))
        .or_else(|| properties.part.get().and_then(|part| part.session.get()))
        .or_else(of_row)?;
    SessionId::try_new(text).ok()
}

fn signal(event: &wire::Payload<'_>) -> Signal {
    let nothing = wire::Properties::default();
    let properties = event.properties.get().unwrap_or(&nothing);
    let info = properties.info.get();
    let output_if = |holds: bool| if holds { Signal::Output } else { Signal::Nothing };
    match &*event.kind {
        "message.part.delta" | "todo.updated" | "session.compacted" => Signal::Output,
        "sync" => sync(event).unwrap_or(Signal::Nothing),
        "message.part.updated" => output_if(properties.part.get().is_some_and(is_made_by_a_turn)),
        "message.updated" => output_if(info.and_then(|info| info.role.get()) == Some("assistant")),
        "session.status" => match properties.status.get().and_then(|status| status.kind.get()) {
            Some("busy" | "retry") => Signal::Busy,
            Some("idle") => Signal::Idle,
            _ => Signal::Nothing,
        },
        "session.idle" => Signal::Idle,
        "session.error" => Signal::Failed,
        "session.created" => info.and_then(row).map_or(Signal::Nothing, Signal::Created),
        "session.updated" => info.and_then(row).map_or(Signal::Nothing, Signal::Updated),
        "session.deleted" => Signal::Deleted,
        "permission.asked" => asked(AskKind::Permission, Interface::First, properties),
        "permission.v2.asked" => asked(AskKind::Permission, Interface::Second, properties),
        "question.asked" => asked(AskKind::Question, Interface::First, properties),
        "question.v2.asked" => asked(AskKind::Question, Interface::Second, properties),
        "permission.replied" => answered(AskKind::Permission, Interface::First, properties),
        "permission.v2.replied" => answered(AskKind::Permission, Interface::Second, properties),
        "question.replied" | "question.rejected" => answered(AskKind::Question, Interface::First, properties),
        "question.v2.replied" | "question.v2.rejected" => {
            answered(AskKind::Question, Interface::Second, properties)
        }
        "pty.created" => named(info.and_then(|info| info.id.get()), |id| Signal::PtyCreated { id }),
        "pty.exited" | "pty.deleted" => named(properties.id.get(), |id| Signal::PtyGone { id }),
        "server.instance.disposed" => Signal::Disposed,
        "server.connected" => Signal::Connected,
        "server.heartbeat" => Signal::Heartbeat,
        "catalog.updated"
        | "models-dev.refreshed"
        | "integration.updated"
        | "integration.connection.updated"
        | "mcp.tools.changed"
        | "plugin.added"
        | "global.disposed" => Signal::CatalogueChanged,
        kind if kind.starts_with("tui.") => Signal::Tui,
        kind => output_if(kind.strip_prefix("session.next.").is_some_and(is_next_output)),
    }
}

/// A plain text or a file stands in user messages too, which are emitted wherever they were posted; these parts
/// only the running turn writes.
fn is_made_by_a_turn(part: &wire::Part<'_>) -> bool {
    matches!(
        part.kind.get(),
        Some("tool" | "reasoning" | "step-start" | "step-finish" | "snapshot" | "patch" | "retry")
    )
}

/// Of the v2 events those that a turn emits while it runs. The rest (prompts, switches, moves, reverts) is emitted
/// wherever the request landed.
fn is_next_output(rest: &str) -> bool {
    let family = rest.split_once('.').map_or(rest, |(family, _)| family);
    matches!(family, "text" | "reasoning" | "tool" | "step" | "shell" | "compaction" | "retried")
}

fn sync(event: &wire::Payload<'_>) -> Option<Signal> {
    let twin = event.sync.get()?;
    let session = SessionId::try_new(twin.aggregate.get()?).ok()?;
    Some(Signal::Sync { session, seq: twin.seq.get()? })
}

fn asked(kind: AskKind, interface: Interface, properties: &wire::Properties<'_>) -> Signal {
    let ask = Ask { kind, interface };
    // A question nobody can answer, for want of an id, still shows that the turn runs here.
    properties.id.get().map_or(Signal::Output, |id| Signal::Asked { ask, id: id.into() })
}

fn answered(kind: AskKind, interface: Interface, properties: &wire::Properties<'_>) -> Signal {
    let ask = Ask { kind, interface };
    named(properties.request.get(), |id| Signal::Answered { ask, id })
}

fn named(id: Option<&str>, signal: impl FnOnce(Box<str>) -> Signal) -> Signal {
    id.map_or(Signal::Nothing, |id| signal(id.into()))
}

fn row(info: &wire::About<'_>) -> Option<SessionRow> {
    let time = info.time.get();
    let created_ms = time.and_then(|time| time.created.get()).unwrap_or_default();
    Some(SessionRow {
        id: SessionId::try_new(info.id.get()?).ok()?,
        directory: info.directory.get()?.into(),
        title: info.title.get().unwrap_or_default().into(),
        project: info.project.get().unwrap_or_default().into(),
        parent: info.parent.get().and_then(|parent| SessionId::try_new(parent).ok()),
        created_ms,
        updated_ms: time.and_then(|time| time.updated.get()).unwrap_or(created_ms),
    })
}

#[cfg(test)]
mod tests;
