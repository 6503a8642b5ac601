//! What a client reads through pointsman is what it would have read from the server itself.

mod odd_questions;

use serde_json::{Value, json};

use crate::support::{
    daemon::{Answer, Daemon},
    eventually::{eventually, patiently},
    opencode::{OpenCode, Store, shared},
};

#[tokio::test]
async fn an_answer_through_pointsman_is_the_owners_byte_for_byte() {
    let shared = shared().await;
    let daemon = Daemon::start(shared.urls()).await;
    daemon.hears(&shared.lower).await;
    daemon.hears(&shared.higher).await;
    for (owner, _) in shared.both_ways() {
        let session = owner.post("/session", &json!({"title": "fidelity"})).await;
        let session = session["id"].as_str().unwrap();
        for text in ["hello", "again"] {
            assert_eq!(owner.prompt(session, text).await["info"]["finish"], "stop");
        }
        let known = format!("/sessions/{session}");
        daemon.wait_for_answer(&known, |answer| answer.json()["ownerPort"] == owner.port()).await;
        for path in [
            "",
            "/message",
            "/message?limit=1",
            "/children",
            "/todo",
            "/diff",
            "/message/msg_nobody",
            "/nothing-of-the-kind",
        ] {
            let path = format!("/session/{session}{path}");
            let through = same(&daemon, owner, &path).await;
            assert_eq!(through.server(), owner.address(), "{path}");
        }
        let through = same(&daemon, owner, &format!("/api/session/{session}")).await;
        assert_eq!(through.server(), owner.address());
    }
}

#[tokio::test]
async fn what_concerns_no_session_is_answered_as_by_the_server_that_was_asked() {
    let shared = shared().await;
    let daemon = Daemon::start(shared.urls()).await;
    let nobody = "/session/ses_e01e58a32ffe3kdSHt0WHmDjwr";
    for path in [
        "/global/health",
        "/api/health",
        "/path",
        "/project/current",
        "/config",
        "/config/providers",
        "/agent",
        "/command",
        "/vcs",
        "/find/file?query=%2e&limit=3",
        "/file?path=.",
        "/experimental/tool/ids",
        "/doc",
        "/",
        nobody,
    ] {
        let asked = daemon.get(path).await;
        let [one, other] = [&shared.lower, &shared.higher];
        let server = if asked.server() == one.address() { one } else { other };
        same(&daemon, server, path).await;
    }
}

#[tokio::test]
async fn compression_passes_as_it_was_asked_for() {
    let shared = shared().await;
    let daemon = Daemon::start(shared.urls()).await;
    let request = daemon.request("GET", "/config/providers").header("accept-encoding", "gzip");
    let through = daemon.send(request).await;
    let server = if through.server() == shared.lower.address() { &shared.lower } else { &shared.higher };
    let direct = server.request("GET", "/config/providers").header("accept-encoding", "gzip");
    let direct = patiently("a direct answer", direct.send()).await.unwrap();
    assert_eq!(through.header("content-encoding"), "gzip");
    assert_eq!(direct.headers()["content-encoding"], "gzip");
    assert_eq!(through.body, direct.bytes().await.unwrap());
}

