//! What clients may send.

use rustix::process::Signal;
use tokio::io::AsyncWriteExt;

use crate::support::{
    daemon::Daemon,
    fake::{FakeServer, FakeStore, Outcome},
    town::daemon_before,
    wire::{connect, exchange},
};

async fn one() -> (FakeServer, Daemon) {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    (fake, daemon)
}

async fn assert_well(daemon: &Daemon) {
    assert_eq!(daemon.get("/config").await.status, 200);
    assert_eq!(daemon.get("/servers").await.status, 200);
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}

#[tokio::test]
async fn odd_paths_and_ids_are_answered_and_harm_nobody() {
    let (_fake, daemon) = one().await;
    let long = "a".repeat(5000);
    for path in [
        "//",
        "/session//message",
        "/session/../../etc/passwd",
        "/session/ses_",
        "/session/%00",
        "/session/%FF%FE/message",
        "/session/ses_%2e%2e",
        &format!("/session/ses_{long}/message"),
        "/permission/per_%zz/reply",
        "/pty//connect",
        "/a/b/c/d/e/f/g/h/i/j/k/l/m/n",
        "/servers/",
        "/servers/%ff/proxy/x",
        "/servers/../proxy",
        "/servers//proxy/session",
        "/sessions/",
        "/sessions/%ff",
        "/sessions/ses_x/owner/more",
        "/api/opencode/",
        "/api/opencode/abc/session",
        "/api/opencode/99999/session",
        "/api/sse/",
        "/api/sse/-1",
        "/session?directory=%FF%FE&limit=abc&cursor=%00",
        "/api/session?cursor=e30",
        "/experimental/session?cursor=NaN&limit=1e99",
        "/sessions?limit=-1",
        "/sessions?cursor=nonsense",
        "/servers?sessions=maybe",
        "/event?directory=",
    ] {
        for method in ["POST", "DELETE", "GET"] {
            if method == "GET" && path.starts_with("/event") {
                continue;
            }
            let host = daemon.address();
            let request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
            let answer = exchange(host, request).await;
            assert!((200..600).contains(&answer.status()), "{method} {path}: {}", answer.text());
            // What we refuse ourselves we refuse in JSON.
            if !answer.headers("x-pointsman-error").is_empty() {
                let error: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
                assert!(error["data"]["message"].as_str().unwrap().len() > 10, "{method} {path}: {error}");
            }
            assert_ne!(answer.status(), 500, "{method} {path}: {}", answer.text());
        }
    }
    assert_well(&daemon).await;
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_the_next_one_answered() {
    let (fake, daemon) = one().await;
    let before = fake.passed_on().len();
    let host = daemon.address();
    for request in [
        "\r\n\r\n\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\nhost: {host}\r\nbad header\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: {host}\r\nx: a\u{0}b\r\n\r\n"),
        format!("POST /log HTTP/1.1\r\nhost: {host}\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!"),
        format!("POST /log HTTP/1.1\r\nhost: {host}\r\ncontent-length: -1\r\n\r\n"),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\nhost: {host}\r\nhost: {host}\r\nconnection: close\r\n\r\n"),
        "GET / HTTP/1.1\r\nhost: a b\r\nconnection: close\r\n\r\n".to_owned(),
    ] {
        let mut stream = connect(host).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = crate::support::wire::rest(&mut stream).await;
        assert!(
            answer.status() == 0 || (400..500).contains(&answer.status()),
            "{request:?}: {}",
            answer.text()
        );
    }
    assert_eq!(fake.passed_on().len(), before, "nonsense was passed on");
    assert_well(&daemon).await;
}

#[tokio::test]
async fn a_smuggled_request_is_never_two() {
    let (fake, daemon) = one().await;
    let host = daemon.address();
    let inner = "GET /smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let request = format!(
        "POST /log HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{inner}",
        inner.len() + 5
    );
    exchange(host, request).await;
    assert_well(&daemon).await;
    assert!(fake.requests_to("GET /smuggled").is_empty());
}

