//! What a client shows that lives on events: insert what is unknown, replace by id, append a delta to what is known,
//! remove only what an event removes (with a session, all that is of it), as `OpenCode`'s own clients do. And what the
//! same client shows after a reload.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use serde_json::{Value, json};

use super::sse::Received;

/// One screen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown {
    pub sessions: BTreeMap<String, Value>,
    /// Only those at work.
    pub working: BTreeSet<String>,
    pub messages: BTreeMap<String, Value>,
    pub parts: BTreeMap<(String, String), Value>,
    /// What waits for an answer, with its session.
    pub asks: BTreeMap<String, String>,
    /// How often each session was said to have been made. No part of the screen.
    pub created: BTreeMap<String, usize>,
}

impl Shown {
    pub fn apply(&mut self, event: &Received) {
        let properties = event.properties();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let session = event.session().to_owned();
        match event.kind() {
            kind @ ("session.created" | "session.updated") => {
                if kind == "session.created" {
                    *self.created.entry(session.clone()).or_default() += 1;
                }
                self.sessions.insert(session, properties["info"].clone());
            }
            "session.deleted" => {
                self.sessions.remove(&session);
                self.working.remove(&session);
                self.asks.retain(|_, of| *of != session);
                self.messages.retain(|_, message| message["sessionID"] != *session);
                self.parts.retain(|_, part| part["sessionID"] != *session);
            }
            "session.status" if properties["status"]["type"] == "idle" => drop(self.working.remove(&session)),
            "session.status" => drop(self.working.insert(session)),
            "session.idle" => drop(self.working.remove(&session)),
            "message.updated" => {
                self.messages.insert(text(&properties["info"]["id"]), properties["info"].clone());
            }
            "message.removed" => {
                let message = text(&properties["messageID"]);
                self.messages.remove(&message);
                self.parts.retain(|(of, _), _| *of != message);
            }
            "message.part.updated" => {
                let part = &properties["part"];
                self.parts.insert((text(&part["messageID"]), text(&part["id"])), part.clone());
            }
            "message.part.removed" => {
                self.parts.remove(&(text(&properties["messageID"]), text(&properties["partID"])));
            }
            "message.part.delta" => {
                let key = (text(&properties["messageID"]), text(&properties["partID"]));
                if let Some(part) = self.parts.get_mut(&key) {
                    let field = &mut part[properties["field"].as_str().unwrap_or_default()];
                    *field = json!(format!("{}{}", text(field), text(&properties["delta"])));
                }
            }
            "permission.asked" | "question.asked" => drop(self.asks.insert(text(&properties["id"]), session)),
            "permission.replied" | "question.replied" | "question.rejected" => {
                self.asks.remove(&text(&properties["requestID"]));
            }
            _ => {}
        }
    }

    /// What a reload shows of these sessions, by the server at `url`.
    pub async fn reloaded(sessions: &[String], url: &str) -> Self {
        let client = reqwest::Client::new();
        let get = async |path: String| {
            let answer = client.get(format!("{url}{path}")).send().await.expect("the server answers");
            if answer.status().is_success() { answer.json::<Value>().await.ok() } else { None }
        };
        let mut shown = Self::default();
        let list =
            |answer: Option<Value>| answer.and_then(|answer| answer.as_array().cloned()).unwrap_or_default();
        for session in sessions {
            let Some(info) = get(format!("/session/{session}")).await else { continue };
            let directory = info["directory"].as_str().unwrap_or_default().to_owned();
            shown.sessions.insert(session.clone(), info);
            for mut message in list(get(format!("/session/{session}/message")).await) {
                let id = message["info"]["id"].as_str().unwrap_or_default().to_owned();
                for part in message["parts"].as_array().into_iter().flatten() {
                    let key = (id.clone(), part["id"].as_str().unwrap_or_default().to_owned());
                    shown.parts.insert(key, part.clone());
                }
                shown.messages.insert(id, message["info"].take());
            }
            let status = get(format!("/session/status?directory={directory}")).await.unwrap_or_default();
            if status.get(session).is_some_and(|status| status["type"] != "idle") {
                shown.working.insert(session.clone());
            }
            for path in ["/permission", "/question"] {
                for ask in list(get(format!("{path}?directory={directory}")).await) {
                    if ask["sessionID"] == **session {
                        shown.asks.insert(ask["id"].as_str().unwrap_or_default().to_owned(), session.clone());
                    }
                }
            }
        }
        shown
    }

    /// What differs, here and there.
    pub fn unlike(&self, other: &Self) -> Vec<String> {
        fn of<K: Ord + Debug, V: PartialEq + Debug>(
            here: &BTreeMap<K, V>,
            there: &BTreeMap<K, V>,
        ) -> Vec<String> {
            let keys: BTreeSet<&K> = here.keys().chain(there.keys()).collect();
            let unlike = keys.into_iter().filter(|key| here.get(key) != there.get(key));
            unlike.map(|key| format!("{key:?}: {:?} and {:?}", here.get(key), there.get(key))).collect()
        }
        let mut unlike = of(&self.sessions, &other.sessions);
        unlike.extend(of(&self.messages, &other.messages));
        unlike.extend(of(&self.parts, &other.parts));
        unlike.extend(of(&self.asks, &other.asks));
        unlike.extend(self.working.symmetric_difference(&other.working).map(|id| format!("{id} working")));
        unlike
    }

    /// The same without what is no part of the screen, and without sessions that are not among these.
    pub fn of(&self, sessions: &[String]) -> Self {
        let mut own = self.clone();
        own.created.clear();
        own.sessions.retain(|id, _| sessions.contains(id));
        own.working.retain(|id| sessions.contains(id));
        own.asks.retain(|_, session| sessions.contains(session));
        let is_of = |value: &Value| sessions.iter().any(|session| value["sessionID"] == **session);
        own.messages.retain(|_, message| is_of(message));
        own.parts.retain(|_, part| is_of(part));
        own
    }
}
