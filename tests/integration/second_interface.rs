//! The streams of the second interface: one for clients, read from the servers only while somebody listens.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    daemon::Daemon,
    eventually::eventually,
    fake::{FakeServer, FakeStore, Fault, new_id},
    sse::{EventStream, frames},
    town::daemon_before,
};

async fn town() -> (FakeServer, FakeServer, Daemon) {
    let store = FakeStore::new();
    let (low, high) = crate::support::ports::two_free_ports();
    let one = crate::support::town::serve_on(&store, &store.directory("one"), low).await;
    let two = crate::support::town::serve_on(&store, &store.directory("two"), high).await;
    let daemon = daemon_before(&[&one, &two]).await;
    (one, two, daemon)
}

async fn listen(daemon: &Daemon, query: &str, headers: &[(&str, &str)]) -> EventStream {
    let mut request = daemon.request("GET", &format!("/api/event{query}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut stream = EventStream::open_with(request).await;
    assert_eq!(stream.next().await.kind(), "server.connected");
    stream
}

async fn wait_for_api_streams(server: &FakeServer, count: usize) {
    eventually("that many streams of the second interface", || async {
        let open = server.api_streams();
        if open == count { Ok(()) } else { Err(open) }
    })
    .await;
}

/// Emits an event that every stream of the second interface holds, and waits for it.
async fn mark(server: &FakeServer, stream: &mut EventStream) {
    let id = new_id("x");
    server.emit(server.directory(), "test.marker", json!({"id": id}));
    stream.expect(|event| event.kind() == "test.marker" && event.properties()["id"] == *id).await;
}

#[tokio::test]
async fn a_server_gives_one_stream_to_all_and_none_to_nobody() {
    let (one, two, daemon) = town().await;
    assert_eq!((one.api_streams(), two.api_streams()), (0, 0));
    let mut listeners = Vec::new();
    for _ in 0..3 {
        listeners.push(listen(&daemon, "", &[]).await);
        // Not a moment later: what happens after the greeting is heard.
        assert_eq!((one.api_streams(), two.api_streams()), (1, 1));
    }
    for server in [&one, &two] {
        for listener in &mut listeners {
            mark(server, listener).await;
        }
    }
    drop(listeners);
    // Some seconds later.
    wait_for_api_streams(&one, 0).await;
    wait_for_api_streams(&two, 0).await;
    for server in [&one, &two] {
        assert_eq!(server.requests_to("GET /api/event").len(), 1);
    }
    let mut again = listen(&daemon, "", &[]).await;
    mark(&two, &mut again).await;
    assert!(again.seen().iter().all(|event| !event.kind().starts_with("pointsman.")), "{:?}", again.seen());
}

#[tokio::test]
async fn a_server_that_comes_while_somebody_listens_is_heard_and_one_that_goes_ends_nothing() {
    let (one, two, daemon) = town().await;
    let mut listener = listen(&daemon, "", &[]).await;
    two.restart().await;
    wait_for_api_streams(&two, 1).await;
    mark(&two, &mut listener).await;
    two.kill().await;
    daemon.wait_for_servers(1).await;
    mark(&one, &mut listener).await;
    let greetings = listener.seen().iter().filter(|event| event.kind() == "server.connected").count();
    assert_eq!(greetings, 1);
}

#[tokio::test]
async fn a_server_without_such_a_stream_keeps_nobody_from_the_others() {
    let (one, two, daemon) = town().await;
    two.fault("/api/event", Fault::Hang);
    let mut listener = listen(&daemon, "", &[]).await;
    mark(&one, &mut listener).await;
}

#[tokio::test]
async fn events_pass_byte_for_byte_behind_a_greeting_and_a_comment() {
    let (one, two, daemon) = town().await;
    let response = daemon.request("GET", "/api/event").send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-cache, no-transform");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let odd = "data: {\"data\":{ \"a\":1.50,\"ü\":\"\\u00fc\"},\"type\":\"x.y\",\"id\":\"evt_1\"}\n\n";
    wait_for_api_streams(&two, 1).await;
    two.send_raw_api(odd);
    let session = one.create_session();
    let got = frames(response.bytes_stream(), 4).await;
    assert!(got[0].contains("\"type\":\"server.connected\",\"data\":{}}"), "{got:?}");
    assert_eq!(got[1], ": heartbeat\n\n");
    assert!(got.iter().any(|frame| frame == odd), "{got:?}");
    let created = got.iter().find(|frame| frame.contains("session.created")).unwrap();
    let created: serde_json::Value = serde_json::from_str(created.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(created["durable"]["aggregateID"], *session.id);
    assert_eq!(created["location"]["directory"], *session.directory);
}

#[tokio::test]
async fn a_stream_that_a_server_ends_for_want_of_words_is_opened_again_and_no_client_notices() {
    let (one, two, daemon) = town().await;
    let mut listener = listen(&daemon, "", &[]).await;
    for _ in 0..3 {
        let opened = one.requests_to("GET /api/event").len();
        one.forge_busy(&one.create_session().id);
        eventually("another stream", || async {
            let now = one.requests_to("GET /api/event").len();
            if now > opened && one.api_streams() == 1 { Ok(()) } else { Err(now) }
        })
        .await;
        mark(&one, &mut listener).await;
        mark(&two, &mut listener).await;
    }
}

#[tokio::test]
async fn calls_for_attention_and_screens_are_held_back_as_on_the_first_interface() {
    let (one, two, daemon) = town().await;
    let own = format!("?location%5Bdirectory%5D={}", two.directory().replace('/', "%2F"));
    let mut here = listen(&daemon, &own, &[]).await;
    let mut elsewhere = listen(&daemon, "", &[("x-opencode-directory", one.directory())]).await;
    let mut nowhere = listen(&daemon, "", &[]).await;
    let mut browser = listen(&daemon, "", &[("origin", "http://localhost:3000")]).await;
    let mut all = listen(&daemon, "?attention=all", &[]).await;
    let mut at_screen = listen(&daemon, "?attention=all", &[("x-pointsman-server", &two.address())]).await;
    for kind in ["permission.v2.asked", "question.v2.asked", "permission.asked", "tui.toast.show"] {
        let event = json!({"id": "evt_1", "type": kind, "location": {"directory": two.directory()},
            "data": {"id": "per_1", "sessionID": "ses_1"}});
        two.send_raw_api(format!("data: {event}\n\n"));
        let screen = kind.starts_with("tui.");
        for (stream, reaches) in [
            (&mut here, !screen),
            (&mut elsewhere, false),
            (&mut nowhere, false),
            (&mut browser, !screen),
            (&mut all, !screen),
            (&mut at_screen, true),
        ] {
            mark(&two, stream).await;
            assert_eq!(stream.seen().iter().any(|event| event.kind() == kind), reaches, "{kind}");
        }
    }
}

#[tokio::test]
async fn the_idle_of_a_server_that_never_ran_the_turn_is_held_back_here_too() {
    let (one, two, daemon) = town().await;
    let session = one.create_session().id;
    one.begin_turn(&session, "SLOW");
    daemon.wait_for_owner(&session, &one, "busy").await;
    let mut listener = listen(&daemon, "", &[]).await;
    wait_for_api_streams(&two, 1).await;
    let idle = json!({"id": "evt_1", "type": "session.idle", "data": {"sessionID": session}});
    two.send_raw_api(format!("data: {idle}\n\n"));
    mark(&two, &mut listener).await;
    assert!(listener.seen().iter().all(|event| event.kind() != "session.idle"));
    wait_for_api_streams(&one, 1).await;
    one.send_raw_api(format!("data: {idle}\n\n"));
    listener.expect_kind("session.idle").await;
    one.finish(&session);
}

#[tokio::test]
async fn the_stream_of_a_session_is_its_owners_and_is_not_cut() {
    let (one, two, daemon) = town().await;
    let session = two.create_session().id;
    daemon.wait_for_owner(&session, &two, "emitted").await;
    let path = format!("/api/session/{session}/event?after=0");
    let mut stream = EventStream::open_with(daemon.request("GET", &path)).await;
    assert_eq!(stream.headers()["x-pointsman-server"], *two.address());
    assert_eq!(stream.next().await.kind(), "server.connected");
    mark(&two, &mut stream).await;
    assert!(one.requests_to(&format!("GET /api/session/{session}/event")).is_empty());
    assert!(!stream.hears_within(Duration::from_millis(200), |_| true).await);
    two.kill().await;
    stream.ended().await;
}
