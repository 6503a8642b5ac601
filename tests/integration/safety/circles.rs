//! Requests that would go round for ever.

use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::support::{
    daemon::Daemon,
    fake::{FakeServer, FakeStore},
    town::daemon_before,
};

#[tokio::test]
async fn a_daemon_behind_another_works_and_keeps_the_marks_of_both() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let inner = daemon_before(&[&fake]).await;
    let outer = Daemon::start([inner.url()]).await;
    outer.wait_for_servers(1).await;
    let answer = outer.get("/config").await;
    assert_eq!((answer.status, answer.fake()), (200, &*fake.address()));
    let seen = fake.requests_to("GET /config").pop().unwrap();
    assert_eq!(seen.headers.get_all("via").iter().count(), 2);
    assert_eq!(seen.headers.get_all("x-pointsman-hop").iter().count(), 2);
}

/// An address that leads to a place which is only known later.
async fn door() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

fn lead(door: TcpListener, to: &str) {
    let to = to.to_owned();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = door.accept().await {
            let to = to.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(to).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
}

#[tokio::test]
async fn a_request_that_comes_back_is_answered_508_and_the_daemons_live() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let (to_first, url) = door().await;
    let second = Daemon::builder().servers([fake.url(), url]).start_unready().await;
    let first = Daemon::start([second.url()]).await;
    lead(to_first, first.address());
    first.wait_for_servers(1).await;
    second.wait_for_servers(2).await;
    assert_eq!(first.get("/config").await.fake(), fake.address());
    fake.kill().await;
    second.wait_for_servers(1).await;
    // Now each is all that the other has.
    for daemon in [&first, &second] {
        for (method, path) in [("GET", "/config"), ("POST", "/log"), ("GET", "/")] {
            let answer = daemon.send(daemon.request(method, path)).await;
            assert_eq!(answer.status, 508, "{method} {path}: {answer:?}");
            assert_eq!(answer.json()["name"], "LoopDetectedError");
        }
        assert_eq!(daemon.get("/healthz").await.status, 200);
        assert!(!daemon.log().contains("panicked"));
    }
}

#[tokio::test]
async fn an_event_does_not_go_round_between_daemons_that_point_at_each_other() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let (to_first, url) = door().await;
    let second = Daemon::builder().servers([fake.url(), url]).start_unready().await;
    let first = Daemon::start([second.url()]).await;
    lead(to_first, first.address());
    first.wait_for_servers(1).await;
    second.wait_for_servers(2).await;
    fake.wait_for_streams(1).await;
    let mut events = first.events("/global/event").await;
    let mut number = 0;
    // Until the stream of the second daemon is open at the first.
    while !events.seen().iter().any(|event| event.kind() == "test.marker") {
        number += 1;
        fake.emit(fake.directory(), "test.marker", json!({"number": number}));
        events.next().await;
    }
    fake.emit(fake.directory(), "test.end", json!({}));
    events.expect_kind("test.end").await;
    fake.emit(fake.directory(), "test.very.end", json!({}));
    events.until(|event| event.kind() == "test.very.end", |event| event.kind() == "test.end").await;
}
