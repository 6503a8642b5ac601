//! What takes two steps takes both with one server.

use axum::body::Body;
use http::Response;
use serde_json::json;

use crate::support::{
    fake::{FakeServer, FakeStore},
    town::{Pair, daemon_before},
};

#[tokio::test]
async fn a_sign_in_ends_where_it_began() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for (first, second) in [
        ("/provider/github/oauth/authorize", "/provider/github/oauth/callback"),
        ("/mcp/tracker/auth", "/mcp/tracker/auth/callback"),
    ] {
        // Nothing in the second step tells where it belongs; by default it would go to the lower port.
        let begin = daemon.request("POST", first).header("x-pointsman-server", pair.high.address());
        assert_eq!(daemon.send(begin.json(&json!({}))).await.fake(), pair.high.address());
        let end = daemon.post(second, &json!({"code": "1"})).await;
        assert_eq!((end.fake(), end.route()), (&*pair.high.address(), "flow"), "{second}");
    }
    let other = daemon.post("/provider/other/oauth/callback", &json!({})).await;
    assert_eq!(other.fake(), pair.low.address());
}

#[tokio::test]
async fn an_attempt_is_asked_about_where_it_was_made() {
    let store = FakeStore::new();
    let one = FakeServer::serve(&store, &store.directory("one")).await;
    let two = FakeServer::serve(&store, &store.directory("two")).await;
    let daemon = daemon_before(&[&one, &two]).await;
    two.script("POST /api/integration/github/connect/oauth", |_| async {
        let body = json!({"data": {"attemptID": "att_1", "url": "https://example.invalid"}});
        Response::new(Body::from(body.to_string()))
    });
    let path = "/api/integration/github/connect/oauth";
    let begin = daemon.request("POST", path).query(&[("location[directory]", two.directory())]);
    assert_eq!(daemon.send(begin.json(&json!({}))).await.fake(), two.address());
    let asked = daemon.get("/api/integration/attempt/att_1").await;
    assert_eq!((asked.fake(), asked.route()), (&*two.address(), "raised"));
    let ended = daemon.post("/api/integration/attempt/att_1/complete", &json!({})).await;
    assert_eq!(ended.fake(), two.address());
}

#[tokio::test]
async fn a_terminal_belongs_to_the_server_that_opened_it() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for server in [&pair.low, &pair.high] {
        let open = daemon.request("POST", "/pty").header("x-pointsman-server", server.address());
        let terminal = daemon.send(open.json(&json!({}))).await.json()["id"].as_str().unwrap().to_owned();
        let answer = daemon.get(&format!("/pty/{terminal}")).await;
        assert_eq!((answer.status, answer.fake()), (200, &*server.address()));
        assert_eq!(daemon.delete(&format!("/pty/{terminal}")).await.fake(), server.address());
    }
}
