//! What happened while pointsman did not run reaches those who come back, before their stream is called complete.

use serde_json::{Value, json};

use crate::{
    repair::converges,
    support::{
        daemon::Daemon,
        eventually::eventually,
        fake::{FakeServer, FakeStore, Invocation},
        shown::Shown,
        sse::{EventStream, Received},
    },
};

/// Comes back to `/events` as one who has seen all of `stream`.
async fn come_back(daemon: &Daemon, id: &str) -> (EventStream, Value) {
    let mut stream = daemon.events(&format!("/events?last_event_id={id}")).await;
    let hello = stream.next().await;
    assert_eq!(hello.kind(), "pointsman.hello");
    (stream, hello.properties().clone())
}

async fn until_complete(stream: &mut EventStream, shown: &mut Shown) {
    loop {
        let event = stream.next().await;
        shown.apply(&event);
        if event.kind() == "pointsman.complete" {
            return;
        }
    }
}

/// Reads until everything that was told has been kept, and gives the last id.
async fn kept(daemon: &Daemon, stream: &EventStream) -> String {
    eventually("the journal being written", || async {
        let metrics = daemon.get("/metrics").await.text();
        if metrics.lines().any(|line| line == "pointsman_journal_behind 0") { Ok(()) } else { Err(metrics) }
    })
    .await;
    stream.seen().iter().rev().find(|event| !event.id.is_empty()).unwrap().id.clone()
}

#[tokio::test]
async fn who_comes_back_is_told_what_happened_while_nobody_listened() {
    let store = FakeStore::new();
    let server = FakeServer::serve(&store, &store.directory("shop")).await;
    let mut daemon = Daemon::start([server.url()]).await;
    server.wait_for_streams(1).await;
    let mut stream = daemon.events("/events").await;
    let mut shown = Shown::default();
    let [quiet, turn, asked, doomed] = [0; 4].map(|_| server.create_session().id);
    server.begin_turn(&turn, "SLOW");
    server.begin_turn(&doomed, "hello");
    server.begin_turn(&asked, "ASK");
    while shown.asks.is_empty() {
        shown.apply(&stream.next().await);
    }
    for clean in [false, true] {
        let id = kept(&daemon, &stream).await;
        if clean {
            daemon.term().await;
        } else {
            daemon.kill9().await;
        }
        let client = reqwest::Client::new();
        let born = if clean {
            let delete = client.delete(format!("{}/session/{quiet}", server.url()));
            assert!(delete.send().await.unwrap().status().is_success());
            None
        } else {
            let permission = server.permissions(&asked).remove(0);
            let reply = client.post(format!("{}/permission/{permission}/reply", server.url()));
            assert!(reply.json(&json!({"reply": "once"})).send().await.unwrap().status().is_success());
            server.delta(&turn, "and more");
            server.finish(&turn);
            let delete = client.delete(format!("{}/session/{doomed}", server.url()));
            assert!(delete.send().await.unwrap().status().is_success());
            Some(server.create_session().id)
        };
        let opened = server.opened();
        daemon.restart_unready().await;
        let (back, hello) = come_back(&daemon, &id).await;
        stream = back;
        assert!(["repairing", "ok"].contains(&hello["resume"].as_str().unwrap()), "{hello}");
        until_complete(&mut stream, &mut shown).await;
        let mut sessions = vec![quiet.clone(), turn.clone(), asked.clone(), doomed.clone()];
        sessions.extend(born.clone());
        assert_eq!(shown.of(&sessions).unlike(&Shown::reloaded(&sessions, &server.url()).await), [""; 0]);
        assert_eq!(born.map_or(1, |born| shown.created[&born]), 1);
        let told = stream.seen().iter().any(|event| event.session() == quiet);
        assert_eq!(told, clean, "nothing happened in it before it was deleted");
        assert_eq!(server.opened(), opened, "no directory was opened");
        let restarted = |event: &Received| event.kind() == "pointsman.restarted";
        assert!(stream.seen().iter().any(restarted));
        let (_, hello) = come_back(&daemon, &id).await;
        assert_eq!(hello["resume"], "ok");
    }
    // Who comes late is told it as well.
    let mut late = Shown::default();
    let mut stream = daemon.events("/global/event?attention=all").await;
    let marker = server.create_session().id;
    loop {
        let event = stream.next().await;
        late.apply(&event);
        if event.session() == marker {
            break;
        }
    }
    assert!(late.parts.values().any(|part| part["sessionID"] == *turn), "{late:?}");
    converges(&mut stream, &mut late, &[turn, asked, doomed], &server).await;
}

#[tokio::test]
async fn until_all_servers_were_asked_a_stream_is_not_called_complete() {
    let store = FakeStore::new();
    let server = FakeServer::serve(&store, &store.directory("shop")).await;
    let mut daemon = Daemon::start([server.url()]).await;
    server.wait_for_streams(1).await;
    let mut stream = daemon.events("/events").await;
    let session = server.create_session().id;
    stream.expect(|event| event.session() == session).await;
    let id = kept(&daemon, &stream).await;
    daemon.kill9().await;
    server.fault("/experimental/session", crate::support::fake::Fault::Hang);
    daemon.restart_unready().await;
    server.wait_for_streams(1).await;
    let (mut stream, hello) = come_back(&daemon, &id).await;
    assert_eq!(hello["resume"], "repairing");
    let beat = |event: &Received| event.kind() == "server.heartbeat";
    stream.until(beat, |event| event.kind() == "pointsman.complete").await;
}

#[tokio::test]
async fn what_went_on_at_a_server_that_died_meanwhile_has_ended() {
    let store = FakeStore::new();
    let directory = store.directory("shop");
    let server = FakeServer::serve(&store, &directory).await;
    let doomed = FakeServer::builder(&store, &directory).invocation(Invocation::Serve).start().await;
    let mut daemon = Daemon::start([server.url(), doomed.url()]).await;
    for server in [&server, &doomed] {
        server.wait_for_streams(1).await;
    }
    let mut stream = daemon.events("/events").await;
    let mut shown = Shown::default();
    let asked = doomed.create_session().id;
    doomed.begin_turn(&asked, "ASK");
    while shown.asks.is_empty() {
        shown.apply(&stream.next().await);
    }
    assert!(shown.working.contains(&asked));
    let id = kept(&daemon, &stream).await;
    daemon.kill9().await;
    doomed.kill().await;
    daemon.restart().await;
    let (mut stream, _) = come_back(&daemon, &id).await;
    until_complete(&mut stream, &mut shown).await;
    assert!(shown.asks.is_empty() && shown.working.is_empty(), "{shown:?}");
}
