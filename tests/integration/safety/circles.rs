//! Requests that would go round for ever.

use axum::body::Body;
use http::Response;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::support::{
    daemon::Daemon,
    fake::{FakeServer, FakeStore, Question, Reply},
    town::{acquainted, daemon_before},
};

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

/// A server that passes what it is asked on to `next`, as a proxy in between does.
async fn pass_on(question: Question, next: String) -> Reply {
    let url = format!("{next}{}", question.uri());
    let request = reqwest::Client::new().request(question.method().clone(), url);
    let answer = request.headers(question.headers().clone()).send().await.unwrap();
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = answer.status();
    *reply.body_mut() = Body::from(answer.bytes().await.unwrap());
    reply
}

#[tokio::test]
async fn a_request_that_comes_back_is_answered_508() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    let back = daemon.url().to_owned();
    for (method, path) in [("GET", "/config"), ("POST", "/log"), ("DELETE", "/config"), ("GET", "/")] {
        let back = back.clone();
        fake.script(path, move |question| pass_on(question, back.clone()));
        let before = fake.passed_on().len();
        let answer = daemon.send(daemon.request(method, path)).await;
        assert_eq!(answer.status, 508, "{method} {path}: {answer:?}");
        assert_eq!(answer.json()["name"], "LoopDetectedError");
        assert_eq!(fake.passed_on().len(), before + 1, "it went round more than once");
    }
    assert_eq!(daemon.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_circle_that_strips_our_marks_ends_all_the_same() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    let back = daemon.url().to_owned();
    fake.script("/config", move |mut question| {
        question.headers_mut().remove("x-pointsman-hop");
        pass_on(question, back.clone())
    });
    let before = fake.passed_on().len();
    assert_eq!(daemon.get("/config").await.status, 508);
    assert!(fake.passed_on().len() - before < 12, "{}", fake.passed_on().len());
}

#[tokio::test]
async fn daemons_that_point_at_each_other_are_no_servers_to_each_other() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let (to_first, url) = door().await;
    let second = Daemon::builder().servers([fake.url(), url]).start_unready().await;
    let first = Daemon::builder().server(second.url()).start_unready().await;
    lead(to_first, first.address());
    acquainted(&[&fake]).await;
    // Told in the log once the question has been answered.
    crate::support::eventually::eventually("the first one judging the second", || async {
        if first.log().contains("not an OpenCode server") { Ok(()) } else { Err(first.log()) }
    })
    .await;
    assert_eq!(first.servers().await, [json!(null); 0]);
    let refused = first.get("/config").await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(second.get("/config").await.fake(), fake.address());
    assert_eq!(second.wait_for_servers(1).await.len(), 1);
}

#[tokio::test]
async fn a_daemon_that_is_configured_as_its_own_server_leaves_itself_out() {
    let (door, url) = door().await;
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = Daemon::builder().servers([fake.url(), url]).start_unready().await;
    lead(door, daemon.address());
    acquainted(&[&fake]).await;
    crate::support::eventually::eventually("the daemon judging itself", || async {
        if daemon.log().contains("not an OpenCode server") { Ok(()) } else { Err(daemon.log()) }
    })
    .await;
    assert_eq!(daemon.wait_for_servers(1).await.len(), 1);
    assert_eq!(daemon.get("/config").await.fake(), fake.address());
}
