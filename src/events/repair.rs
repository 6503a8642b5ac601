//! What a server says now against what clients were told: the events that lead from the one to the other.
//!
//! Promises: no event where nothing differs; what is gone is not brought back; what is said to be gone is proven so by a
//! list that would hold it; the text of a part is replaced only by one that goes on from it, or by one that will not
//! grow any more. Pure. Leaves to others: asking, and whether something newer was told since ([`Hub::publish_found`]).
//!
//! [`Hub::publish_found`]: super::hub::Hub::publish_found

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use serde_json::{Value, json};

use super::{log::Event, own};
use crate::domain::ask::AskKind;

/// What clients were told of one session, as far as it is remembered.
#[derive(Debug, Default)]
pub struct Shown {
    place: Option<(Arc<str>, Arc<str>)>,
    is_gone: bool,
    info: Option<Value>,
    status: Option<Told>,
    todo: Option<Value>,
    diff: Option<Value>,
    messages: BTreeMap<String, ShownMessage>,
    asks: BTreeMap<String, Option<Told>>,
}

/// What was told, and which server told it.
#[derive(Debug)]
struct Told {
    kind: String,
    what: Value,
    server: Option<Arc<str>>,
}

#[derive(Debug, Default)]
struct ShownMessage {
    is_gone: bool,
    info: Option<Value>,
    /// Nothing for one that was removed.
    parts: BTreeMap<String, Option<Value>>,
}

/// What a server says of one session now.
#[derive(Debug, Default)]
pub struct Found {
    /// The session itself, if it changed lately.
    pub info: Option<Value>,
    /// Nobody was told yet that it was made, if that was lately.
    pub is_new: bool,
    /// Its last messages.
    pub messages: Option<Messages>,
    /// Its list of things to do, if the server was asked.
    pub todo: Option<Value>,
    /// Its changes to files, if the server was asked.
    pub diff: Option<Value>,
    /// What it does, if the server was asked: nothing is idle.
    pub status: Option<Option<Value>>,
    /// What the server waits for an answer to, if it was asked.
    pub asks: Option<Vec<(AskKind, Value)>>,
}

/// The last messages of a session.
#[derive(Debug)]
pub struct Messages {
    /// With their parts, as `/session/{id}/message` tells them.
    pub list: Vec<Value>,
    /// There are no others.
    pub is_whole: bool,
}

/// What all comparisons of one repair have in common.
#[derive(Clone, Copy, Debug)]
pub struct Since<'a> {
    /// The server that is asked.
    pub server: &'a str,
    /// When its stream was heard last, in milliseconds since 1970 by its own clock.
    pub ms: u64,
}

/// An event to publish.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    /// Its type.
    pub kind: &'static str,
    /// What it says.
    pub properties: Value,
}

impl Shown {
    /// Reads what was told of `session`.
    pub(super) fn read(events: &[Arc<Event>]) -> Self {
        let mut shown = Self::default();
        for event in events {
            let Ok(mut frame) = serde_json::from_slice::<Value>(&event.frame) else { continue };
            if let (Some(directory), Some(project)) = (frame["directory"].as_str(), frame["project"].as_str())
            {
                shown.place = Some((directory.into(), project.into()));
            }
            shown.take(event, frame["payload"]["properties"].take());
        }
        shown
    }

    fn take(&mut self, event: &Event, mut properties: Value) {
        let server = event.server.clone();
        match &*event.kind {
            "session.deleted" => self.is_gone = true,
            "todo.updated" => self.todo = Some(properties["todos"].take()),
            "session.diff" => self.diff = Some(properties["diff"].take()),
            "session.created" | "session.updated" => self.info = Some(properties["info"].take()),
            "session.idle" => {
                let what = json!({"type": "idle"});
                self.status = Some(Told { kind: event.kind.to_string(), what, server });
            }
            "session.status" => {
                let what = properties["status"].take();
                self.status = Some(Told { kind: event.kind.to_string(), what, server });
            }
            "message.updated" => {
                let info = properties["info"].take();
                let message = self.messages.entry(text(&info["id"])).or_default();
                message.info = Some(info);
            }
            "message.removed" => self.message(&properties["messageID"]).is_gone = true,
            "message.part.updated" => {
                let part = properties["part"].take();
                let id = text(&part["id"]);
                self.messages.entry(text(&part["messageID"])).or_default().parts.insert(id, Some(part));
            }
            "message.part.removed" => {
                self.message(&properties["messageID"]).parts.insert(text(&properties["partID"]), None);
            }
            "permission.asked" | "question.asked" => {
                let told = Told { kind: event.kind.to_string(), what: Value::Null, server };
                self.asks.insert(text(&properties["id"]), Some(told));
            }
            "permission.replied" | "question.replied" | "question.rejected" => {
                self.asks.insert(text(&properties["requestID"]), None);
            }
            _ => {}
        }
    }

