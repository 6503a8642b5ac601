//! The same requests to one real server and one fake: same status, same content type, same shape of the answer.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{
    fake::{FakeServer, FakeStore},
    opencode::{OpenCode, Store, prompt},
    sse::EventStream,
};

/// What is compared of an answer.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    kind: String,
    link: bool,
    next: bool,
    shape: BTreeSet<String>,
}

#[tokio::test]
async fn the_fake_answers_in_the_shapes_of_a_real_server() {
    let store = Store::new().await;
    let project = store.project("project");
    let real = OpenCode::start(&store, &project).await;
    let fake = FakeServer::start(&FakeStore::new(), "/project").await;
    // What the fake does not write: fields of the answer that only a real agent has, and nothing routes by.
    let allowed = ["/summary", "/model", "/agent", "/location/project", "/project/name"];
    let mut ids = Vec::new();
    for base in [real.url(), fake.url()] {
        let (_, session) = ask(&base, "POST", "/session", Some(&json!({"title": "one"}))).await;
        let id = session["id"].as_str().unwrap().to_owned();
        for _ in 0..2 {
            let (seen, _) =
                ask(&base, "POST", &format!("/session/{id}/message"), Some(&prompt("hello"))).await;
            assert_eq!(seen.status, 200, "{base}");
        }
        ask(&base, "POST", "/session", Some(&json!({"title": "two", "parentID": id}))).await;
        ids.push(id);
    }
    let newest = r#"{"anchor":{"id":"ses_zzzz","time":9999999999999,"direction":"next"},"order":"desc"}"#;
    let oldest = r#"{"anchor":{"id":"ses_zzzz","time":5,"direction":"next"},"order":"desc"}"#;
    let cursor = |text: &str| {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        URL_SAFE_NO_PAD.encode(text)
    };
    let nobody = "ses_zzzzzzzzzzzzzzzzzzzzzzzzzz";
    let requests = [
        ("GET", "/global/health".to_owned(), None),
        ("GET", "/api/health".to_owned(), None),
        ("GET", "/path".to_owned(), None),
        ("GET", "/project/current".to_owned(), None),
        ("GET", "/project".to_owned(), None),
        ("GET", "/session".to_owned(), None),
        ("GET", "/session?limit=1".to_owned(), None),
        ("GET", "/session?limit=0".to_owned(), None),
        ("GET", "/session?limit=-1".to_owned(), None),
        ("GET", "/session?roots=true".to_owned(), None),
        ("GET", "/session?search=ONE".to_owned(), None),
        ("GET", "/session?start=9999999999999".to_owned(), None),
        ("GET", "/session/status".to_owned(), None),
        ("GET", "/permission".to_owned(), None),
        ("GET", "/question".to_owned(), None),
        ("GET", "/pty".to_owned(), None),
        ("GET", "/api/session".to_owned(), None),
        ("GET", "/api/session?limit=1".to_owned(), None),
        ("GET", "/api/session?limit=1&order=asc".to_owned(), None),
        ("GET", "/api/session?limit=0".to_owned(), None),
        ("GET", "/api/session?cursor=zzz".to_owned(), None),
        ("GET", format!("/api/session?limit=1&cursor={}", cursor(newest)), None),
        ("GET", format!("/api/session?limit=1&cursor={}", cursor(oldest)), None),
        ("GET", "/api/session/active".to_owned(), None),
        ("GET", format!("/api/session/{nobody}"), None),
        ("GET", "/api/permission/request".to_owned(), None),
        ("GET", "/api/question/request".to_owned(), None),
        ("GET", "/experimental/session?limit=1".to_owned(), None),
        ("GET", "/experimental/session?limit=10".to_owned(), None),
        ("GET", format!("/session/{nobody}"), None),
        ("GET", "/session/:id".to_owned(), None),
        ("GET", "/session/:id/message".to_owned(), None),
        ("GET", "/session/:id/message?limit=1".to_owned(), None),
        ("GET", "/no/such/path".to_owned(), None),
        ("HEAD", "/session".to_owned(), None),
        ("POST", "/permission/per_abc/reply".to_owned(), Some(json!({"reply": "once"}))),
        ("POST", "/question/que_abc/reply".to_owned(), Some(json!({"answers": [["a"]]}))),
        ("POST", "/tui/select-session".to_owned(), Some(json!({"sessionID": ":id"}))),
        ("POST", "/pty".to_owned(), Some(json!({}))),
        ("PATCH", "/session/:id".to_owned(), Some(json!({"title": "three"}))),
        ("POST", "/session/:id/fork".to_owned(), Some(json!({}))),
        ("POST", "/session/:id/abort".to_owned(), None),
        ("POST", format!("/session/{nobody}/abort"), None),
        ("POST", format!("/session/{nobody}/message"), Some(prompt("hello"))),
        ("POST", "/session/:id/prompt_async".to_owned(), Some(prompt("hello"))),
        ("DELETE", "/session/:id".to_owned(), None),
        ("DELETE", "/session/:id".to_owned(), None),
    ];
    let mut differences = Vec::new();
    for (method, path, body) in requests {
        let mut answers = Vec::new();
        for (base, id) in [real.url(), fake.url()].iter().zip(&ids) {
            let body =
                body.as_ref().map(|body| serde_json::from_str(&body.to_string().replace(":id", id)).unwrap());
            let body = body.filter(|_| !path.contains("/pty") || method == "POST");
            let (mut seen, _) = ask(base, method, &path.replace(":id", id), body.as_ref()).await;
            seen.shape.retain(|place| !allowed.iter().any(|allowed| place.contains(allowed)));
            answers.push(seen);
        }
        if answers[0] != answers[1] {
            differences.push(format!("{method} {path}\n  real {:?}\n  fake {:?}", answers[0], answers[1]));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[tokio::test]
async fn the_fake_emits_the_events_of_a_real_turn() {
    let store = Store::new().await;
    let project = store.project("project");
    let real = OpenCode::start(&store, &project).await;
    let fake = FakeServer::start(&FakeStore::new(), "/project").await;
    let mut orders = Vec::new();
    for base in [real.url(), fake.url()] {
        let mut stream = EventStream::open(format!("{base}/global/event")).await;
        stream.expect_kind("server.connected").await;
        let (_, session) = ask(&base, "POST", "/session", Some(&json!({}))).await;
        let id = session["id"].as_str().unwrap();
        ask(&base, "POST", &format!("/session/{id}/message"), Some(&prompt("hello"))).await;
        stream.expect(|event| event.kind() == "session.idle" && event.session() == id).await;
        let (_, fork) = ask(&base, "POST", &format!("/session/{id}/fork"), Some(&json!({}))).await;
        ask(&base, "DELETE", &format!("/session/{id}"), None).await;
        stream.expect_kind("session.deleted").await;
        let telling =
            ["session.created", "session.status", "message.part.delta", "session.idle", "session.deleted"];
        let mut order: Vec<_> = stream
            .seen()
            .iter()
            .filter(|event| telling.contains(&event.kind()))
            .map(|event| {
                let whose = if event.session() == id { "session" } else { "fork" };
                assert!(event.session() == id || event.session() == fork["id"], "{event:?}");
                format!("{} {whose} {}", event.kind(), event.properties()["status"]["type"])
            })
            .collect();
        order.dedup();
        orders.push(order);
        assert!(stream.seen().iter().any(|event| event.properties()["info"]["role"] == "assistant"));
        let durable = stream.seen().iter().find(|event| event.kind() == "sync").unwrap();
        assert_eq!(durable.event()["syncEvent"]["seq"], 0, "{base}");
    }
    assert_eq!(orders[0], orders[1]);
}

async fn ask(base: &str, method: &str, path: &str, body: Option<&Value>) -> (Seen, Value) {
    let client = reqwest::Client::new();
    let mut request = client.request(method.parse().unwrap(), format!("{base}{path}"));
    if let Some(body) = body {
        request = request.json(body);
    }
    let response = request.send().await.unwrap();
    let has = |name: &str| response.headers().contains_key(name);
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    let (status, link, next) = (response.status().as_u16(), has("link"), has("x-next-cursor"));
    let text = response.text().await.unwrap();
    let value = serde_json::from_str(&text).unwrap_or(Value::Null);
    let mut shape = BTreeSet::new();
    note_shape("", &value, &mut shape);
    (Seen { status, kind: kind.unwrap_or_default(), link, next, shape }, value)
}

/// `/time/created number`, one line for each place in a value; the members of a list share one place.
fn note_shape(place: &str, value: &Value, shape: &mut BTreeSet<String>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(members) => {
            for member in members {
                note_shape(&format!("{place}/*"), member, shape);
            }
            "list"
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                let name = if name.starts_with("ses_") { "ses" } else { name };
                // The parts of a message are the agent's own matter.
                if name != "parts" && name != "patterns" {
                    note_shape(&format!("{place}/{name}"), field, shape);
                }
            }
            "object"
        }
    };
    shape.insert(format!("{place} {kind}"));
}