#[tokio::test]
async fn merged_lists_are_those_of_either_server_where_both_read_one_store() {
    let store = Store::new().await;
    let project = store.project("project");
    let (one, two) = tokio::join!(OpenCode::start(&store, &project), OpenCode::start(&store, &project));
    let daemon = Daemon::start([one.url(), two.url()]).await;
    let mut parent = None;
    for number in 0..8 {
        let server = [&one, &two][number % 2];
        let body = json!({"title": format!("number {number}"), "parentID": parent});
        let body = if number % 3 == 2 { body } else { json!({"title": format!("number {number}")}) };
        parent = server.post("/session", &body).await["id"].as_str().map(str::to_owned);
    }
    let last = parent.unwrap();
    assert_eq!(one.prompt(&last, "hello").await["info"]["finish"], "stop");
    let query = format!("directory={}", project.display());
    let start = two.get("/session").await[3]["time"]["updated"].as_u64().unwrap();
    for path in [
        "/session".to_owned(),
        "/session?limit=3".to_owned(),
        "/session?limit=-1".to_owned(),
        "/session?limit=0".to_owned(),
        "/session?roots=true".to_owned(),
        "/session?roots=true&limit=2".to_owned(),
        "/session?search=number%203".to_owned(),
        format!("/session?start={start}"),
        format!("/session?{query}"),
        format!("/session?{query}&roots=true&limit=55"),
        "/project".to_owned(),
        "/experimental/session".to_owned(),
        "/experimental/session?limit=3".to_owned(),
        format!("/experimental/session?{query}"),
        "/api/session".to_owned(),
        "/api/session?limit=3&order=desc".to_owned(),
        "/api/session?limit=3&order=asc".to_owned(),
        "/api/session?limit=0".to_owned(),
    ] {
        // Titles and times settle a moment after a turn.
        eventually(&format!("equal answers to {path}"), || async {
            let direct = direct(&two, &daemon, &path).await;
            let merged = daemon.get(&path).await;
            let seen = |answer: &Answer| {
                let next = answer.header("x-next-cursor").to_owned();
                let kind = answer.header("content-type").to_owned();
                (answer.status, kind, next, without_owner_port(answer.json()))
            };
            let (merged, direct) = (seen(&merged), seen(&direct));
            if merged == direct { Ok(()) } else { Err(format!("merged {merged:#?}\ndirect {direct:#?}")) }
        })
        .await;
    }
    for list in ["/session", "/experimental/session"] {
        let sessions = daemon.get(list).await.json();
        for session in sessions.as_array().unwrap() {
            let known = daemon.explain(session["id"].as_str().unwrap()).await;
            assert_eq!(session["ownerPort"], known["ownerPort"], "{list}: {known}");
        }
    }
}

#[tokio::test]
async fn pages_of_a_merged_list_lead_through_every_session_once() {
    let shared = shared().await;
    let daemon = Daemon::start(shared.urls()).await;
    let mut made = Vec::new();
    for number in 0..7 {
        let server = [&shared.lower, &shared.higher][number % 2];
        made.push(server.create_session().await);
    }
    let mut seen = Vec::new();
    let mut path = "/experimental/session?limit=3".to_owned();
    while !made.iter().all(|id| seen.contains(id)) {
        let page = daemon.get(&path).await;
        let ids = page.json();
        let ids = ids.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned());
        seen.extend(ids);
        let next = page.header("x-next-cursor");
        if next.is_empty() {
            break;
        }
        path = format!("/experimental/session?limit=3&cursor={next}");
    }
    for id in &made {
        assert_eq!(seen.iter().filter(|seen| *seen == id).count(), 1, "{id} in {seen:?}");
    }
}

/// Asks through pointsman and directly, and compares all that a client sees.
async fn same(daemon: &Daemon, server: &OpenCode, path: &str) -> Answer {
    let request = daemon.request("GET", path).header("x-pointsman-server", server.address());
    // A session's own server is found without being named.
    let through = if path.contains("/ses_") { daemon.get(path).await } else { daemon.send(request).await };
    let direct = direct(server, daemon, path).await;
    assert_eq!(through.status, direct.status, "{path}: {through:?}");
    for name in ["content-type", "link", "x-next-cursor", "content-security-policy"] {
        assert_eq!(through.header(name), direct.header(name), "{path}: {name}");
    }
    // What servers offer is kept here for a while, with a validator of its own.
    if through.header("x-pointsman-cache").is_empty() {
        for name in ["cache-control", "etag"] {
            assert_eq!(through.header(name), direct.header(name), "{path}: {name}");
        }
    }
    assert_eq!(through.text(), direct.text(), "{path}");
    through
}

/// The server's own answer to a request that names the same host, which stands in its links.
async fn direct(server: &OpenCode, daemon: &Daemon, path: &str) -> Answer {
    let request = server.request("GET", path).header("host", daemon.address());
    let response = patiently("a direct answer", request.send()).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = patiently("the rest of it", response.bytes()).await.unwrap();
    Answer { status, headers, body, took: std::time::Duration::ZERO }
}

fn without_owner_port(mut value: Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(object) => {
                object.remove("ownerPort");
                object.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut value);
    value
}
