//! Servers die, and are missed at once.

use std::time::{Duration, Instant};

use crate::support::{
    eventually::eventually,
    fake::{FakeServer, FakeStore},
    town::{Pair, daemon_before},
};

#[tokio::test]
async fn a_killed_server_is_out_at_once() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let known = daemon.wait_for_servers(2).await;
    assert!(known.iter().any(|server| server["port"] == pair.high.port()));
    pair.high.kill().await;
    let killed = Instant::now();
    let left = daemon.wait_for_servers(1).await;
    // Long before it would be missed for its silence, however busy the machine.
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
    // A server that is gone is not listed in any state.
    assert_eq!(left.iter().map(|server| &server["port"]).collect::<Vec<_>>(), [pair.low.port()]);
}

#[tokio::test]
async fn the_next_request_of_a_dead_owners_session_is_served_by_another_server_of_its_store() {
    for low_dies in [true, false] {
        let pair = Pair::start().await;
        let elsewhere = FakeStore::new();
        let stranger = FakeServer::serve(&elsewhere, &elsewhere.directory("x")).await;
        let daemon = daemon_before(&[&pair.low, &pair.high, &stranger]).await;
        let (owner, heir) = if low_dies { (&pair.low, &pair.high) } else { (&pair.high, &pair.low) };
        let session = owner.create_session().id;
        daemon.wait_for_owner(&session, owner, "emitted").await;
        owner.kill().await;
        let answer = daemon.turn(&session, "hello").await;
        assert_eq!((answer.status, answer.fake()), (200, &*heir.address()), "{answer:?}");
        assert_eq!(heir.turns_run(), [session]);
        assert!(stranger.turns_run().is_empty());
    }
}

#[tokio::test]
async fn without_any_server_the_answer_is_503_and_says_what_to_do() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    let session = fake.create_session().id;
    daemon.wait_for_owner(&session, &fake, "emitted").await;
    fake.kill().await;
    daemon.wait_for_servers(0).await;
    for (method, path) in [
        ("GET", format!("/session/{session}")),
        ("POST", format!("/session/{session}/message")),
        ("GET", "/session".to_owned()),
        ("GET", "/config".to_owned()),
        ("POST", "/instance/dispose".to_owned()),
        ("GET", "/".to_owned()),
    ] {
        let answer = daemon.send(daemon.request(method, &path)).await;
        assert_eq!(answer.status, 503, "{method} {path}: {answer:?}");
        let error = answer.json();
        assert!(error["name"].as_str().unwrap().ends_with("Error"), "{error}");
        assert!(error["data"]["message"].as_str().unwrap().len() > 20, "{error}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert!(!answer.header("retry-after").is_empty());
    }
    let health = daemon.get("/healthz").await;
    assert_eq!(health.status, 200);
}

#[tokio::test]
async fn a_store_without_a_live_server_is_told_from_no_server_at_all() {
    let (store, elsewhere) = (FakeStore::new(), FakeStore::new());
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let other = FakeServer::serve(&elsewhere, &elsewhere.directory("b")).await;
    let daemon = daemon_before(&[&fake, &other]).await;
    let session = fake.create_session().id;
    daemon.wait_for_owner(&session, &fake, "emitted").await;
    fake.kill().await;
    daemon.wait_for_servers(1).await;
    let answer = daemon.turn(&session, "hello").await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(other.requests_to(&format!("POST /session/{session}/*")).is_empty());
}

#[tokio::test]
async fn a_server_started_again_on_its_port_is_a_new_one_that_succeeds_the_old() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for (owner, _) in pair.both_ways() {
        let session = owner.create_session().id;
        daemon.wait_for_owner(&session, owner, "emitted").await;
        let id = |servers: &[serde_json::Value]| {
            let found = servers.iter().find(|server| server["port"] == owner.port());
            found.map(|server| server["id"].as_str().unwrap().to_owned())
        };
        let before = id(&daemon.servers().await).unwrap();
        let pid = owner.pid();
        owner.restart().await;
        assert_ne!(owner.pid(), pid);
        eventually("the new server being known", || async {
            let now = id(&daemon.servers().await);
            if now.as_ref().is_some_and(|now| *now != before) { Ok(()) } else { Err(now) }
        })
        .await;
        daemon.wait_for_owner(&session, owner, "succeeded").await;
        let answer = daemon.turn(&session, "hello").await;
        assert_eq!((answer.status, answer.fake()), (200, &*owner.address()));
    }
}

#[tokio::test]
async fn a_port_taken_over_by_another_store_inherits_nothing() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let session = pair.low.create_session().id;
    daemon.wait_for_owner(&session, &pair.low, "emitted").await;
    let elsewhere = FakeStore::new();
    pair.low.restart_as(&elsewhere).await;
    daemon.wait_for_servers(2).await;
    pair.low.wait_for_streams(1).await;
    for _ in 0..3 {
        let answer = daemon.turn(&session, "hello").await;
        assert_eq!((answer.status, answer.fake()), (200, &*pair.high.address()), "{answer:?}");
    }
    let own = elsewhere.insert_new(pair.low.directory()).id;
    assert_eq!(daemon.get(&format!("/session/{own}")).await.fake(), pair.low.address());
}

#[tokio::test]
async fn a_server_that_only_drops_its_stream_stays() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let session = pair.high.create_session().id;
    daemon.wait_for_owner(&session, &pair.high, "emitted").await;
    let before = daemon.servers().await;
    pair.high.cut_streams();
    pair.high.wait_for(|_| pair.high.requests_to("GET /global/event").len() == 2).await;
    pair.high.finish_streams();
    pair.high.wait_for(|_| pair.high.requests_to("GET /global/event").len() == 3).await;
    let ids = |servers: &[serde_json::Value]| -> Vec<String> {
        servers.iter().map(|server| server["id"].to_string()).collect()
    };
    assert_eq!(ids(&daemon.servers().await), ids(&before));
    assert_eq!(daemon.turn(&session, "hello").await.fake(), pair.high.address());
}
