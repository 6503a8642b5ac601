//! What an event says, in a few words.

use serde_json::Value;

use super::super::table::plain;

/// How many letters a gist has at most: a line or two of a screen.
const MOST: usize = 160;

/// How an event is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    /// Somebody is waited for.
    Asks,
    /// Something went wrong.
    Trouble,
    /// It is about servers and owners.
    Own,
}

/// The tone of a type of event.
pub(super) fn tone(kind: &str) -> Tone {
    match kind {
        "session.error"
        | "pointsman.server.down"
        | "pointsman.server.stalled"
        | "pointsman.session.conflict" => Tone::Trouble,
        "permission.asked" | "permission.v2.asked" | "question.asked" | "question.v2.asked" => Tone::Asks,
        own if own.starts_with("pointsman.") => Tone::Own,
        _ => Tone::Plain,
    }
}

/// What `properties` say; `server` gives a server's short name for its id.
pub(super) fn gist(kind: &str, properties: &Value, server: impl Fn(&str) -> String) -> String {
    let text = |pointer: &str| properties.pointer(pointer).and_then(Value::as_str);
    let named = |pointer: &str| text(pointer).map_or_else(|| "nobody".to_owned(), &server);
    let said = match kind {
        "session.created" | "session.updated" | "session.deleted" => words([text("/info/title")]),
        "session.status" => words([text("/status/type"), text("/status/message")]),
        "session.error" => words([text("/error/name"), text("/error/data/message")]),
        "session.idle" | "server.instance.disposed" => String::new(),
        "message.updated" => message(properties),
        "message.part.updated" => part(properties),
        "message.removed" => words([text("/messageID")]),
        "message.part.removed" => words([text("/partID")]),
        "permission.asked" | "permission.v2.asked" => {
            let about = list(properties, "patterns").or_else(|| list(properties, "resources"));
            let what = text("/permission").or_else(|| text("/action"));
            words([text("/id"), what, about.as_deref()])
        }
        "question.asked" | "question.v2.asked" => words([text("/id"), text("/questions/0/question")]),
        "permission.replied" | "permission.v2.replied" => words([text("/requestID"), text("/reply")]),
        "question.replied" | "question.v2.replied" | "question.rejected" | "question.v2.rejected" => {
            words([text("/requestID")])
        }
        "todo.updated" => todos(properties),
        "file.edited" | "file.watcher.updated" => words([text("/file"), text("/event")]),
        "pointsman.server.up"
        | "pointsman.server.changed"
        | "pointsman.server.stalled"
        | "pointsman.server.down" => words([text("/url"), text("/directory")]),
        "pointsman.session.moved" => {
            let why = text("/evidence").map_or_else(String::new, |why| format!(" ({why})"));
            format!("{} → {}{why}", named("/from"), named("/to"))
        }
        "pointsman.session.conflict" => {
            format!("{} works on it while {} does", named("/other"), named("/owner"))
        }
        "pointsman.session.viewed" => {
            let does = if properties["viewing"] == true { "shows it" } else { "shows it no more" };
            let screen = text("/server").map_or_else(|| "an attached screen".to_owned(), &server);
            format!("{screen} {does}")
        }
        "pointsman.restarted" => {
            let how = if properties["clean"] == true { "in order" } else { "by force" };
            format!("pointsman was away, ended {how}")
        }
        "pointsman.reset" => format!("what was missed cannot be told ({})", text("/reason").unwrap_or("?")),
        "pointsman.hello" => hello(properties),
        _ => compact(properties),
    };
    cut(&plain(&said))
}

