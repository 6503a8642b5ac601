//! Faults, streams, sockets and relays, on fakes alone.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    eventually::patiently,
    fake::{FakeServer, FakeStore, Fault, Outcome},
    isolation::isolated,
    relay::{Break, Relay},
    sse::{End, EventStream},
};

async fn status(url: String) -> Result<u16, String> {
    patiently("an answer", reqwest::get(url))
        .await
        .map(|answer| answer.status().as_u16())
        .map_err(|e| e.to_string())
}

#[tokio::test]
async fn faults_meet_the_requests_they_are_set_for() {
    let fake = FakeServer::start(&FakeStore::new(), "/p").await;
    fake.fault_times("GET /session", 1, Fault::Drop);
    assert!(status(fake.url() + "/session").await.is_err());
    assert_eq!(status(fake.url() + "/session").await, Ok(200));

    fake.fault("/path", Fault::DropAfter(3));
    let answer = reqwest::get(fake.url() + "/path").await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.is_err());

    fake.fault("/permission", Fault::Hang);
    let hanging = tokio::spawn(status(fake.url() + "/permission"));
    fake.wait_for_request("GET /permission").await;
    assert!(!hanging.is_finished());
    fake.lift_faults();
    assert_eq!(hanging.await.unwrap(), Ok(200));
    assert_eq!(status(fake.url() + "/path").await, Ok(200));
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed() {
    let fake = FakeServer::start(&FakeStore::new(), "/p").await;
    let session = fake.create_session();
    let path = format!("/session/{}/message", session.id);
    let body = json!({"parts": [{"type": "text", "text": "SLOW"}]});
    let request = reqwest::Client::new().post(fake.url() + &path).json(&body);
    let waiting = tokio::spawn(request.send());
    fake.wait_for_request(&format!("POST {path}")).await;
    waiting.abort();
    fake.wait_for(|request| request.outcome == Outcome::Abandoned).await;
    assert!(fake.is_busy(&session.id));
    fake.finish(&session.id);
}

#[tokio::test]
async fn streams_beat_carry_events_and_end_as_told() {
    let fake =
        FakeServer::builder(&FakeStore::new(), "/p").heartbeat(Duration::from_millis(50)).start().await;
    let mut global = EventStream::open(fake.url() + "/global/event").await;
    let mut other = EventStream::open(fake.url() + "/event?directory=/q").await;
    assert_eq!(global.next().await.kind(), "server.connected");
    global.expect_kind("server.heartbeat").await;
    fake.emit("/p", "test.one", json!({}));
    fake.emit("/q", "test.two", json!({}));
    assert_eq!(global.expect_kind("test.one").await.directory(), "/p");
    other.until(|event| event.kind() == "test.two", |event| event.kind() == "test.one").await;
    assert_eq!(fake.opened(), ["/q"]);
    fake.cut_streams();
    assert_eq!(global.ended().await, End::Cut);
    let mut again = EventStream::open(fake.url() + "/global/event").await;
    again.next().await;
    fake.finish_streams();
    assert_eq!(again.ended().await, End::Finished);
}

#[tokio::test]
async fn a_killed_fake_refuses_and_comes_back_as_somebody_else() {
    let fake = FakeServer::start(&FakeStore::new(), "/p").await;
    let mut stream = EventStream::open(fake.url() + "/global/event").await;
    let before = reqwest::get(fake.url() + "/path").await.unwrap().text().await.unwrap();
    fake.kill().await;
    assert_eq!(stream.ended().await, End::Cut);
    assert!(status(fake.url() + "/path").await.is_err());
    fake.restart_as(&FakeStore::new()).await;
    let after = reqwest::get(fake.url() + "/path").await.unwrap().text().await.unwrap();
    assert_ne!(before, after);
}

#[tokio::test]
async fn a_locked_fake_wants_its_password() {
    let fake = FakeServer::builder(&FakeStore::new(), "/p").password("opencode", "secret").start().await;
    assert_eq!(status(fake.url() + "/global/health").await, Ok(401));
    let token = "b3BlbmNvZGU6c2VjcmV0";
    assert_eq!(status(format!("{}/global/health?auth_token={token}", fake.url())).await, Ok(200));
    let request =
        reqwest::Client::new().get(fake.url() + "/path").header("authorization", format!("Basic {token}"));
    assert_eq!(request.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_permission_is_answered_only_where_it_was_asked() {
    let store = FakeStore::new();
    let (one, two) = (FakeServer::start(&store, "/p").await, FakeServer::start(&store, "/p").await);
    let session = one.create_session();
    let mut stream = EventStream::open(one.url() + "/global/event").await;
    stream.next().await;
    one.begin_turn(&session.id, "ASK");
    stream.expect_kind("permission.asked").await;
    let permission = one.permissions(&session.id).pop().unwrap();
    let client = reqwest::Client::new();
    let path = format!("/permission/{permission}/reply");
    for (url, status) in [
        (two.url() + &path, 404),
        (one.url() + &path + "?directory=/elsewhere", 404),
        (one.url() + &path, 200),
    ] {
        let answer = client.post(url).json(&json!({"reply": "once"})).send().await.unwrap();
        assert_eq!(answer.status(), status);
    }
    stream.expect_kind("session.idle").await;
    assert_eq!(one.turns_run(), [session.id]);
    assert!(two.turns_run().is_empty());
}

#[tokio::test]
async fn a_terminal_says_back_what_it_hears() {
    let fake = FakeServer::start(&FakeStore::new(), "/p").await;
    let pty = reqwest::Client::new().post(fake.url() + "/pty").json(&json!({})).send().await.unwrap();
    let pty: serde_json::Value = pty.json().await.unwrap();
    let url = format!("ws://{}/pty/{}/connect", fake.address(), pty["id"].as_str().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(patiently("the echo", socket.next()).await.unwrap().unwrap(), Message::text("hello"));
}

#[tokio::test]
async fn a_relay_counts_and_breaks_where_told() {
    let fake = FakeServer::start(&FakeStore::new(), "/p").await;
    let relay = Relay::to(&fake.url()).await;
    assert_eq!(status(relay.url() + "/path").await, Ok(200));
    assert_eq!(relay.requests(), ["GET /path HTTP/1.1"]);
    assert_eq!(relay.connections(), 1);

    relay.set_break(Break::Cut(20));
    assert!(status(relay.url() + "/path").await.is_err());
    relay.set_break(Break::Stall(20));
    let stalled = tokio::spawn(status(relay.url() + "/path"));
    fake.wait_for(|request| request.number == 2).await;
    relay.mend();
    assert_eq!(stalled.await.unwrap(), Ok(200));

    let mut stream = EventStream::open(relay.url() + "/global/event").await;
    relay.cut();
    assert_eq!(stream.ended().await, End::Cut);
}

#[test]
fn an_isolated_test_is_alone_on_its_machine() {
    isolated(async || {
        let processes = std::fs::read_dir("/proc").unwrap();
        let numbered = processes.filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit())
        });
        assert_eq!(numbered.count(), 1, "only this test runs");
        let fake = FakeServer::start(&FakeStore::new(), "/p").await;
        assert_eq!(status(fake.url() + "/global/health").await, Ok(200));
        let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
        assert_eq!(
            sockets.lines().filter(|line| line.contains(" 0A ")).count(),
            1,
            "one listener: {sockets}"
        );
    });
}
