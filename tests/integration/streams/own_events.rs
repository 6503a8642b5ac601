//! What pointsman itself has to tell.

use crate::support::{
    fake::{FakeServer, FakeStore},
    town::Pair,
};

#[tokio::test]
async fn servers_that_come_and_go_are_told() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let before = daemon.servers().await;
    let id = |port: u16| before.iter().find(|server| server["port"] == port).unwrap()["id"].clone();
    let old = id(pair.high.port());
    let mut events = daemon.events("/global/event").await;
    events.next().await;
    pair.high.kill().await;
    let down = events.expect_kind("pointsman.server.down").await;
    assert_eq!(down.properties()["id"], old);
    assert_eq!(down.properties()["url"], pair.high.url());
    pair.high.restart().await;
    let up = events.expect_kind("pointsman.server.up").await;
    assert_ne!(up.properties()["id"], old);
    assert_eq!(up.properties()["url"], pair.high.url());
    assert_eq!(up.properties()["pid"], pair.high.pid());
}

#[tokio::test]
async fn a_session_that_changes_hands_is_told_with_both_servers() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let session = pair.low.create_session().id;
    daemon.wait_for_owner(&session, &pair.low, "emitted").await;
    let servers = daemon.servers().await;
    let id = |fake: &FakeServer| {
        servers.iter().find(|server| server["port"] == fake.port()).unwrap()["id"].clone()
    };
    let mut events = daemon.events("/global/event").await;
    pair.high.begin_turn(&session, "SLOW");
    let moved = events.expect_kind("pointsman.session.moved").await;
    let told = moved.properties();
    assert_eq!(told["sessionID"], *session);
    assert_eq!((&told["from"], &told["to"]), (&id(&pair.low), &id(&pair.high)));
    assert_eq!(told["evidence"], "busy");
    pair.high.kill().await;
    let moved = events.expect_kind("pointsman.session.moved").await;
    let told = moved.properties();
    assert_eq!((&told["from"], &told["to"]), (&id(&pair.high), &id(&pair.low)));
}

#[tokio::test]
async fn a_second_server_that_runs_a_turn_of_a_busy_session_is_told_and_not_hidden() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let session = pair.low.create_session().id;
    pair.low.begin_turn(&session, "SLOW");
    daemon.wait_for_owner(&session, &pair.low, "busy").await;
    let mut events = daemon.events("/global/event").await;
    pair.high.begin_turn(&session, "SLOW");
    let conflict = events.expect_kind("pointsman.session.conflict").await;
    assert_eq!(conflict.properties()["sessionID"], *session);
    // The first keeps it until it is idle, however often the second says that it is busy.
    pair.high.forge_busy(&session);
    pair.high.delta(&session, "more");
    events.expect(|event| event.properties()["delta"] == "more").await;
    assert_eq!(daemon.get(&format!("/session/{session}")).await.fake(), pair.low.address());
    pair.low.finish(&session);
    daemon.wait_for_owner(&session, &pair.high, "busy").await;
    pair.high.finish(&session);
}

#[tokio::test]
async fn the_first_owner_of_a_session_is_no_move() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = crate::support::town::daemon_before(&[&fake]).await;
    let mut events = daemon.events("/global/event").await;
    let session = fake.create_session().id;
    fake.begin_turn(&session, "hello");
    events
        .until(
            |event| event.kind() == "session.idle" && event.session() == session,
            |event| event.kind() == "pointsman.session.moved",
        )
        .await;
}
