//! The owner is killed: noticed at once, replaced by a live server of its store, or missed in plain words.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{
    daemon::Daemon,
    opencode::{OpenCode, Store, prompt},
};

/// How soon a server that was killed must be out of the list. Alone it takes hundredths of a second, and that it is a
/// second at most is tested with a clock of our own; this tells it from the next sign there is, 25 s of silence, on a
/// machine as busy as it may be.
const NOTICED: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_killed_owner_is_noticed_at_once_and_replaced_in_the_next_request() {
    let store = Store::new().await;
    let project = store.project("project");
    let (mut one, mut two) =
        tokio::join!(OpenCode::start(&store, &project), OpenCode::start(&store, &project));
    let daemon = Daemon::start([one.url(), two.url()]).await;
    daemon.hears(&one).await;

    // Made out of band; its row is known and its owner learned before the owner dies.
    let session = one.create_session().await;
    let known = format!("/sessions/{session}");
    daemon.wait_for_answer(&known, |answer| answer.json()["ownerPort"] == one.port()).await;
    let before = daemon.get(&format!("/session/{session}/message")).await;
    assert_eq!((before.status, before.server()), (200, one.address().as_str()), "{before:?}");

    let mut events = daemon.events("/global/event").await;
    let died = Instant::now();
    one.kill9().await;
    // At once, before anybody can have noticed: no connection to it comes about, so the turn goes to the other.
    let path = format!("/session/{session}/message");
    let text = prompt("hello");
    let (turn, down) = tokio::join!(daemon.post(&path, &text), events.expect_kind("pointsman.server.down"));
    assert_eq!((turn.status, turn.server()), (200, two.address().as_str()), "{turn:?}");
    assert_eq!(turn.json()["info"]["finish"], "stop");
    assert_eq!(down.properties()["pid"], one.pid());
    assert!(down.at.duration_since(died) < NOTICED, "{:?}", down.at.duration_since(died));
    let left: Vec<_> = daemon.servers().await.iter().map(|server| server["port"].clone()).collect();
    assert_eq!(left, [json!(two.port())]);
    let owner = daemon.explain(&session).await;
    assert_eq!(owner["ownerPort"], two.port(), "{owner}");
    let messages = two.get(&format!("/session/{session}/message")).await;
    assert_eq!(messages.as_array().unwrap().len(), 2, "the turn was sent once: {messages}");

    let died = Instant::now();
    two.kill9().await;
    let down = events.expect_kind("pointsman.server.down").await;
    assert!(down.at.duration_since(died) < NOTICED, "{:?}", down.at.duration_since(died));
    assert!(daemon.servers().await.is_empty());
    for (method, path) in [
        ("GET", format!("/session/{session}")),
        ("POST", format!("/session/{session}/message")),
        ("POST", "/session".to_owned()),
        ("GET", "/config".to_owned()),
    ] {
        let answer = daemon.send(daemon.request(method, &path).json(&json!({}))).await;
        assert_eq!(answer.status, 503, "{method} {path}: {answer:?}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert!(answer.json()["data"]["message"].as_str().is_some_and(|text| text.contains("opencode")));
    }
}
