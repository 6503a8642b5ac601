//! What is created through pointsman is usable in the very next request, on the server that created it.

use serde_json::json;

use crate::support::{
    daemon::Daemon,
    opencode::{prompt, shared},
};

/// Often enough that a race between the answer and the event would show.
const TIMES: usize = 20;

#[tokio::test]
async fn a_session_that_was_just_created_takes_a_turn_at_once() {
    let shared = shared().await;
    let daemon = Daemon::start(shared.urls()).await;
    let mut streams = [shared.lower.events().await, shared.higher.events().await];
    for time in 0..TIMES {
        let creator = [&shared.lower, &shared.higher][time % 2];
        let request = daemon.request("POST", "/session").header("x-pointsman-server", creator.address());
        let created = daemon.send(request.json(&json!({"title": "created"}))).await;
        let id = created.json()["id"].as_str().unwrap().to_owned();
        let turn = daemon.post(&format!("/session/{id}/prompt_async"), &prompt("hello")).await;
        assert_eq!((turn.status, turn.server()), (204, creator.address().as_str()), "{turn:?}");
        let stream = &mut streams[time % 2];
        stream.expect(|event| event.kind() == "message.part.delta" && event.session() == id).await;
    }
}

#[tokio::test]
async fn a_session_that_was_just_forked_takes_a_turn_at_once_where_its_origin_runs() {
    let shared = shared().await;
    let daemon = Daemon::start(shared.urls()).await;
    for (owner, _) in shared.both_ways() {
        let mut stream = owner.events().await;
        let request = daemon.request("POST", "/session").header("x-pointsman-server", owner.address());
        let origin = daemon.send(request.json(&json!({"title": "origin"}))).await;
        let origin = origin.json()["id"].as_str().unwrap().to_owned();
        for _ in 0..TIMES / 2 {
            let forked = daemon.post(&format!("/session/{origin}/fork"), &json!({})).await;
            assert_eq!((forked.status, forked.server()), (200, owner.address().as_str()), "{forked:?}");
            let id = forked.json()["id"].as_str().unwrap().to_owned();
            assert_ne!(id, origin);
            let turn = daemon.post(&format!("/session/{id}/prompt_async"), &prompt("hello")).await;
            assert_eq!((turn.status, turn.server()), (204, owner.address().as_str()), "{turn:?}");
            stream.expect(|event| event.kind() == "message.part.delta" && event.session() == id).await;
        }
    }
}

#[tokio::test]
async fn a_session_created_without_naming_a_server_stays_where_it_was_created() {
    let shared = shared().await;
    let daemon = Daemon::start(shared.urls()).await;
    for _ in 0..3 {
        let created = daemon.post("/session", &json!({})).await;
        let id = created.json()["id"].as_str().unwrap().to_owned();
        let read = daemon.get(&format!("/session/{id}/message")).await;
        let turn = daemon.post(&format!("/session/{id}/message"), &prompt("hello")).await;
        assert_eq!(turn.json()["info"]["finish"], "stop", "{turn:?}");
        assert_eq!((read.server(), turn.server()), (created.server(), created.server()));
    }
}
