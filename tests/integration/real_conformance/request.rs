//! What is sent for an operation: real ids in its path, the parameters it cannot do without, and a body that is either
//! harmless or refused.

use serde_json::{Value, json};

use super::{document::Operation, raise::Raised, two_servers::Side};

/// Parameters without which a read is refused.
const QUERIES: [(&str, &str); 11] = [
    ("GET /experimental/tool", "provider=fake&model=m"),
    ("GET /file", "path=."),
    ("GET /file/content", "path=readme.txt"),
    ("GET /find", "pattern=project"),
    ("GET /find/file", "query=read"),
    ("GET /find/symbol", "query=x"),
    ("GET /vcs/diff", "mode=git"),
    ("GET /api/fs/find", "query=read"),
    // All on one page: what makes a page is another test's matter.
    ("GET /session", "limit=5000"),
    ("GET /experimental/session", "limit=5000"),
    ("GET /api/session", "limit=5000"),
];

/// The path and query of an operation that is about this session of this server, or about its project.
pub fn address(operation: &Operation, side: &Side, session: &str) -> String {
    let path = operation.path.replace("{sessionID}", session);
    let path = path.replace("{messageID}", &side.message).replace("{partID}", &side.part);
    let path = path.replace("{projectID}", &side.project);
    let path = path.replace("{providerID}", "fake").replace("{integrationID}", "openai");
    let path = path.replace("{name}", "nobody").replace("{credentialID}", "nothing");
    let path = path.replace("{id}", "nothing").replace("read/*", "read/readme.txt");
    assert!(!path.contains(['{', '*']), "{operation}: no id is known for {path}");
    match QUERIES.iter().find(|(text, _)| operation.is(text)) {
        Some((_, query)) => format!("{path}?{query}"),
        None => path,
    }
}

/// The path of an operation that is about what a server has raised.
pub fn address_of_raised(operation: &Operation, raised: &Raised) -> String {
    let path = operation.path.replace("{sessionID}", &raised.session);
    ["{requestID}", "{permissionID}", "{ptyID}", "{attemptID}"]
        .iter()
        .fold(path, |path, name| path.replace(name, &raised.id))
}

/// `path` with a further parameter.
pub fn with(path: &str, parameter: &str) -> String {
    let mark = if path.contains('?') { '&' } else { '?' };
    format!("{path}{mark}{parameter}")
}

/// The body of a write. Most are refused for what they lack, which says as much about who was asked.
pub fn body(operation: &Operation, session: &str) -> Value {
    let text = operation.to_string();
    match text.as_str() {
        "POST /session/{sessionID}/message" | "POST /session/{sessionID}/prompt_async" => {
            json!({"parts": [{"type": "text", "text": "hello"}]})
        }
        "POST /api/session/{sessionID}/prompt" => json!({"prompt": {"text": "hello"}}),
        "POST /session/{sessionID}/shell" => json!({"agent": "build", "command": "true"}),
        "POST /permission/{requestID}/reply"
        | "POST /api/session/{sessionID}/permission/{requestID}/reply" => {
            json!({"reply": "reject"})
        }
        "POST /session/{sessionID}/permissions/{permissionID}" => json!({"response": "reject"}),
        "POST /question/{requestID}/reply" | "POST /api/session/{sessionID}/question/{requestID}/reply" => {
            json!({"answers": [["Left"]]})
        }
        "POST /sync/history" => json!({session: 0}),
        // Without its sequence number the event is refused, and so nothing is replayed.
        "POST /sync/replay" => json!({"directory": "/", "events": [{"aggregateID": session}]}),
        _ if text.contains("/sync/") || text.contains("select-session") => json!({"sessionID": session}),
        // Without a place to go to they go nowhere.
        _ if text.ends_with("move-session") || text.ends_with("warp") => json!({"sessionID": session}),
        "POST /pty" | "POST /api/pty" => json!({"command": "/bin/bash", "args": ["--norc"]}),
        // An empty body would write a file and start everything anew, or make a worktree.
        "PATCH /config" | "PATCH /global/config" | "POST /experimental/worktree" => json!("refused"),
        _ => json!({}),
    }
}
