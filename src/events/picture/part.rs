//! A part of a message: as it was told whole, and what its texts have grown by since.

use std::sync::Arc;

use serde_json::Value;

use super::session::Entry;
use crate::events::log::Event;

/// See the module.
#[derive(Debug)]
pub(super) struct Part {
    whole: Entry,
    grown: Vec<(Box<str>, String)>,
    /// The last event that changed it.
    newest: u64,
    at_ms: u64,
    /// A piece of its text was missed: more of it leads nowhere until it is told whole.
    broken: bool,
    /// What it comes to, until it grows again.
    folded: Option<Arc<Event>>,
}

impl Part {
    pub(super) fn new(whole: Entry) -> Self {
        let (newest, at_ms) = (whole.event.seq, whole.at_ms);
        Self { whole, grown: Vec::new(), newest, at_ms, broken: false, folded: None }
    }

    pub(super) fn grow(&mut self, field: &str, text: &str, seq: u64, at_ms: u64) {
        match self.grown.iter_mut().find(|(name, _)| **name == *field) {
            Some((_, grown)) => grown.push_str(text),
            None => self.grown.push((field.into(), text.to_owned())),
        }
        (self.newest, self.at_ms, self.folded) = (seq, at_ms, None);
    }

    pub(super) fn miss(&mut self) {
        self.broken = true;
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    pub(super) fn at_ms(&self) -> u64 {
        self.at_ms
    }

    pub(super) fn server(&self) -> Option<&str> {
        self.whole.event.server.as_deref()
    }

    pub(super) fn bytes(&self) -> usize {
        self.whole.bytes() + self.grown.iter().map(|(_, text)| text.len()).sum::<usize>()
    }

    /// Lets go of what can be made again.
    pub(super) fn unfold(&mut self) {
        self.folded = None;
    }

    /// The whole part as it is now, told at the position of its last change.
    pub(super) fn folded(&mut self) -> Arc<Event> {
        if self.grown.is_empty() {
            return Arc::clone(&self.whole.event);
        }
        let (whole, grown, newest) = (&self.whole.event, &self.grown, self.newest);
        let folded = self.folded.get_or_insert_with(|| Arc::new(fold(whole, grown, newest)));
        Arc::clone(folded)
    }
}

fn fold(whole: &Event, grown: &[(Box<str>, String)], seq: u64) -> Event {
    let folded = changed(whole, |payload| {
        let part = payload.get_mut("properties")?.get_mut("part")?.as_object_mut()?;
        for (field, more) in grown {
            match part.get_mut(&**field) {
                Some(Value::String(text)) => text.push_str(more),
                // Clients take what is not there for empty.
                _ => drop(part.insert(field.to_string(), Value::from(more.as_str()))),
            }
        }
        Some(())
    });
    // What was read as a whole part can be read again; if it cannot, it is told as it was.
    Event { seq, ..folded.unwrap_or_else(|| whole.clone()) }
}

/// The same event as one of another type.
pub(super) fn retyped(event: &Event, kind: &'static str) -> Option<Event> {
    let retyped = changed(event, |payload| {
        *payload.get_mut("type")? = kind.into();
        Some(())
    })?;
    Some(Event { kind: kind.into(), ..retyped })
}

/// The same event with another payload in the same envelope.
fn changed(event: &Event, change: impl FnOnce(&mut Value) -> Option<()>) -> Option<Event> {
    let mut payload: Value = serde_json::from_slice(event.frame.get(event.payload.clone())?).ok()?;
    change(&mut payload)?;
    let payload = serde_json::to_vec(&payload).ok()?;
    let (start, end) = (event.payload.start, event.payload.end);
    let frame = [&event.frame[..start], &payload, &event.frame[end..]].concat();
    Some(Event { frame: frame.into(), payload: start..start + payload.len(), ..event.clone() })
}