fn words<const N: usize>(words: [Option<&str>; N]) -> String {
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn message(properties: &Value) -> String {
    let info = &properties["info"];
    let model = match (info["providerID"].as_str(), info["modelID"].as_str()) {
        (Some(provider), Some(model)) => Some(format!("{provider}/{model}")),
        _ => None,
    };
    let end = info.pointer("/error/name").or_else(|| info.get("finish")).and_then(Value::as_str);
    let end = end.map(|end| format!("({end})"));
    words([info["role"].as_str(), info["agent"].as_str(), model.as_deref(), end.as_deref()])
}

/// Of a part that is not text.
fn part(properties: &Value) -> String {
    let part = &properties["part"];
    let kind = part["type"].as_str().unwrap_or("part");
    if kind != "tool" {
        return kind.to_owned();
    }
    let state = &part["state"];
    let about = state["title"].as_str().filter(|title| !title.is_empty());
    let about = about.or_else(|| {
        let inputs = ["command", "description", "filePath", "pattern", "path", "url", "query"];
        inputs.iter().find_map(|input| state["input"][*input].as_str())
    });
    words([part["tool"].as_str(), state["status"].as_str(), about, state["error"].as_str()])
}

fn list(properties: &Value, key: &str) -> Option<String> {
    let items: Vec<&str> = properties[key].as_array()?.iter().filter_map(Value::as_str).collect();
    Some(items.join(", "))
}

fn todos(properties: &Value) -> String {
    let todos = properties["todos"].as_array().map_or(&[][..], Vec::as_slice);
    let done = todos.iter().filter(|todo| todo["status"] == "completed").count();
    let now = todos.iter().find(|todo| todo["status"] == "in_progress");
    let now = now.and_then(|todo| todo["content"].as_str()).map(|now| format!(", now: {now}"));
    format!("{done} of {} done{}", todos.len(), now.unwrap_or_default())
}

fn hello(properties: &Value) -> String {
    match properties["servers"].as_array().map_or(0, Vec::len) {
        0 => "no server runs".to_owned(),
        1 => "1 server runs".to_owned(),
        many => format!("{many} servers run"),
    }
}

/// What nobody knows the words for, as it is.
fn compact(properties: &Value) -> String {
    match properties {
        Value::Null => String::new(),
        Value::Object(fields) if fields.is_empty() => String::new(),
        other => other.to_string(),
    }
}

/// The beginning of a long text.
pub(super) fn cut(text: &str) -> String {
    cut_to(text, MOST)
}

/// At most `most` letters of it.
pub(super) fn cut_to(text: &str, most: usize) -> String {
    match text.char_indices().nth(most.saturating_sub(1)) {
        Some((end, _)) if text[end..].chars().nth(1).is_some() => format!("{}…", &text[..end]),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_event_is_a_few_words() {
        let todos = json!({"todos": [
            {"content": "a", "status": "completed"}, {"content": "b", "status": "in_progress"}]});
        let tool = |state: Value| json!({"part": {"type": "tool", "tool": "bash", "state": state}});
        let up = json!({"id": "srv_1", "url": "http://127.0.0.1:1", "directory": "/a"});
        for (kind, properties, said) in [
            ("session.updated", json!({"info": {"title": "Fix\nit"}}), "Fix it"),
            ("session.status", json!({"status": {"type": "retry", "message": "busy"}}), "retry busy"),
            ("session.idle", json!({"sessionID": "ses_1"}), ""),
            (
                "session.error",
                json!({"error": {"name": "APIError", "data": {"message": "no"}}}),
                "APIError no",
            ),
            (
                "message.updated",
                json!({"info": {"role": "assistant", "agent": "build", "providerID": "p", "modelID": "m",
                    "finish": "stop"}}),
                "assistant build p/m (stop)",
            ),
            ("message.updated", json!({"info": {"role": "user"}}), "user"),
            (
                "message.part.updated",
                tool(json!({"status": "running", "input": {"command": "ls"}})),
                "bash running ls",
            ),
            (
                "message.part.updated",
                tool(json!({"status": "completed", "title": "List"})),
                "bash completed List",
            ),
            ("message.part.updated", json!({"part": {"type": "step-start"}}), "step-start"),
            (
                "permission.asked",
                json!({"id": "per_1", "permission": "bash", "patterns": ["echo hi", "ls"]}),
                "per_1 bash echo hi, ls",
            ),
            (
                "permission.v2.asked",
                json!({"id": "per_1", "action": "bash", "resources": ["ls"]}),
                "per_1 bash ls",
            ),
            ("permission.replied", json!({"requestID": "per_1", "reply": "once"}), "per_1 once"),
            ("question.asked", json!({"id": "que_1", "questions": [{"question": "Which?"}]}), "que_1 Which?"),
            ("question.rejected", json!({"requestID": "que_1"}), "que_1"),
            ("todo.updated", todos, "1 of 2 done, now: b"),
            ("file.edited", json!({"file": "/a/b"}), "/a/b"),
            ("pointsman.server.up", up, "http://127.0.0.1:1 /a"),
            (
                "pointsman.session.moved",
                json!({"from": null, "to": "srv_1", "evidence": "busy"}),
                "nobody → :srv_1 (busy)",
            ),
            (
                "pointsman.session.conflict",
                json!({"owner": "srv_1", "other": "srv_2"}),
                ":srv_2 works on it while :srv_1 does",
            ),
            (
                "pointsman.session.viewed",
                json!({"server": null, "viewing": true}),
                "an attached screen shows it",
            ),
            ("pointsman.restarted", json!({"clean": true}), "pointsman was away, ended in order"),
            ("pointsman.hello", json!({"servers": [1, 2]}), "2 servers run"),
            ("never.heard.of", json!({"a": 1}), r#"{"a":1}"#),
            ("never.heard.of", json!({}), ""),
        ] {
            assert_eq!(gist(kind, &properties, |id| format!(":{id}")), said, "{kind}");
        }
    }

    #[test]
    fn whatever_is_said_a_gist_is_short_and_safe_on_a_terminal() {
        let long = json!({"info": {"title": format!("\u{1b}[2J{}", "ü".repeat(1000))}});
        let said = gist("session.updated", &long, str::to_owned);
        assert_eq!(said.chars().count(), MOST);
        assert!(said.ends_with('…') && !said.contains('\u{1b}'));
        for odd in [json!(null), json!([]), json!("x"), json!({"info": 7, "part": [], "todos": {}})] {
            for kind in ["message.updated", "message.part.updated", "todo.updated", "pointsman.hello", "x"] {
                gist(kind, &odd, str::to_owned);
            }
        }
    }

    #[test]
    fn a_text_is_cut_only_where_it_is_too_long() {
        assert_eq!(cut_to("abc", 3), "abc");
        assert_eq!(cut_to("abcd", 3), "ab…");
        assert_eq!(cut_to("", 3), "");
    }

    #[test]
    fn what_wants_somebody_and_what_went_wrong_stands_out() {
        assert_eq!(tone("permission.asked"), Tone::Asks);
        assert_eq!(tone("session.error"), Tone::Trouble);
        assert_eq!(tone("pointsman.server.up"), Tone::Own);
        assert_eq!(tone("session.idle"), Tone::Plain);
    }
}
