//! Who leaves is missed on the other side.

use std::io;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Response;
use tokio::io::AsyncWriteExt;

use crate::support::{
    daemon::Daemon,
    eventually::patiently,
    fake::{FakeServer, FakeStore, Fault, Outcome},
    town::{daemon_before, prompt},
    wire::connect,
};

async fn one() -> (FakeServer, Daemon) {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    (fake, daemon)
}

#[tokio::test]
async fn a_client_that_leaves_during_a_turn_is_missed_by_the_server() {
    let (fake, daemon) = one().await;
    let session = fake.create_session().id;
    let path = format!("/session/{session}/message");
    let turn = tokio::spawn(daemon.request("POST", &path).json(&prompt("SLOW")).send());
    fake.wait_for_request(&format!("POST {path}")).await;
    turn.abort();
    fake.wait_for(|request| request.path == path && request.outcome == Outcome::Abandoned).await;
    fake.finish(&session);
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_an_answer_is_missed_by_the_server() {
    let (fake, daemon) = one().await;
    fake.script("GET /file/content", |_| async {
        let first = stream::iter([Ok::<_, io::Error>(Bytes::from("first"))]);
        Response::new(Body::from_stream(first.chain(stream::pending())))
    });
    let response = daemon.request("GET", "/file/content").send().await.unwrap();
    let mut body = response.bytes_stream();
    assert_eq!(patiently("a piece", body.next()).await.unwrap().unwrap(), "first");
    drop(body);
    fake.wait_for(|request| request.path == "/file/content" && request.outcome == Outcome::Abandoned).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_request_is_missed_by_the_server() {
    let (fake, daemon) = one().await;
    let mut client = connect(daemon.address()).await;
    let head = format!("POST /log HTTP/1.1\r\nhost: {}\r\ncontent-length: 100\r\n\r\nhalf", daemon.address());
    client.write_all(head.as_bytes()).await.unwrap();
    fake.wait_for_request("POST /log").await;
    drop(client);
    let seen = fake.wait_for(|request| request.is("POST /log") && request.outcome != Outcome::Open).await;
    assert_eq!((seen.outcome, &*seen.body), (Outcome::Abandoned, &b""[..]));
    assert_eq!(fake.requests_to("POST /log").len(), 1);
}

#[tokio::test]
async fn an_answer_that_breaks_off_breaks_off_for_the_client_too() {
    let (fake, daemon) = one().await;
    for line in ["GET /config", "POST /log"] {
        fake.fault(line, Fault::DropAfter(5));
        let (method, path) = line.split_once(' ').unwrap();
        let response = patiently("the head", daemon.request(method, path).send()).await.unwrap();
        assert_eq!(response.status(), 200);
        let body = patiently("the end", response.bytes()).await;
        assert!(body.is_err(), "an incomplete answer was passed off as a whole one");
    }
    // An answer whose length nobody has told is not to end as if it were complete either.
    fake.script("GET /vcs", |_| async {
        let pieces = [Ok(Bytes::from("half")), Err(io::Error::other("cut"))];
        Response::new(Body::from_stream(stream::iter(pieces)))
    });
    if let Ok(response) = patiently("the head", daemon.request("GET", "/vcs").send()).await {
        assert!(
            patiently("the end", response.bytes()).await.is_err() || fake.requests_to("GET /vcs").len() == 2
        );
    }
}