#[tokio::test]
async fn a_mebibyte_of_headers_is_refused_with_431() {
    let (fake, daemon) = one().await;
    let host = daemon.address();
    let before = fake.passed_on().len();
    let filler = "x".repeat(1000);
    let many = (0..90).map(|number| format!("x-{number}: {filler}{filler}\r\n"));
    let many = many.collect::<Vec<_>>().concat();
    let one_large = format!("x-large: {}\r\n", "y".repeat(1 << 20));
    for headers in [many, one_large] {
        let answer = exchange(host, format!("GET /config HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n")).await;
        assert_eq!(answer.status(), 431, "{}", answer.text());
        assert!(answer.text().contains(r#""name":"HeadTooLargeError""#), "{}", answer.text());
    }
    assert_eq!(fake.passed_on().len(), before);
    assert_well(&daemon).await;
}

#[tokio::test]
async fn a_body_that_must_be_read_and_stops_half_way_creates_nothing() {
    let (fake, daemon) = one().await;
    let host = daemon.address();
    let before = fake.store().len();
    let mut client = connect(host).await;
    let head = format!("POST /session HTTP/1.1\r\nhost: {host}\r\ncontent-length: 100\r\n\r\n{{\"title\":");
    client.write_all(head.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    let answer = crate::support::wire::rest(&mut client).await;
    assert!(answer.status() == 0 || answer.status() == 400, "{}", answer.text());
    assert_well(&daemon).await;
    assert_eq!(fake.store().len(), before);
}

#[tokio::test]
async fn a_body_that_stops_half_way_reaches_no_server_as_a_whole_one() {
    let (fake, daemon) = one().await;
    let session = fake.create_session().id;
    daemon.wait_for_owner(&session, &fake, "emitted").await;
    let host = daemon.address();
    for framing in [
        "content-length: 100000\r\n\r\n{\"parts\":[]}",
        "transfer-encoding: chunked\r\n\r\nc\r\n{\"parts\":[]}\r\n",
    ] {
        let mut client = connect(host).await;
        let head = format!("POST /session/{session}/message HTTP/1.1\r\nhost: {host}\r\n{framing}");
        client.write_all(head.as_bytes()).await.unwrap();
        fake.wait_for(|request| request.is("POST /session/*") && request.outcome == Outcome::Open).await;
        drop(client);
        fake.wait_for(|request| request.is("POST /session/*") && request.outcome == Outcome::Abandoned).await;
        fake.wait_for(|_| {
            !fake.requests().iter().any(|request| request.is("POST *") && request.outcome == Outcome::Open)
        })
        .await;
    }
    assert!(fake.turns_run().is_empty());
    assert_well(&daemon).await;
}

#[tokio::test]
async fn a_small_body_that_stops_half_way_reaches_no_server_at_all() {
    let (fake, daemon) = one().await;
    let session = fake.create_session().id;
    daemon.wait_for_owner(&session, &fake, "emitted").await;
    let host = daemon.address();
    let mut client = connect(host).await;
    let half = format!(
        "POST /session/{session}/message HTTP/1.1\r\nhost: {host}\r\ncontent-length: 100\r\n\r\n{{\"parts\":[]}}"
    );
    client.write_all(half.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(crate::support::wire::rest(&mut client).await.status(), 0);
    assert_well(&daemon).await;
    assert_eq!(fake.requests_to(&format!("POST /session/{session}/message")).len(), 0);
}

#[tokio::test]
async fn clients_that_come_all_at_once_wait_to_be_let_in() {
    let (fake, mut daemon) = one().await;
    let host = daemon.address().to_owned();
    daemon.process().signal(Signal::STOP);
    // Nobody lets them in, so all of them wait; one without a place would not be connected.
    let mut waiting = Vec::new();
    for _ in 0..500 {
        waiting.push(connect(&host).await);
    }
    daemon.process().signal(Signal::CONT);
    let session = fake.create_session().id;
    for client in &mut waiting {
        let request = format!("GET /session/{session} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(crate::support::wire::rest(client).await.status(), 200);
    }
}

#[tokio::test]
async fn broken_bodies_of_our_own_endpoints_are_refused_in_json() {
    let (_fake, daemon) = one().await;
    for body in ["", "{", "[]", "{\"server\":5}", "{\"server\":\"x\",\"more\":1}", "null"] {
        let pin = daemon.trusted("PUT", "/sessions/ses_1/owner").header("content-type", "application/json");
        let answer = daemon.send(pin.body(body)).await;
        assert!((400..500).contains(&answer.status), "{body}: {answer:?}");
        assert!(answer.json()["data"]["message"].is_string(), "{answer:?}");
    }
    let huge = daemon.trusted("PUT", "/sessions/ses_1/owner").body(vec![b' '; 12 << 20]).send().await;
    // Refused before it was read whole: the client may find its connection closed while it still sends.
    assert!(huge.is_err() || huge.is_ok_and(|answer| answer.status().is_client_error()));
    assert_well(&daemon).await;
}
