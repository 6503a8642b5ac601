//! What is stored of a session is numbered: what no stream has carried is asked for, and whose it was is told.

use serde_json::{Value, json};

use crate::support::{
    daemon::Daemon,
    fake::{FakeServer, FakeStore, new_id, now_ms},
    relay::{Break, Relay},
    sse::{EventStream, Received},
    town::{Pair, start},
};

fn of(kind: &'static str, session: &str) -> impl Fn(&Received) -> bool {
    move |event| event.kind() == kind && event.session() == session
}

/// A message that somebody writes of whom no stream tells.
fn write_unheard(store: &FakeStore, session: &str, id: &str) -> Value {
    let info = json!({"id": id, "sessionID": session, "role": "user", "time": {"created": now_ms()}});
    store.edit(session, |row| row.messages.push(json!({"info": info, "parts": []})));
    store.skip_sequence(session, 1);
    info
}

async fn rename(server: &FakeServer, session: &str, title: &str) {
    let path = format!("{}/session/{session}", server.url());
    let answer = reqwest::Client::new().patch(path).json(&json!({"title": title})).send().await.unwrap();
    assert!(answer.status().is_success());
}

async fn repaired(stream: &mut EventStream, reason: &str) -> Value {
    let is =
        |event: &Received| event.kind() == "pointsman.repaired" && event.properties()["reason"] == reason;
    let seen = stream.seen().iter().find(|event| is(event)).cloned();
    match seen {
        Some(event) => event.properties().clone(),
        None => stream.expect(is).await.properties().clone(),
    }
}

#[tokio::test]
async fn what_an_unseen_writer_wrote_is_told_and_its_traces_are_shown() {
    let store = FakeStore::new();
    let server = FakeServer::serve(&store, &store.directory("shop")).await;
    let daemon = Daemon::start([server.url()]).await;
    server.wait_for_streams(1).await;
    let mut stream = daemon.events("/global/event").await;
    let session = server.create_session().id;
    server.begin_turn(&session, "hello");
    stream.expect(of("session.idle", &session)).await;
    assert_eq!(daemon.explain(&session).await["unseenWriter"], Value::Null);

    let [one, two] = ["msg_zz1", "msg_zz2"].map(|id| write_unheard(&store, &session, id));
    rename(&server, &session, "Renamed").await;
    for info in [&one, &two] {
        let told = stream.expect(of("message.updated", &session)).await;
        assert_eq!(told.properties(), &json!({"sessionID": session, "info": info}));
    }
    let told = repaired(&mut stream, "gap").await;
    assert_eq!((&told["sessions"], &told["events"]), (&json!([session]), &json!(2)), "the differences alone");
    let seen = daemon.explain(&session).await;
    assert!(seen["unseenWriter"]["at"].as_u64() > Some(now_ms() - 60_000), "{seen}");
    assert!(seen["owner"].is_string(), "it is still the server's: {seen}");
    let metrics = daemon.get("/metrics").await.text();
    assert!(metrics.contains("pointsman_changes_missing_total{cause=\"unseen\"} 2"), "{metrics}");
    assert!(!metrics.contains("pointsman_changes_missing_total{cause=\"missed\"}"), "{metrics}");

    // Twins are the servers' own, and none is made up.
    let marker = server.create_session().id;
    stream.expect(|event| event.event()["syncEvent"]["aggregateID"] == *marker).await;
    let twins = stream.seen().iter().filter(|event| event.event()["syncEvent"]["aggregateID"] == *session);
    let numbers: Vec<u64> = twins.map(|event| event.event()["syncEvent"]["seq"].as_u64().unwrap()).collect();
    let last = *numbers.last().unwrap();
    assert_eq!(numbers, (0..=last).filter(|seq| ![last - 1, last - 2].contains(seq)).collect::<Vec<_>>());
}

#[tokio::test]
async fn numbers_that_passed_during_a_cut_are_no_sign_of_anybody_unseen() {
    let store = FakeStore::new();
    let server = FakeServer::start(&store, "/fake/project").await;
    let relay = Relay::to(&server.url()).await;
    let daemon = Daemon::start([relay.url()]).await;
    server.wait_for_streams(1).await;
    let mut stream = daemon.events("/global/event").await;
    let session = server.create_session().id;
    server.begin_turn(&session, "hello");
    stream.expect(of("session.idle", &session)).await;
    relay.set_break(Break::Refuse);
    relay.cut();
    rename(&server, &session, "Renamed").await;
    relay.mend();
    // It is heard again once what was missed has been told.
    repaired(&mut stream, "reconnect").await;
    rename(&server, &session, "Renamed again").await;
    daemon
        .wait_for_answer("/metrics", |answer| {
            answer.text().contains("pointsman_changes_missing_total{cause=\"missed\"} 1")
        })
        .await;
    assert_eq!(daemon.explain(&session).await["unseenWriter"], Value::Null);
    assert!(!daemon.get("/metrics").await.text().contains("cause=\"unseen\""));
}

#[tokio::test]
async fn where_two_streams_tell_out_of_step_the_store_has_the_last_word() {
    let pair = Pair::start().await;
    let daemon = start(Daemon::builder(), &[&pair.low, &pair.high]).await;
    pair.low.wait_for_streams(1).await;
    pair.high.wait_for_streams(1).await;
    let mut stream = daemon.events("/global/event").await;
    let session = pair.low.create_session().id;
    stream.expect(of("session.created", &session)).await;
    pair.store.edit(&session, |row| (row.title, row.updated) = ("Newer".into(), now_ms() + 1000));
    let row = reqwest::get(format!("{}/session/{session}", pair.low.url())).await.unwrap();
    let newer: Value = row.json().await.unwrap();
    let mut older = newer.clone();
    (older["title"], older["time"]["updated"]) = (json!("Older"), json!(now_ms()));
    // The one that came first comes last.
    for (server, info, seq) in [(&pair.high, &newer, 2), (&pair.low, &older, 1)] {
        let id = new_id("evt");
        let properties = json!({"sessionID": session, "info": info});
        let event = json!({"id": id, "type": "session.updated", "properties": properties});
        let twin = json!({"type": "sync", "syncEvent": {"id": id, "type": "session.updated.1", "seq": seq,
            "aggregateID": session, "data": properties}});
        for payload in [event, twin] {
            let whole = json!({"directory": pair.directory, "project": "p", "payload": payload});
            server.send_raw(format!("data: {whole}\n\n"));
        }
        let title = info["title"].clone();
        stream
            .expect(|event| {
                of("session.updated", &session)(event) && event.properties()["info"]["title"] == title
            })
            .await;
    }
    let told = stream.expect(of("session.updated", &session)).await;
    assert_eq!(told.properties()["info"], newer);
    repaired(&mut stream, "order").await;
}
