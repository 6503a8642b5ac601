//! Every type of event that is described is told, and every one that is told is described. Whatever comes is held against
//! its description where streams are read ([`described`](crate::support::described)).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use crate::support::{
    daemon::Daemon,
    described::own_types,
    fake::{FakeServer, FakeStore},
    plugin::{Plugin, terminal},
    relay::{Break, Relay},
    sse::EventStream,
    town::{Pair, acquainted},
};

fn of_ours(stream: &EventStream) -> impl Iterator<Item = String> {
    let kinds = stream.seen().iter().map(|event| event.kind().to_owned());
    kinds.filter(|kind| kind.starts_with("pointsman."))
}

#[tokio::test]
async fn every_type_that_is_described_is_told_and_every_type_that_is_told_is_described() {
    let pair = Pair::start().await;
    let apart = FakeStore::new();
    // It gives no sign of life unless something happens.
    let silent = FakeServer::builder(&apart, "/apart").heartbeat(Duration::from_hours(24)).start().await;
    let relay = Relay::to(&silent.url()).await;
    let mut daemon = Daemon::builder().servers([pair.low.url(), pair.high.url(), relay.url()]).start().await;
    acquainted(&[&pair.low, &pair.high, &silent]).await;
    let mut stream = daemon.events("/events").await;

    relay.set_break(Break::Refuse);
    relay.cut();
    silent.create_session();
    relay.mend();
    stream.expect_kind("pointsman.repaired").await;

    let session = pair.low.create_session().id;
    daemon.wait_for_owner(&session, &pair.low, "emitted").await;
    pair.high.begin_turn(&session, "SLOW");
    stream.expect_kind("pointsman.session.moved").await;
    pair.low.begin_turn(&session, "SLOW");
    stream.expect_kind("pointsman.session.conflict").await;

    let screen = terminal(&pair.store, &pair.directory, "its").await;
    let mut plugin = Plugin::of_terminal(&screen, "its");
    plugin.register(&daemon).await;
    stream.expect_kind("pointsman.server.up").await;
    plugin.views(&daemon, Some(&session), None).await;
    stream.expect_kind("pointsman.session.viewed").await;
    pair.high.kill().await;
    stream.expect_kind("pointsman.server.down").await;

    // After 25 s.
    stream.expect_kind("pointsman.server.stalled").await;
    silent.create_session();
    let silent_again = |event: &crate::support::sse::Received| {
        event.kind() == "pointsman.server.changed" && event.properties()["url"] == relay.url()
    };
    let cursor = stream.expect(silent_again).await.id;

    daemon.term().await;
    daemon.restart().await;
    let mut back =
        EventStream::open_with(daemon.request("GET", "/events").header("last-event-id", cursor)).await;
    back.expect_kind("pointsman.restarted").await;
    back.expect_kind("pointsman.complete").await;
    let mut lost = daemon.events("/global/event?last_event_id=nonsense").await;
    lost.expect_kind("pointsman.reset").await;

    let told: BTreeSet<String> = [&stream, &back, &lost].into_iter().flat_map(of_ours).collect();
    assert_eq!(told, own_types().keys().cloned().collect());
}

#[tokio::test]
async fn the_daemon_publishes_that_description() {
    let daemon = Daemon::start([""; 0]).await;
    let document = daemon.get("/openapi.json").await.json();
    let told = document["components"]["schemas"]["Told"]["oneOf"].as_array().unwrap();
    let types: BTreeSet<_> =
        told.iter().map(|told| told["properties"]["type"]["enum"][0].as_str().unwrap().to_owned()).collect();
    assert_eq!(types, own_types().keys().cloned().collect());
}

#[test]
fn the_documentation_lists_the_same_types_with_the_same_properties() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/events.md")).unwrap();
    let names =
        |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let rows = text.lines().filter(|line| line.starts_with("| `pointsman."));
    let listed: BTreeMap<String, BTreeSet<String>> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            (names(cells[1]).remove(0), names(cells[2]).into_iter().collect())
        })
        .collect();
    assert_eq!(&listed, own_types());
}
