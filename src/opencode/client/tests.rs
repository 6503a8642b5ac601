use std::net::SocketAddr;

use axum::{Json, Router, extract::RawQuery, http::HeaderMap, response::Html, routing::get};
use serde_json::json;

use super::*;

async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn agent(address: SocketAddr, authorization: Option<&str>) -> Agent {
    let client = AgentClient::try_new(Duration::from_secs(2)).unwrap();
    client.at(&format!("http://{address}"), authorization)
}

async fn health_of<H, T>(handler: H) -> Result<Health, AskError>
where
    H: axum::handler::Handler<T, ()>,
    T: 'static,
{
    agent(serve(Router::new().route("/global/health", get(handler))).await, None).health().await
}

#[tokio::test]
async fn health_tells_an_agent_from_everything_else() {
    let agent = health_of(async || Json(json!({"healthy": true, "version": "1.18.33"}))).await;
    assert_eq!(&*agent.unwrap().version, "1.18.33");
    assert!(matches!(health_of(async || Html("<html></html>")).await, Err(AskError::Foreign { .. })));
    assert!(matches!(health_of(async || Json(json!({"status": "ok"}))).await, Err(AskError::Foreign { .. })));
    let through_us =
        health_of(async || ([(OURS, "127.0.0.1:1")], Json(json!({"healthy": true, "version": "1.18.33"}))));
    assert!(matches!(through_us.await, Err(AskError::Foreign { .. })));
    assert!(matches!(health_of(async || StatusCode::UNAUTHORIZED).await, Err(AskError::Locked { .. })));
    assert!(matches!(
        health_of(async || StatusCode::SERVICE_UNAVAILABLE).await,
        Err(AskError::Status { .. })
    ));
    let elsewhere = health_of(async || (StatusCode::FOUND, [("location", "/doc")]));
    assert!(matches!(elsewhere.await, Err(AskError::Status { .. })));
}

#[tokio::test]
async fn a_closed_port_is_told_as_refused() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert!(matches!(agent(address, None).health().await, Err(AskError::Refused)));
}

#[tokio::test]
async fn the_password_is_told_and_never_shown() {
    let handler = async |headers: HeaderMap| match headers.get("authorization") {
        Some(value) if value == "Basic eDp5" => Ok(Json(json!({"healthy": true, "version": "1"}))),
        _ => Err(StatusCode::UNAUTHORIZED),
    };
    let address = serve(Router::new().route("/global/health", get(handler))).await;
    assert!(matches!(agent(address, None).health().await, Err(AskError::Locked { .. })));
    assert!(agent(address, Some("Basic eDp5")).health().await.is_ok());
}

#[tokio::test]
async fn an_answer_without_end_is_given_up() {
    let endless = async || {
        let chunk = bytes::Bytes::from(vec![b' '; 1 << 20]);
        let chunks = futures_util::stream::repeat(Ok::<_, std::convert::Infallible>(chunk));
        ([(CONTENT_TYPE, "application/json")], axum::body::Body::from_stream(chunks))
    };
    let address = serve(Router::new().route("/experimental/session", get(endless))).await;
    assert!(matches!(agent(address, None).sessions_page(1, None, None).await, Err(AskError::TooLarge)));
}

#[tokio::test]
async fn a_session_is_looked_for_around_the_instant_its_id_tells() {
    let session = SessionId::try_new("ses_e021c7fa2ffe8VGOoFNM8lM5q9").unwrap();
    let handler = async |RawQuery(query): RawQuery| {
        let query = query.unwrap();
        let (_, cursor) = query.split_once("cursor=").unwrap();
        let cursor = URL_SAFE_NO_PAD.decode(cursor).unwrap();
        let cursor: serde_json::Value = serde_json::from_slice(&cursor).unwrap();
        assert_eq!(cursor["anchor"]["time"], 1_795_260_907_613_u64 + AROUND_MS);
        Json(json!({"data": [{"id": "ses_e021c7fa2ffe8VGOoFNM8lM5q9", "projectID": "p", "title": "t",
            "location": {"directory": "/a"}, "time": {"created": 1, "updated": 2}}], "cursor": {}}))
    };
    let agent = agent(serve(Router::new().route("/api/session", get(handler))).await, None);
    let found = agent.exists(&session, 1_795_260_952_355).await.unwrap().unwrap();
    assert_eq!((&*found.directory, found.updated_ms), ("/a", 2));
    let other = SessionId::try_new("ses_e021c7fa2ffe8VGOoFNM8lM5q8").unwrap();
    assert_eq!(agent.exists(&other, 1_795_260_952_355).await.unwrap(), None);
}

#[tokio::test]
async fn where_sessions_cannot_be_looked_for_the_newest_are_searched() {
    let list =
        async || Json(json!([{"id": "ses_x", "directory": "/a", "time": {"created": 1, "updated": 2}}]));
    let page = async || Html("<html></html>");
    let router = Router::new().route("/experimental/session", get(list)).route("/api/session", get(page));
    let agent = agent(serve(router).await, None);
    let known = SessionId::try_new("ses_x").unwrap();
    assert!(agent.exists(&known, 1_795_260_952_355).await.unwrap().is_some());
    let unknown = SessionId::try_new("ses_e021c7fa2ffe8VGOoFNM8lM5q9").unwrap();
    assert!(agent.exists(&unknown, 1_795_260_952_355).await.unwrap().is_none());
}
