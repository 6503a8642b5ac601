//! What a server's stream has missed is asked for and told, so that whoever stays connected shows what is so.

use serde_json::json;
use tokio::time::timeout;

use crate::support::{
    daemon::Daemon,
    eventually::{PATIENCE, eventually},
    fake::{FakeServer, FakeStore},
    relay::{Break, Relay},
    shown::Shown,
    sse::EventStream,
};

const DIRECTORY: &str = "/fake/project";

/// Reads on until the screen of a subscriber that was never cut off shows what a reload shows.
pub async fn converges(
    stream: &mut EventStream,
    shown: &mut Shown,
    sessions: &[String],
    server: &FakeServer,
) {
    let converged = timeout(PATIENCE, async {
        while shown.of(sessions) != Shown::reloaded(sessions, &server.url()).await {
            // Whatever comes last is at latest a heartbeat.
            shown.apply(&stream.next().await);
        }
    });
    if converged.await.is_err() {
        let unlike = shown.of(sessions).unlike(&Shown::reloaded(sessions, &server.url()).await);
        panic!("the screen differs from a reloaded one in {unlike:#?}");
    }
}

async fn hear(daemon: &Daemon, session: &str) {
    eventually("pointsman hearing a server", || async {
        let known = daemon.explain(session).await;
        if known["evidence"] == "emitted" || known["evidence"] == "busy" { Ok(()) } else { Err(known) }
    })
    .await;
}

#[tokio::test]
async fn what_happened_during_a_cut_is_told_behind_it_and_nothing_else() {
    let store = FakeStore::new();
    let server = FakeServer::start(&store, DIRECTORY).await;
    let relay = Relay::to(&server.url()).await;
    let daemon = Daemon::start([relay.url()]).await;
    server.wait_for_streams(1).await;
    let mut stream = daemon.events("/global/event?attention=all").await;
    let [quiet, turn, asked, doomed] = [0; 4].map(|_| server.create_session().id);
    server.begin_turn(&turn, "SLOW");
    server.begin_turn(&asked, "ASK");
    for session in [&quiet, &turn, &asked, &doomed] {
        hear(&daemon, session).await;
    }
    let mut shown = Shown::default();
    while shown.asks.is_empty() {
        shown.apply(&stream.next().await);
    }
    let opened = server.opened();
    let events = stream.seen().len();

    relay.set_break(Break::Refuse);
    relay.cut();
    let client = reqwest::Client::new();
    let permission = server.permissions(&asked).remove(0);
    let reply = client
        .post(format!("{}/permission/{permission}/reply", server.url()))
        .json(&json!({"reply": "once"}));
    assert!(reply.send().await.unwrap().status().is_success());
    server.delta(&turn, "and more");
    server.finish(&turn);
    let message = store.get(&turn).unwrap().messages[0]["info"]["id"].clone();
    store.edit(&turn, |row| row.messages.retain(|known| known["info"]["id"] != message));
    let delete = client.delete(format!("{}/session/{doomed}", server.url()));
    assert!(delete.send().await.unwrap().status().is_success());
    let born = server.create_session().id;
    relay.mend();

    let sessions = [quiet.clone(), turn, asked, doomed, born.clone()];
    converges(&mut stream, &mut shown, &sessions, &server).await;
    assert!(!shown.sessions.contains_key(&sessions[3]));
    assert_eq!(shown.created.get(&born), Some(&1));
    let repaired = stream.expect_kind("pointsman.repaired").await;
    let of = repaired.properties()["sessions"].as_array().unwrap().clone();
    assert!(!of.contains(&json!(quiet)), "nothing was missed of it: {of:?}");
    assert!(of.len() == 4 && repaired.properties()["events"].as_u64() > Some(4), "{repaired:?}");
    assert!(!stream.seen()[events..].iter().any(|event| event.session() == quiet));
    assert_eq!(server.opened(), opened, "no directory was opened");

    // Another cut, in which nothing happens.
    relay.cut();
    server.wait_for_streams(1).await;
    let marker = server.create_session().id;
    let again = |event: &crate::support::sse::Received| event.kind() == "pointsman.repaired";
    let is_marker = |event: &crate::support::sse::Received| event.session() == marker;
    if !stream.seen().iter().any(is_marker) {
        stream
            .until(is_marker, |event| again(event) && event.properties()["events"].as_u64() > Some(1))
            .await;
    }
}

#[tokio::test]
async fn things_to_do_and_changes_to_files_that_were_missed_are_told_once() {
    let store = FakeStore::new();
    let server = FakeServer::start(&store, DIRECTORY).await;
    let relay = Relay::to(&server.url()).await;
    let daemon = Daemon::start([relay.url()]).await;
    server.wait_for_streams(1).await;
    let mut stream = daemon.events("/global/event").await;
    let session = server.create_session().id;
    server.begin_turn(&session, "hello");
    let todos = json!([{"content": "a", "status": "pending", "priority": "high"}]);
    let diff = json!([{"file": "a.txt", "additions": 1, "deletions": 0}]);
    server.emit(DIRECTORY, "todo.updated", json!({"sessionID": session, "todos": todos}));
    hear(&daemon, &session).await;
    let done = json!([{"content": "a", "status": "completed", "priority": "high"}]);
    for (what, list) in [("todo", &done), ("diff", &diff)] {
        let answer = list.to_string();
        server.script(&format!("GET /session/{session}/{what}"), move |_| {
            let head = http::Response::builder().header("content-type", "application/json");
            let answer = head.body(axum::body::Body::from(answer.clone())).unwrap();
            async { answer }
        });
    }
    stream.expect(|event| event.kind() == "session.idle").await;
    let told = stream.seen().len();
    for reconnect in 0..2 {
        relay.set_break(Break::Refuse);
        relay.cut();
        store.edit(&session, |row| row.updated += 1);
        relay.mend();
        if reconnect == 0 {
            let event = stream.expect_kind("todo.updated").await;
            assert_eq!(event.properties(), &json!({"sessionID": session, "todos": done}));
            let event = stream.expect_kind("session.diff").await;
            assert_eq!(event.properties(), &json!({"sessionID": session, "diff": diff}));
        }
        stream.expect_kind("pointsman.repaired").await;
    }
    let singles =
        |event: &&crate::support::sse::Received| ["todo.updated", "session.diff"].contains(&event.kind());
    assert_eq!(stream.seen()[told..].iter().filter(singles).count(), 2);
}

#[tokio::test]
async fn a_session_made_in_one_cut_and_changed_in_the_next_is_told_both_times() {
    let store = FakeStore::new();
    let server = FakeServer::start(&store, DIRECTORY).await;
    let relay = Relay::to(&server.url()).await;
    let daemon = Daemon::start([relay.url()]).await;
    server.wait_for_streams(1).await;
    hear(&daemon, &server.create_session().id).await;
    let mut stream = daemon.events("/global/event").await;
    let break_off = || {
        relay.set_break(Break::Refuse);
        relay.cut();
    };

    break_off();
    let session = server.create_session().id;
    relay.mend();
    stream.expect(|event| event.kind() == "session.created" && event.session() == session).await;
    server.wait_for_streams(1).await;

    break_off();
    store.edit(&session, |row| (row.title, row.updated) = ("Changed".into(), row.updated + 1));
    relay.mend();
    let told = stream.expect(|event| event.kind() == "session.updated" && event.session() == session).await;
    assert_eq!(told.properties()["info"]["title"], "Changed");
}
