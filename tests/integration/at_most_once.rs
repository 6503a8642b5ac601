//! A request is sent at most once, unless nobody can have noticed.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    daemon::Daemon,
    fake::{FakeServer, FakeStore, Fault, Outcome},
    relay::Relay,
    town::{Pair, daemon_before, prompt},
    wire::raw_server,
};

#[tokio::test]
async fn a_turn_that_its_server_took_and_never_answered_is_not_sent_again() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for (owner, other) in pair.both_ways() {
        let session = owner.create_session().id;
        daemon.wait_for_owner(&session, owner, "emitted").await;
        for path in ["message", "prompt_async"] {
            let path = format!("/session/{session}/{path}");
            owner.fault(&path, Fault::Drop);
            let refused = daemon.post(&path, &prompt("hello")).await;
            assert_eq!(refused.status, 502);
            assert_eq!(refused.json()["name"], "ServerBrokeOffError");
            assert_eq!(refused.json()["data"]["sent"], true);
            let line = format!("POST {path}");
            assert_eq!((owner.requests_to(&line).len(), other.requests_to(&line).len()), (1, 0));
        }
    }
}

#[tokio::test]
async fn no_other_method_that_changes_something_is_sent_again_either() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    fake.fault("/config", Fault::Drop);
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        assert_eq!(daemon.send(daemon.request(method, "/config")).await.status, 502, "{method}");
        assert_eq!(fake.requests_to(&format!("{method} /config")).len(), 1, "{method}");
    }
}

#[tokio::test]
async fn a_get_to_which_no_byte_was_answered_is_sent_once_more_and_no_more() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    fake.fault_times("GET /config", 1, Fault::Drop);
    let answer = daemon.send(daemon.request("GET", "/config?x=1").header("x-mine", "kept")).await;
    assert_eq!(answer.status, 200);
    let seen = fake.requests_to("GET /config");
    assert_eq!(seen.len(), 2);
    assert_eq!((seen[1].target(), seen[1].header("x-mine")), ("/config?x=1".to_owned(), Some("kept")));
    assert_eq!(seen[0].headers, seen[1].headers);

    fake.fault("GET /vcs", Fault::Drop);
    assert_eq!(daemon.get("/vcs").await.status, 502);
    assert_eq!(fake.requests_to("GET /vcs").len(), 2);
}

#[tokio::test]
async fn a_part_of_a_list_to_which_no_byte_was_answered_is_asked_for_once_more() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    let session = fake.create_session().id;
    fake.fault_times("GET /session", 1, Fault::Drop);
    let request = daemon.request("GET", "/session").basic_auth("somebody", Some("secret"));
    let answer = daemon.send(request).await;
    assert_eq!((answer.status, answer.header("x-pointsman-partial")), (200, ""), "{answer:?}");
    assert!(answer.text().contains(&session), "{answer:?}");
    let asked = fake.requests_to("GET /session");
    assert_eq!(asked.len(), 2);
    assert!(asked.iter().all(|asked| asked.header("authorization").is_none()), "it is for one server alone");
}

#[tokio::test]
async fn a_get_of_which_bytes_have_come_is_not_sent_again() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    fake.fault("GET /config", Fault::DropAfter(3));
    let response = daemon.request("GET", "/config").send().await.unwrap();
    assert!(response.bytes().await.is_err());
    fake.wait_for(|request| request.is("GET /config") && request.outcome == Outcome::Abandoned).await;
    assert_eq!(fake.requests_to("GET /config").len(), 1);
}

#[tokio::test]
async fn a_get_with_a_body_is_not_sent_again() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    fake.fault("GET /find", Fault::Drop);
    assert_eq!(daemon.send(daemon.request("GET", "/find").body("x")).await.status, 502);
    assert_eq!(fake.requests_to("GET /find").len(), 1);
}

#[tokio::test]
async fn an_idle_connection_that_the_server_has_closed_costs_no_turn() {
    let store = FakeStore::new();
    let fake = FakeServer::start(&store, "/p").await;
    let relay = Relay::to(&fake.url()).await;
    let daemon = Daemon::start([relay.url()]).await;
    fake.wait_for_streams(1).await;
    let session = fake.create_session().id;
    for round in 1..=5 {
        assert_eq!(daemon.get("/config").await.status, 200);
        relay.cut();
        // Its stream broke with it, so once that is back the daemon has heard of the end of the others too.
        fake.wait_for(|_| fake.requests_to("GET /global/event").len() > round).await;
        let answer = daemon.turn(&session, "hello").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(fake.turns_run().len(), round);
    }
}

#[tokio::test]
async fn a_connection_that_leads_nowhere_is_given_up_in_time() {
    let server = raw_server(|_| None).await;
    let timeout = Duration::from_millis(300);
    let daemon =
        Daemon::builder().server(server.url()).env("POINTSMAN_CONNECT_TIMEOUT", "300ms").start().await;
    daemon.wait_for_servers(1).await;
    let _filled = server.hang().await;
    let request = daemon.request("POST", "/config").header("x-pointsman-server", server.address());
    let refused = daemon.send(request.json(&json!({}))).await;
    assert_eq!(refused.status, 504, "{refused:?}");
    assert_eq!(refused.json()["name"], "ServerTimeoutError");
    assert_eq!(refused.json()["data"]["sent"], false);
    assert!(refused.took >= timeout && refused.took < Duration::from_secs(10), "{:?}", refused.took);
}

#[tokio::test]
async fn a_server_that_refuses_connections_is_told_to_the_client_as_not_sent() {
    let store = FakeStore::new();
    let fake = FakeServer::start(&store, "/p").await;
    let daemon = Daemon::start([fake.url()]).await;
    fake.wait_for_streams(1).await;
    fake.kill().await;
    let refused = daemon.post("/config", &json!({})).await;
    match refused.status {
        // Whether it was given up before the request came is a matter of milliseconds.
        503 => assert_eq!(refused.json()["name"], "NoServerError"),
        502 => assert_eq!(refused.json()["data"]["sent"], false),
        other => panic!("{other}: {refused:?}"),
    }
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_told_as_such_and_the_turn_not_sent_again() {
    let seen = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = seen.clone();
    let server = raw_server(move |line| {
        line.starts_with("POST").then(|| {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            b"what do you want?\r\n\r\n".to_vec()
        })
    })
    .await;
    let daemon = Daemon::start([server.url()]).await;
    daemon.wait_for_servers(1).await;
    let refused = daemon.post("/config", &json!({})).await;
    assert_eq!(refused.status, 502, "{refused:?}");
    assert_eq!(refused.json()["name"], "ServerBrokeOffError");
    assert_eq!(seen.load(std::sync::atomic::Ordering::Relaxed), 1);
}