    fn message(&mut self, id: &Value) -> &mut ShownMessage {
        self.messages.entry(text(id)).or_default()
    }

    /// Whether nothing was told of it, as far as is remembered.
    pub fn is_unknown(&self) -> bool {
        self.info.is_none() && !self.is_gone && self.messages.is_empty()
    }

    /// The directory and the project in which something was told of it.
    pub fn place(&self) -> Option<(Arc<str>, Arc<str>)> {
        self.place.clone()
    }

    /// Whether its list of things to do, or its changes to files, are shown.
    pub fn has_singles(&self) -> bool {
        self.todo.is_some() || self.diff.is_some()
    }

    /// The event that takes the session off the screens, if it is on them.
    /// `known` is what it was where no client has been told.
    pub fn end(&self, session: &str, known: Option<Value>) -> Option<Change> {
        let info = self.info.clone().or(known).unwrap_or_else(|| json!({"id": session}));
        let properties = json!({"sessionID": session, "info": info});
        (!self.is_gone).then_some(Change { kind: "session.deleted", properties })
    }

    /// The events that lead from what was told to what was found, in the order in which clients can apply them.
    pub fn differences(&self, session: &str, found: Found, since: Since<'_>) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.is_gone {
            return changes;
        }
        let mut change = |kind, properties| changes.push(Change { kind, properties });
        if let Some(info) = found.info {
            let is_new = found.is_new && info["time"]["created"].as_u64() >= Some(since.ms);
            let kind = if is_new { "session.created" } else { "session.updated" };
            if is_new || self.info.as_ref() != Some(&info) {
                change(kind, json!({"sessionID": session, "info": info}));
            }
        }
        if let Some(messages) = found.messages {
            self.compare_messages(session, messages, since, &mut change);
        }
        for (kind, key, found, shown) in [
            ("todo.updated", "todos", found.todo, &self.todo),
            ("session.diff", "diff", found.diff, &self.diff),
        ] {
            let nothing = json!([]);
            if let Some(found) = found.filter(|found| found != shown.as_ref().unwrap_or(&nothing)) {
                change(kind, json!({"sessionID": session, key: found}));
            }
        }
        if let Some(asks) = found.asks {
            self.compare_asks(session, asks, since, &mut change);
        }
        if let Some(status) = found.status {
            let shown = self.status.as_ref();
            match status {
                Some(status) if shown.map(|told| &told.what) != Some(&status) => {
                    change("session.status", json!({"sessionID": session, "status": status}));
                }
                None if shown.is_some_and(|told| told.what["type"] != "idle" && told.is_of(since.server)) => {
                    change("session.status", json!({"sessionID": session, "status": {"type": "idle"}}));
                }
                _ => {}
            }
        }
        changes
    }

    fn compare_messages(
        &self,
        session: &str,
        found: Messages,
        since: Since<'_>,
        change: &mut impl FnMut(&'static str, Value),
    ) {
        let ids: Vec<String> = found.list.iter().map(|message| text(&message["info"]["id"])).collect();
        let oldest = ids.iter().min().filter(|_| !found.is_whole);
        let reaches = |id: &str| found.is_whole || oldest.is_some_and(|oldest| id > oldest.as_str());
        for (id, shown) in &self.messages {
            if shown.is_there() && reaches(id) && !ids.contains(id) {
                change("message.removed", json!({"sessionID": session, "messageID": id}));
            }
        }
        let unknown = ShownMessage::default();
        for (mut message, id) in found.list.into_iter().zip(ids) {
            let shown = self.messages.get(&id);
            let long_past = shown.is_none() && !is_of_late(&message, since.ms);
            if long_past || shown.is_some_and(|shown| shown.is_gone) {
                continue;
            }
            let shown = shown.unwrap_or(&unknown);
            let info = message["info"].take();
            if shown.info.as_ref() != Some(&info) {
                change("message.updated", json!({"sessionID": session, "info": info}));
            }
            let Value::Array(parts) = message["parts"].take() else { continue };
            for (part, _) in shown.parts.iter().filter(|(_, shown)| shown.is_some()) {
                if !parts.iter().any(|found| found["id"] == **part) {
                    let removed = json!({"sessionID": session, "messageID": id, "partID": part});
                    change("message.part.removed", removed);
                }
            }
            for part in parts {
                let is_told = match shown.parts.get(part["id"].as_str().unwrap_or_default()) {
                    None => true,
                    Some(None) => false,
                    Some(Some(shown)) => *shown != part && replaces(&part, shown),
                };
                if is_told {
                    change("message.part.updated", json!({"sessionID": session, "part": part}));
                }
            }
        }
    }

    fn compare_asks(
        &self,
        session: &str,
        found: Vec<(AskKind, Value)>,
        since: Since<'_>,
        change: &mut impl FnMut(&'static str, Value),
    ) {
        for (id, told) in &self.asks {
            let Some(told) = told.as_ref().filter(|told| told.is_of(since.server)) else { continue };
            if found.iter().any(|(_, ask)| ask["id"] == **id) {
                continue;
            }
            // How it was answered nobody can say any more; clients only take it off the screen.
            if told.kind == "permission.asked" {
                let replied = json!({"sessionID": session, "requestID": id, "reply": "reject"});
                change("permission.replied", replied);
            } else {
                change("question.rejected", json!({"sessionID": session, "requestID": id}));
            }
        }
        for (kind, ask) in found {
            if !self.asks.contains_key(ask["id"].as_str().unwrap_or_default()) {
                let kind = match kind {
                    AskKind::Permission => "permission.asked",
                    AskKind::Question => "question.asked",
                };
                change(kind, ask);
            }
        }
    }
}

impl ShownMessage {
    /// Whether anything of it is on the screens.
    fn is_there(&self) -> bool {
        !self.is_gone && (self.info.is_some() || self.parts.values().any(Option::is_some))
    }
}

impl Told {
    fn is_of(&self, server: &str) -> bool {
        self.server.as_deref() == Some(server)
    }
}

impl Change {
    /// The event in the form of `/global/event`.
    pub fn frame(&self, directory: &str, project: &str) -> Bytes {
        let payload = json!({"id": own::id(), "type": self.kind, "properties": self.properties});
        json!({"directory": directory, "project": project, "payload": payload}).to_string().into()
    }
}

/// Whether a part may take the place of what is shown. A server writes down the text of a part when it begins and when
/// it ends: in between it says less than was told already.
fn replaces(found: &Value, shown: &Value) -> bool {
    if !found["time"]["end"].is_null() {
        return true;
    }
    let text = |part: &Value| part["text"].as_str().map(str::to_owned);
    match (text(found), text(shown)) {
        (Some(found), Some(shown)) => found.starts_with(&shown),
        (None, Some(_)) => false,
        (_, None) => true,
    }
}

/// Whether anything in a message happened at or after `since_ms`, or still goes on.
fn is_of_late(message: &Value, since_ms: u64) -> bool {
    let info = &message["info"];
    if info["role"] == "assistant" && info["time"]["completed"].is_null() {
        return true;
    }
    let parts = message["parts"].as_array().into_iter().flatten();
    let times = parts.flat_map(|part| [&part["time"], &part["state"]["time"]]).chain([&info["time"]]);
    let mut moments = times.filter_map(Value::as_object).flat_map(serde_json::Map::values);
    moments.any(|moment| moment.as_f64().is_some_and(|ms| ms >= as_float(since_ms)))
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds are far from where neighbours are equal")]
fn as_float(ms: u64) -> f64 {
    ms as f64
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
