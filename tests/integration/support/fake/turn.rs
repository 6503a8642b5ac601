//! What runs inside one fake process: turns, and the permissions and questions they wait for.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{
    Inner, Life,
    store::{FakeSession, new_id, no_tokens, now_ms},
};

/// The turns of one process.
#[derive(Default)]
pub(super) struct Turns {
    busy: Mutex<BTreeMap<String, Running>>,
    asked: Mutex<Vec<Asked>>,
    run: Mutex<Vec<String>>,
}

struct Running {
    message: String,
    part: String,
    text: String,
    end: Option<oneshot::Sender<End>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Finished,
    Aborted,
}

/// A permission or a question that waits for its reply.
struct Asked {
    kind: Kind,
    id: String,
    session: String,
    directory: String,
    body: Value,
    reply: oneshot::Sender<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Permission,
    Question,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Permission => "per",
            Self::Question => "que",
        }
    }

    pub(super) fn event(self, what: &str) -> String {
        match self {
            Self::Permission => format!("permission.{what}"),
            Self::Question => format!("question.{what}"),
        }
    }
}

impl Turns {
    pub(super) fn is_busy(&self, session: &str) -> bool {
        self.busy.lock().contains_key(session)
    }

    pub(super) fn busy(&self) -> Vec<String> {
        self.busy.lock().keys().cloned().collect()
    }

    pub(super) fn run(&self) -> Vec<String> {
        self.run.lock().clone()
    }

    pub(super) fn finish(&self, session: &str) -> bool {
        self.end(session, End::Finished)
    }

    pub(super) fn abort(&self, session: &str) -> bool {
        self.end(session, End::Aborted)
    }

    fn end(&self, session: &str, end: End) -> bool {
        let sender = self.busy.lock().get_mut(session).and_then(|turn| turn.end.take());
        // A turn that waits for a reply ends by the loss of its question.
        self.asked.lock().retain(|asked| asked.session != session);
        sender.is_some_and(|sender| sender.send(end).is_ok())
    }

    /// Open ids of a session.
    pub(super) fn asked(&self, kind: Kind, session: &str) -> Vec<String> {
        let asked = self.asked.lock();
        asked
            .iter()
            .filter(|asked| asked.kind == kind && asked.session == session)
            .map(|asked| asked.id.clone())
            .collect()
    }

    /// Bodies of what is open in one directory's instance.
    pub(super) fn asked_in(&self, kind: Kind, directory: &str) -> Vec<Value> {
        let asked = self.asked.lock();
        let here = asked.iter().filter(|asked| asked.kind == kind && asked.directory == directory);
        here.map(|asked| asked.body.clone()).collect()
    }

    /// Takes what waits for a reply, if this directory's instance has it; gives its session.
    pub(super) fn reply(&self, kind: Kind, id: &str, directory: &str, reply: Value) -> Option<String> {
        let mut asked = self.asked.lock();
        let found = |asked: &Asked| asked.kind == kind && asked.id == id && asked.directory == directory;
        let index = asked.iter().position(found)?;
        let taken = asked.remove(index);
        drop(asked);
        let _ = taken.reply.send(reply);
        Some(taken.session)
    }
}

/// Starts a turn; the receiver gets the assistant's message at its end, which may be before its last events.
///
/// `None` when the prompt wants no reply, or the session is unknown.
pub(super) fn begin(
    server: &Arc<Inner>,
    life: &Arc<Life>,
    session: &str,
    prompt: &Value,
) -> Option<oneshot::Receiver<Value>> {
    let row = life.store.get(session)?;
    let text = prompt["parts"][0]["text"].as_str().unwrap_or_default().to_owned();
    let user = prompt["messageID"].as_str().map_or_else(|| new_id("msg"), str::to_owned);
    user_message(server, life, &row, &user, &text);
    if prompt["noReply"] == true {
        return None;
    }
    let (answer, answered) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let running =
        Running { message: new_id("msg"), part: new_id("prt"), text: String::new(), end: Some(end) };
    let message = running.message.clone();
    life.turns.run.lock().push(session.to_owned());
    life.turns.busy.lock().insert(session.to_owned(), running);
    say_busy(server, life, session);
    assistant(server, life, &row, &message, &user, None);
    // The life must not keep itself alive through its own tasks.
    let (server, weak) = (server.clone(), Arc::downgrade(life));
    life.spawn(async move {
        let ask = [("ASK", Kind::Permission), ("QUESTION", Kind::Question)];
        let asked = ask.iter().find(|(word, _)| text.contains(word)).and_then(|(_, kind)| {
            let life = weak.upgrade()?;
            Some(self::ask(&server, &life, &row, &message, *kind))
        });
        if let Some(reply) = asked {
            let _ = reply.await;
        } else if let Some(life) = weak.upgrade() {
            delta(&server, &life, &row.id, "hello ");
        }
        let how = if text.contains("SLOW") { ended.await.unwrap_or(End::Aborted) } else { End::Finished };
        let Some(life) = weak.upgrade() else { return };
        finish(&server, &life, &row, &user, how, answer);
    });
    Some(answered)
}

fn user_message(server: &Inner, life: &Life, row: &FakeSession, id: &str, text: &str) {
    let info = json!({"id": id, "role": "user", "sessionID": row.id, "time": {"created": now_ms()}, "agent": "build"});
    let part =
        json!({"id": new_id("prt"), "type": "text", "text": text, "messageID": id, "sessionID": row.id});
    let whole = json!({"info": info, "parts": [part]});
    life.store.edit(&row.id, |row| {
        row.updated = now_ms();
        row.messages.push(whole);
    });
    server.emit(life, Some(&row.directory), "message.updated", &json!({"sessionID": row.id, "info": info}));
    let properties = json!({"sessionID": row.id, "part": part, "time": now_ms()});
    server.emit(life, Some(&row.directory), "message.part.updated", &properties);
    say_updated(server, life, &row.id);
}

