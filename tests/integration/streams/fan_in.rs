//! Many servers and many clients, one connection to each server.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    daemon::Daemon,
    eventually::PATIENCE,
    fake::{FakeServer, FakeStore},
    sse::EventStream,
    town::{Pair, daemon_before},
};

#[tokio::test]
async fn twenty_clients_cost_each_server_one_connection() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut clients = Vec::new();
    for number in 0..20 {
        let path = if number % 2 == 0 { "/global/event" } else { "/event" };
        let request = daemon.request("GET", path).query(&[("directory", &pair.directory)]);
        clients.push(EventStream::open_with(request).await);
    }
    for server in [&pair.low, &pair.high] {
        server.emit(&pair.directory, "test.marker", json!({"port": server.port()}));
    }
    for client in &mut clients {
        let mut ports = Vec::new();
        for _ in 0..2 {
            ports.push(client.expect_kind("test.marker").await.properties()["port"].clone());
        }
        ports.sort_by_key(serde_json::Value::as_u64);
        assert_eq!(ports, [json!(pair.low.port()), json!(pair.high.port())]);
        assert_eq!(client.seen().iter().filter(|event| event.kind() == "server.connected").count(), 1);
        assert_eq!(client.seen()[0].kind(), "server.connected");
    }
    for server in [&pair.low, &pair.high] {
        assert_eq!(server.requests_to("GET /global/event").len(), 1);
        assert!(server.requests_to("GET /event*").is_empty());
    }
}

#[tokio::test]
async fn heartbeats_are_our_own_and_come_while_the_servers_are_silent() {
    let store = FakeStore::new();
    let builder = FakeServer::builder(&store, "/p").heartbeat(Duration::from_millis(200));
    let fake = builder.start().await;
    let daemon = Daemon::start([fake.url()]).await;
    let mut global = daemon.events("/global/event").await;
    let mut bare = daemon.events("/event?directory=/p").await;
    let opened = std::time::Instant::now();
    let beat = global.expect_kind("server.heartbeat").await;
    assert!(beat.at - opened > Duration::from_secs(5), "a server's heartbeat was passed on");
    assert!(beat.at - opened < PATIENCE);
    assert!(beat.data["payload"]["properties"].is_object(), "{beat:?}");
    let beat = bare.expect_kind("server.heartbeat").await;
    assert!(beat.data.get("payload").is_none(), "{beat:?}");
}

#[tokio::test]
async fn each_sessions_events_come_in_their_order_none_missing_none_twice() {
    const EACH: usize = 400;
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut streams = [daemon.events("/global/event").await, daemon.events("/global/event").await];
    let sessions = [pair.low.create_session().id, pair.high.create_session().id];
    for (session, server) in sessions.iter().zip([&pair.low, &pair.high]) {
        server.begin_turn(session, "SLOW");
    }
    for number in 0..EACH {
        pair.low.delta(&sessions[0], &number.to_string());
        pair.high.delta(&sessions[1], &number.to_string());
    }
    for (session, server) in sessions.iter().zip([&pair.low, &pair.high]) {
        server.finish(session);
    }
    let wanted: Vec<String> = (0..EACH).map(|number| number.to_string()).collect();
    for stream in &mut streams {
        for session in &sessions {
            let over = |stream: &EventStream| {
                stream.seen().iter().any(|event| event.kind() == "session.idle" && event.session() == session)
            };
            while !over(stream) {
                stream.next().await;
            }
            let deltas = stream
                .seen()
                .iter()
                .filter(|event| event.kind() == "message.part.delta" && event.session() == session);
            let deltas: Vec<&str> = deltas.filter_map(|event| event.properties()["delta"].as_str()).collect();
            let numbers: Vec<&str> = deltas.into_iter().filter(|delta| *delta != "hello ").collect();
            assert_eq!(numbers, wanted);
        }
    }
}

#[tokio::test]
async fn a_directory_stream_holds_its_directory_in_the_bare_form() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let here = daemon.request("GET", "/event").query(&[("directory", &pair.directory)]);
    let mut here = EventStream::open_with(here).await;
    let elsewhere = daemon.request("GET", "/event").header("x-opencode-directory", "%2Felsewhere");
    let mut elsewhere = EventStream::open_with(elsewhere).await;
    pair.low.emit("/elsewhere", "test.away", json!({}));
    pair.low.emit_global("test.everywhere", json!({}));
    pair.high.emit("/elsewhere", "test.away", json!({}));
    pair.low.emit(&pair.directory, "test.home", json!({}));
    let seen = here.until(|event| event.kind() == "test.home", |event| event.kind() == "test.away").await;
    assert!(seen.data.get("payload").is_none() && seen.data["id"].is_string(), "{seen:?}");
    elsewhere.until(|event| event.kind() == "test.away", |event| event.kind() == "test.home").await;
    assert!(pair.low.opened() == [pair.directory.clone()], "listening opened a directory");
}

#[tokio::test]
async fn events_pass_byte_for_byte() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    let response = daemon.request("GET", "/global/event").send().await.unwrap();
    let odd = "{\"directory\" : \"/p\",\"payload\":{ \"id\":\"evt_1\", \"type\":\"test.odd\",\"properties\":{\"n\":1.50,\"s\":\"\\u00fc/\\/\",\"n\":2}},\"later\":[]}";
    fake.send_raw(format!("data: {odd}\n\n"));
    let mut stream = response.bytes_stream();
    let mut text = String::new();
    while !text.contains("test.odd") || !text.ends_with("\n\n") {
        use futures_util::StreamExt;
        let piece = crate::support::eventually::patiently("the event", stream.next()).await.unwrap().unwrap();
        text.push_str(&String::from_utf8_lossy(&piece));
    }
    assert!(text.contains(&format!("data: {odd}\n\n")), "{text}");
}

#[tokio::test]
async fn a_cut_between_us_and_a_server_goes_unnoticed_by_clients() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut events = daemon.events("/global/event").await;
    for round in 0..3 {
        if round % 2 == 0 {
            pair.low.cut_streams();
        } else {
            pair.low.finish_streams();
        }
        pair.low.wait_for(|_| pair.low.requests_to("GET /global/event").len() == round + 2).await;
        pair.low.wait_for_streams(1).await;
        pair.low.emit(&pair.directory, "test.marker", json!({"round": round}));
        let seen = events.expect_kind("test.marker").await;
        assert_eq!(seen.properties()["round"], round);
    }
    let connected = events.seen().iter().filter(|event| event.kind() == "server.connected").count();
    assert_eq!(connected, 1);
}

#[tokio::test]
async fn one_client_that_does_not_read_delays_no_other() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    let mut stuck = crate::support::wire::connect(daemon.address()).await;
    let request = format!("GET /global/event HTTP/1.1\r\nhost: {}\r\n\r\n", daemon.address());
    tokio::io::AsyncWriteExt::write_all(&mut stuck, request.as_bytes()).await.unwrap();
    crate::support::wire::read_until(&mut stuck, b"server.connected").await;
    let mut events = daemon.events("/global/event").await;
    let filler = "x".repeat(64 * 1024);
    for number in 0..400 {
        fake.emit(fake.directory(), "test.filler", json!({"number": number, "filler": filler}));
    }
    for number in 0..400 {
        let seen = events.expect_kind("test.filler").await;
        assert_eq!(seen.properties()["number"], number);
    }
}
