//! What pointsman knew survives its own death, however it died.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    daemon::Daemon,
    fake::Fault,
    town::{Pair, acquainted, start},
};

/// Until all claims so far are kept, which takes some milliseconds: what an answer claims is kept before it is given,
/// and all that was claimed before with it.
async fn settle(daemon: &Daemon) {
    assert_eq!(daemon.post("/session", &json!({})).await.status, 200);
}

#[tokio::test]
async fn the_first_request_after_a_kill_goes_to_the_owner() {
    let pair = Pair::start().await;
    let mut daemon = pair.daemon().await;
    let mut sessions = Vec::new();
    for (owner, _) in pair.both_ways() {
        let emitted = owner.create_session().id;
        daemon.wait_for_owner(&emitted, owner, "emitted").await;
        sessions.push((emitted, owner));
    }
    settle(&daemon).await;
    for (session, owner) in &sessions {
        daemon.restart_unready().await;
        let answer = daemon.turn(session, "hello").await;
        assert_eq!((answer.status, answer.fake()), (200, &*owner.address()), "{answer:?}");
    }
}

#[tokio::test]
async fn the_owner_gets_the_first_request_even_if_it_answers_the_probe_last() {
    let pair = Pair::start().await;
    let mut daemon = pair.daemon().await;
    for (owner, other) in pair.both_ways() {
        let session = owner.create_session().id;
        daemon.wait_for_owner(&session, owner, "emitted").await;
        settle(&daemon).await;
        owner.fault("/global/health", Fault::Delay(Duration::from_millis(400)));
        daemon.restart_unready().await;
        let answer = daemon.turn(&session, "hello").await;
        assert_eq!((answer.status, answer.fake()), (200, &*owner.address()), "{answer:?}");
        assert!(other.turns_run().iter().all(|run| *run != session));
        owner.lift_faults();
        daemon.wait_for_servers(2).await;
    }
}

#[tokio::test]
async fn a_session_just_created_is_remembered_if_we_die_the_moment_after() {
    let pair = Pair::start().await;
    for server in [&pair.low, &pair.high] {
        server.fault("/global/event", Fault::Hang);
    }
    let mut daemon = start(Daemon::builder(), &[&pair.low, &pair.high]).await;
    for (owner, _) in pair.both_ways() {
        let create = daemon.request("POST", "/session").header("x-pointsman-server", owner.address());
        let created = daemon.send(create.json(&json!({}))).await;
        daemon.kill9().await;
        daemon.restart_unready().await;
        let session = created.json()["id"].as_str().unwrap().to_owned();
        let answer = daemon.turn(&session, "hello").await;
        assert_eq!((answer.status, answer.fake()), (200, &*owner.address()), "{answer:?}");
    }
}

#[tokio::test]
async fn a_choice_and_a_pin_hold_over_restarts() {
    let pair = Pair::start().await;
    let mut daemon = pair.daemon().await;
    let chosen = pair.store.insert_new(&pair.directory).id;
    let first = daemon.get(&format!("/session/{chosen}")).await;
    assert_eq!(first.route(), "owner; evidence=chosen");
    let pinned = pair.low.create_session().id;
    daemon.wait_for_owner(&pinned, &pair.low, "emitted").await;
    let pin = daemon.trusted("PUT", &format!("/sessions/{pinned}/owner"));
    daemon.send(pin.json(&json!({"server": pair.high.address()}))).await;
    for _ in 0..2 {
        daemon.restart_unready().await;
        let answer = daemon.get(&format!("/session/{chosen}")).await;
        assert_eq!((answer.fake(), answer.route()), (first.fake(), "owner; evidence=chosen"));
        let answer = daemon.get(&format!("/session/{pinned}")).await;
        assert_eq!((answer.fake(), answer.route()), (&*pair.high.address(), "owner; evidence=pinned"));
    }
}

#[tokio::test]
async fn a_choice_holds_even_if_the_rule_would_now_choose_another() {
    let pair = Pair::start().await;
    // Only the higher port is there at first, so it is chosen.
    pair.low.kill().await;
    let mut daemon = start(Daemon::builder(), &[&pair.low, &pair.high]).await;
    acquainted(&[&pair.high]).await;
    let session = pair.store.insert_new(&pair.directory).id;
    let path = format!("/session/{session}");
    assert_eq!(daemon.get(&path).await.fake(), pair.high.address());
    pair.low.restart().await;
    daemon.wait_for_servers(2).await;
    assert_eq!(daemon.get(&path).await.fake(), pair.high.address());
    daemon.restart_unready().await;
    daemon.wait_for_servers(2).await;
    assert_eq!(daemon.get(&path).await.fake(), pair.high.address());
}

#[tokio::test]
async fn claims_of_a_process_that_died_meanwhile_count_for_nothing() {
    let pair = Pair::start().await;
    let mut daemon = pair.daemon().await;
    let session = pair.high.create_session().id;
    daemon.wait_for_owner(&session, &pair.high, "emitted").await;
    settle(&daemon).await;
    daemon.kill9().await;
    pair.high.restart().await;
    daemon.restart().await;
    daemon.wait_for_servers(2).await;
    // Another process on the same port: nothing is left but the rule.
    let answer = daemon.get(&format!("/session/{session}")).await;
    assert_eq!((answer.fake(), answer.route()), (&*pair.low.address(), "owner; evidence=chosen"));
}

#[tokio::test]
async fn a_turn_that_still_runs_is_learned_anew() {
    let pair = Pair::start().await;
    let mut daemon = pair.daemon().await;
    let session = pair.high.create_session().id;
    pair.high.begin_turn(&session, "SLOW");
    daemon.wait_for_owner(&session, &pair.high, "busy").await;
    daemon.restart().await;
    daemon.wait_for_owner(&session, &pair.high, "busy").await;
    pair.high.finish(&session);
}

#[tokio::test]
async fn an_orderly_end_ends_streams_and_lets_the_next_one_start() {
    let pair = Pair::start().await;
    let mut daemon = pair.daemon().await;
    let mut events = daemon.events("/global/event").await;
    events.next().await;
    let ended = tokio::spawn(async move { events.ended().await });
    daemon.term().await;
    ended.await.unwrap();
    daemon.restart().await;
    daemon.wait_for_servers(2).await;
}
