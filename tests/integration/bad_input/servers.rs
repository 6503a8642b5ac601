//! What servers may answer and emit.

use serde_json::json;

use crate::support::{
    daemon::Daemon,
    fake::{FakeServer, FakeSession, FakeStore, Fault, now_ms},
    ports::free_port,
    town::{acquainted, daemon_before, start},
    wire::{answer, raw_server},
};

async fn one() -> (FakeServer, Daemon) {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    (fake, daemon)
}

fn assert_calm(daemon: &Daemon) {
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}

#[tokio::test]
async fn a_server_that_answers_its_page_to_everything_is_no_agent() {
    let page = raw_server(|_| Some(answer("text/html", "<!doctype html><p>hello</p>"))).await;
    let broken = raw_server(|_| Some(answer("application/json", "{\"healthy\":tr"))).await;
    let silent = raw_server(|_| Some(Vec::new())).await;
    let teapot =
        raw_server(|_| Some(b"HTTP/1.1 418 I'm a teapot\r\ncontent-length: 0\r\n\r\n".to_vec())).await;
    let noise = raw_server(|_| Some(vec![0xff; 4000])).await;
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let urls = [page.url(), broken.url(), silent.url(), teapot.url(), noise.url(), fake.url()];
    let daemon = Daemon::start(urls).await;
    acquainted(&[&fake]).await;
    let known = daemon.servers().await;
    assert_eq!(known.iter().map(|server| &server["port"]).collect::<Vec<_>>(), [fake.port()]);
    assert_eq!(daemon.get("/config").await.fake(), fake.address());
    assert_calm(&daemon);
}

#[tokio::test]
async fn a_new_session_told_in_nonsense_reaches_the_client_as_it_is() {
    let (fake, daemon) = one().await;
    for fault in [
        Fault::Html,
        Fault::BrokenJson,
        Fault::Answer(200, "application/json", "{\"id\":5}".into()),
        Fault::Answer(200, "application/json", "{\"id\":\"\"}".into()),
        Fault::Answer(200, "application/json", "[[[[".repeat(1000).into()),
        Fault::Answer(200, "application/json", "{\"id\":\"ses_1\",\"time\":{\"created\":-1e300}}".into()),
    ] {
        fake.fault_times("POST /session", 1, fault.clone());
        let answer = daemon.post("/session", &json!({})).await;
        assert_eq!((answer.status, answer.fake()), (200, &*fake.address()), "{fault:?}");
    }
    fake.fault_times("POST /session", 1, Fault::DropAfter(4));
    let cut = daemon.post("/session", &json!({})).await;
    assert_eq!(cut.status, 502, "{cut:?}");
    assert_eq!(cut.json()["data"]["sent"], true);
    assert_calm(&daemon);
}

#[tokio::test]
async fn a_stream_of_nonsense_is_skipped_and_the_rest_passes() {
    let (fake, daemon) = one().await;
    let mut events = daemon.events("/global/event").await;
    events.next().await;
    for raw in [
        &b"data: {\"payload\":\n\n"[..],
        b"data: not json\n\n",
        b"data: []\n\n",
        b"data: {}\n\n",
        b"data: {\"payload\":null}\n\n",
        b"data: {\"payload\":{\"type\":5}}\n\n",
        b"data: {\"payload\":{\"type\":\"session.status\",\"properties\":{\"sessionID\":\"\"}}}\n\n",
        b"data: {\"payload\":{\"type\":\"session.created\",\"properties\":{\"info\":[]}}}\n\n",
        b"data: \xff\xfe\n\n",
        b"\n\n\n: comment\n\nevent: x\nid: \0\nretry: abc\n\n",
        b"data:\n\n",
        b"no colon at all\r\n\r\n",
        b"data: {\"payload\":{\"type\":\"a\\n\\ndata: evil\",\"properties\":{}}}\r\r",
    ] {
        fake.send_raw(raw);
    }
    let session = fake.create_session().id;
    events.expect(|event| event.kind() == "session.created" && event.session() == session).await;
    assert!(events.seen().iter().all(|event| event.data.is_object()), "{:?}", events.seen());
    assert_eq!(fake.requests_to("GET /global/event").len(), 1, "the stream was given up");
    let skipped = daemon.get("/metrics").await.text();
    let skipped = skipped.lines().filter(|line| line.starts_with("pointsman_events_skipped_total"));
    let sum: u64 = skipped.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
    assert!(sum >= 5, "skipped events are counted: {sum}");
    assert_calm(&daemon);
}