fn assistant(
    server: &Inner,
    life: &Life,
    row: &FakeSession,
    id: &str,
    user: &str,
    completed: Option<End>,
) -> Value {
    let mut info = json!({
        "id": id, "parentID": user, "role": "assistant", "mode": "build", "agent": "build", "cost": 0,
        "path": {"cwd": row.directory, "root": row.directory}, "tokens": no_tokens(), "modelID": "m",
        "providerID": "fake", "sessionID": row.id, "time": {"created": now_ms()},
    });
    if completed.is_none() {
        // As in a real server, what is told stands in the store already.
        let begun = json!({"info": info, "parts": []});
        life.store.edit(&row.id, |row| row.messages.push(begun));
    }
    if let Some(end) = completed {
        info["time"]["completed"] = json!(now_ms());
        match end {
            End::Finished => info["finish"] = json!("stop"),
            End::Aborted => {
                info["error"] = json!({"name": "MessageAbortedError", "data": {"message": "Aborted"}});
            }
        }
    }
    server.emit(life, Some(&row.directory), "message.updated", &json!({"sessionID": row.id, "info": info}));
    info
}

/// One more piece of a running turn's text; nothing when the session is not busy here.
pub(super) fn delta(server: &Inner, life: &Life, session: &str, text: &str) {
    let Some(row) = life.store.get(session) else { return };
    let mut busy = life.turns.busy.lock();
    let Some(turn) = busy.get_mut(session) else { return };
    turn.text.push_str(text);
    let properties = json!({
        "sessionID": session, "messageID": turn.message, "partID": turn.part, "field": "text", "delta": text,
    });
    drop(busy);
    server.emit(life, Some(&row.directory), "message.part.delta", &properties);
}

fn ask(
    server: &Inner,
    life: &Life,
    row: &FakeSession,
    message: &str,
    kind: Kind,
) -> oneshot::Receiver<Value> {
    let id = new_id(kind.prefix());
    let tool = json!({"messageID": message, "callID": "call_1"});
    let body = match kind {
        Kind::Permission => json!({
            "id": id, "sessionID": row.id, "permission": "bash", "patterns": ["echo hi"],
            "metadata": {"command": "echo hi"}, "always": ["echo *"], "tool": tool,
        }),
        Kind::Question => json!({
            "id": id, "sessionID": row.id, "tool": tool,
            "questions": [{"question": "Which?", "header": "Which", "options": [{"label": "a", "description": "a"}]}],
        }),
    };
    let (reply, replied) = oneshot::channel();
    let (session, directory) = (row.id.clone(), row.directory.clone());
    life.turns.asked.lock().push(Asked { kind, id, session, directory, body: body.clone(), reply });
    server.emit(life, Some(&row.directory), &kind.event("asked"), &body);
    replied
}

fn finish(
    server: &Inner,
    life: &Life,
    row: &FakeSession,
    user: &str,
    end: End,
    answer: oneshot::Sender<Value>,
) {
    let Some(turn) = life.turns.busy.lock().remove(&row.id) else { return };
    let part = json!({
        "id": turn.part, "type": "text", "text": turn.text, "messageID": turn.message, "sessionID": row.id,
    });
    // As in a real server, what is told stands in the store already.
    life.store.edit(&row.id, |row| {
        let begun = row.messages.iter_mut().find(|known| known["info"]["id"] == *turn.message);
        if let Some(begun) = begun {
            begun["parts"] = json!([part]);
        }
    });
    let properties = json!({"sessionID": row.id, "part": part, "time": now_ms()});
    server.emit(life, Some(&row.directory), "message.part.updated", &properties);
    let info = assistant(server, life, row, &turn.message, user, Some(end));
    let message = json!({"info": info, "parts": [part]});
    life.store.edit(&row.id, |row| {
        row.updated = now_ms();
        match row.messages.iter_mut().find(|known| known["info"]["id"] == *turn.message) {
            Some(begun) => *begun = message.clone(),
            None => row.messages.push(message.clone()),
        }
    });
    // As in a real server, the answer leaves before the last events do.
    let _ = answer.send(message);
    say_busy(server, life, &row.id);
    say_idle(server, life, &row.id);
    say_updated(server, life, &row.id);
}

pub(super) fn say_busy(server: &Inner, life: &Life, session: &str) {
    let directory = directory_of(server, life, session);
    let properties = json!({"sessionID": session, "status": {"type": "busy"}});
    server.emit(life, Some(&directory), "session.status", &properties);
}

pub(super) fn say_idle(server: &Inner, life: &Life, session: &str) {
    let directory = directory_of(server, life, session);
    let properties = json!({"sessionID": session, "status": {"type": "idle"}});
    server.emit(life, Some(&directory), "session.status", &properties);
    server.emit(life, Some(&directory), "session.idle", &json!({"sessionID": session}));
}

pub(super) fn say_updated(server: &Inner, life: &Life, session: &str) {
    let Some(row) = life.store.get(session) else { return };
    let properties = json!({"sessionID": session, "info": row.to_v1(&life.store)});
    server.emit(life, Some(&row.directory), "session.updated", &properties);
}

fn directory_of(server: &Inner, life: &Life, session: &str) -> String {
    life.store.get(session).map_or_else(|| server.directory.clone(), |row| row.directory)
}
