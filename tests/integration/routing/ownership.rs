//! A session's requests go to the process that runs it, whoever lists it.

use serde_json::json;

use crate::support::{
    daemon::Daemon,
    eventually::eventually,
    fake::{FakeServer, FakeSession, Fault, now_ms},
    town::{Pair, prompt, start},
};

/// How often the sync of session lists has asked these servers.
fn looks(servers: &[&FakeServer]) -> usize {
    servers.iter().map(|server| server.requests_to("GET /experimental/session").len()).sum()
}

#[tokio::test]
async fn a_session_made_on_a_server_is_prompted_there_whichever_port_is_lower() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for (owner, other) in pair.both_ways() {
        let session = owner.create_session().id;
        daemon.wait_for_owner(&session, owner, "emitted").await;
        let answer = daemon.turn(&session, "hello").await;
        assert_eq!((answer.status, answer.fake()), (200, &*owner.address()));
        assert_eq!(answer.server(), owner.address());
        assert_eq!(answer.route(), "owner; evidence=emitted");
        for path in ["", "/message", "/todo", "/diff"] {
            assert_eq!(daemon.get(&format!("/session/{session}{path}")).await.fake(), owner.address());
        }
        let abort = daemon.post(&format!("/session/{session}/abort"), &json!({})).await;
        assert_eq!(abort.fake(), owner.address());
        assert!(owner.turns_run().contains(&session));
        assert_eq!(daemon.delete(&format!("/session/{session}")).await.fake(), owner.address());
        assert!(other.requests_to(&format!("POST /session/{session}/*")).is_empty());
    }
}

#[tokio::test]
async fn a_turn_typed_on_the_other_servers_own_screen_moves_the_session_there() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let session = pair.low.create_session().id;
    daemon.wait_for_owner(&session, &pair.low, "emitted").await;
    pair.high.begin_turn(&session, "SLOW");
    daemon.wait_for_owner(&session, &pair.high, "busy").await;
    assert_eq!(daemon.get(&format!("/session/{session}")).await.fake(), pair.high.address());
    pair.high.finish(&session);
    daemon.wait_for_owner(&session, &pair.high, "emitted").await;
}

#[tokio::test]
async fn the_owner_is_the_same_after_further_looks_at_the_lists() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut sessions = Vec::new();
    for (owner, _) in pair.both_ways() {
        let session = owner.create_session().id;
        daemon.wait_for_owner(&session, owner, "emitted").await;
        sessions.push((session, owner));
    }
    for _ in 0..3 {
        let before = looks(&[&pair.low, &pair.high]);
        // Their rows change under the eyes of both, and nobody says a word.
        for (session, _) in &sessions {
            pair.store.edit(session, |row| row.updated = now_ms());
        }
        eventually("another look", || async {
            let now = looks(&[&pair.low, &pair.high]);
            if now > before { Ok(()) } else { Err(now) }
        })
        .await;
        for (session, owner) in &sessions {
            assert_eq!(daemon.get(&format!("/session/{session}")).await.fake(), owner.address());
        }
    }
}

#[tokio::test]
async fn an_idle_forged_by_the_other_server_ends_nobodys_turn() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for (owner, other) in pair.both_ways() {
        let session = owner.create_session().id;
        owner.begin_turn(&session, "SLOW");
        daemon.wait_for_owner(&session, owner, "busy").await;
        let mut events = daemon.events("/global/event").await;
        events.next().await;
        other.forge_idle(&session);
        other.emit(&pair.directory, "test.marker", json!({}));
        // The forged idle itself is nobody's business either.
        events
            .until(
                |event| event.kind() == "test.marker",
                |event| {
                    let is_idle =
                        event.kind() == "session.idle" || event.properties()["status"]["type"] == "idle";
                    event.session() == session && is_idle
                },
            )
            .await;
        assert_eq!(daemon.explain(&session).await["evidence"], "busy");
        let abort = daemon.post(&format!("/session/{session}/abort"), &json!({})).await;
        assert_eq!(abort.fake(), owner.address());
        assert!(!owner.is_busy(&session));
    }
}

#[tokio::test]
async fn a_created_session_can_be_used_in_the_very_next_request() {
    let pair = Pair::start().await;
    // No server says anything by itself: only the answers to the requests can tell.
    for server in [&pair.low, &pair.high] {
        server.fault("/global/event", Fault::Hang);
    }
    let daemon = start(Daemon::builder(), &[&pair.low, &pair.high]).await;
    for (owner, _) in pair.both_ways() {
        for _ in 0..5 {
            let create = daemon.request("POST", "/session").header("x-pointsman-server", owner.address());
            let created = daemon.send(create.json(&json!({}))).await;
            assert_eq!(created.fake(), owner.address());
            let session = created.json()["id"].as_str().unwrap().to_owned();
            let url = format!("{}/session/{session}/prompt_async", daemon.url());
            let next = reqwest::Client::new().post(url).json(&prompt("hello")).send().await.unwrap();
            assert_eq!(next.status(), 204);
            assert_eq!(next.headers()["x-fake-server"], *owner.address());
        }
    }
}

#[tokio::test]
async fn a_fork_belongs_to_the_server_that_made_it_and_can_be_used_at_once() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for (owner, _) in pair.both_ways() {
        let session = owner.create_session().id;
        daemon.wait_for_owner(&session, owner, "emitted").await;
        let fork = daemon.post(&format!("/session/{session}/fork"), &json!({})).await;
        assert_eq!(fork.fake(), owner.address());
        let fork = fork.json()["id"].as_str().unwrap().to_owned();
        let url = format!("{}/session/{fork}/message", daemon.url());
        let next = reqwest::Client::new().post(url).json(&prompt("hello")).send().await.unwrap();
        assert_eq!(next.headers()["x-fake-server"], *owner.address());
    }
}

#[tokio::test]
async fn a_sub_agents_session_follows_its_parent() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for (owner, _) in pair.both_ways() {
        let parent = owner.create_session().id;
        daemon.wait_for_owner(&parent, owner, "emitted").await;
        let child = daemon.post("/session", &json!({"parentID": parent})).await;
        assert_eq!(child.fake(), owner.address());
        // One that only the list has told of: no event, no answer through us.
        let mut row = FakeSession::new(&pair.directory);
        row.parent = Some(parent.clone());
        let listed = pair.store.insert(row).id;
        let answer = daemon.turn(&listed, "hello").await;
        assert_eq!((answer.fake(), answer.route()), (&*owner.address(), "owner; evidence=inherited"));
    }
}

#[tokio::test]
async fn a_session_that_nobody_claims_gets_one_server_and_keeps_it() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for _ in 0..5 {
        let session = pair.store.insert_new(&pair.directory).id;
        for _ in 0..4 {
            let answer = daemon.get(&format!("/session/{session}")).await;
            assert_eq!((answer.fake(), answer.route()), (&*pair.low.address(), "owner; evidence=chosen"));
        }
    }
}