#[tokio::test]
async fn an_event_of_10_mb_reaches_every_subscriber() {
    let (fake, daemon) = one().await;
    let mut streams = [daemon.events("/global/event").await, daemon.events("/global/event").await];
    let large = "é".repeat(5_000_000);
    fake.emit(fake.directory(), "test.large", json!({"text": large}));
    fake.emit(fake.directory(), "test.marker", json!({}));
    for stream in &mut streams {
        let seen = stream.expect_kind("test.large").await;
        assert_eq!(seen.properties()["text"].as_str().map(str::len), Some(large.len()));
        stream.expect_kind("test.marker").await;
    }
    assert_calm(&daemon);
}

#[tokio::test]
async fn an_event_without_an_end_is_given_up_and_what_follows_passes() {
    let (fake, daemon) = one().await;
    let mut events = daemon.events("/global/event").await;
    events.next().await;
    let piece = bytes::Bytes::from(vec![b'x'; 1 << 20]);
    fake.send_raw("data: {\"payload\":{\"type\":\"test.endless\",\"properties\":{\"x\":\"");
    for _ in 0..80 {
        fake.send_raw(piece.clone());
    }
    fake.send_raw("\n\n");
    fake.emit(fake.directory(), "test.marker", json!({}));
    events.until(|event| event.kind() == "test.marker", |event| event.kind() == "test.endless").await;
    assert_calm(&daemon);
}

#[tokio::test]
async fn sessions_listed_twice_and_clocks_in_the_future_confuse_nobody() {
    let store = FakeStore::new();
    let directory = store.directory("a");
    let year = 365 * 24 * 3_600_000;
    let future = store.insert(FakeSession::created_at(&directory, now_ms() + 10 * year));
    let past = store.insert(FakeSession::created_at(&directory, 1));
    let fake = FakeServer::serve(&store, &directory).await;
    let list = json!([{"id": "ses_twice", "directory": directory, "title": "a", "time": {"created": 1, "updated": 5}},
        {"id": "ses_twice", "directory": directory, "title": "b", "time": {"created": 1, "updated": 9}},
        {"id": "ses_far", "directory": directory, "title": "c", "time": {"created": 1e300, "updated": -5}}]);
    fake.fault_times(
        "/experimental/session",
        1,
        Fault::Answer(200, "application/json", list.to_string().into()),
    );
    let daemon = start(Daemon::builder(), &[&fake]).await;
    acquainted(&[&fake]).await;
    fake.begin_turn(&future.id, "hello");
    daemon.wait_for_owner(&future.id, &fake, "emitted").await;
    for session in [&future.id, &past.id] {
        assert_eq!(daemon.turn(session, "hello").await.fake(), fake.address());
    }
    let ids = daemon.get("/sessions/ids").await.text();
    assert_eq!(ids.matches("ses_twice").count(), 1, "{ids}");
    let newer = fake.create_session().id;
    daemon.wait_for_owner(&newer, &fake, "emitted").await;
    assert_calm(&daemon);
}

#[tokio::test]
async fn a_list_without_an_end_delays_neither_start_nor_routing() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let (first, other) = (store.insert_new(fake.directory()), store.insert_new(fake.directory()));
    // A server that gives the same page for ever, and says that there is more.
    let rows = [&first, &other].map(|row| {
        json!({"id": row.id, "directory": row.directory, "title": "x", "time": {"created": row.created, "updated": row.updated}})
    });
    fake.script("GET /experimental/session", move |_| {
        let body = json!(rows).to_string();
        async move {
            let answer = http::Response::builder().header("content-type", "application/json");
            answer.header("x-next-cursor", "17").body(axum::body::Body::from(body)).unwrap()
        }
    });
    let daemon = start(Daemon::builder(), &[&fake]).await;
    assert_eq!(daemon.turn(&first.id, "hello").await.fake(), fake.address());
    let asked = fake.requests_to("GET /experimental/session").len();
    assert!(asked < 20, "asked {asked} times");
    assert_calm(&daemon);
}

#[tokio::test]
async fn a_port_that_another_program_takes_over_is_no_server_any_more() {
    let port = free_port();
    let store = FakeStore::new();
    let fake = crate::support::town::serve_on(&store, &store.directory("a"), port).await;
    let daemon = daemon_before(&[&fake]).await;
    fake.kill().await;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let program = axum::Router::new().fallback(|| async { axum::response::Html("<p>a web site</p>") });
    let serving = tokio::spawn(async move { axum::serve(listener, program).await });
    daemon.wait_for_servers(0).await;
    let answer = daemon.post("/session", &json!({})).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    serving.abort();
    assert_calm(&daemon);
}
