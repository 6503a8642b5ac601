//! Terminals: `WebSocket`s through `/pty/{id}/connect`.

use std::future::{Ready, ready};

use axum::body::Body;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio_tungstenite::{
    WebSocketStream, connect_async,
    tungstenite::{
        Message,
        client::IntoClientRequest,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};

use crate::support::{
    eventually::patiently,
    fake::{FakeServer, FakeStore, Question, Reply},
    town::{Pair, daemon_before},
};

#[tokio::test]
async fn a_terminal_is_talked_to_on_the_server_that_has_it() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for server in [&pair.low, &pair.high] {
        let open = daemon.request("POST", "/pty").header("x-pointsman-server", server.address());
        let id = daemon.send(open.json(&json!({}))).await.json()["id"].as_str().unwrap().to_owned();
        let url = format!("ws://{}/pty/{id}/connect?cursor=0", daemon.address());
        let (mut socket, answer) = patiently("a socket", connect_async(url)).await.unwrap();
        assert_eq!(answer.headers()["x-fake-server"], *server.address());
        for message in
            [Message::text("ls\n"), Message::binary(vec![0, 255, 1, 254]), Message::binary(vec![7; 300_000])]
        {
            socket.send(message.clone()).await.unwrap();
            assert_eq!(patiently("the echo", socket.next()).await.unwrap().unwrap(), message);
        }
        let bye = CloseFrame { code: CloseCode::Library(4001), reason: "bye".into() };
        socket.close(Some(bye.clone())).await.unwrap();
        let closed = patiently("the close", socket.next()).await.unwrap().unwrap();
        assert_eq!(closed, Message::Close(Some(bye)));
    }
}

/// Agrees on the second sub-protocol offered, says one thing, and closes with a code of its own.
fn speak(question: Question) -> Ready<Reply> {
    let offered = question.headers()["sec-websocket-protocol"].clone();
    assert_eq!(offered, "one, two");
    let key = derive_accept_key(question.headers()["sec-websocket-key"].as_bytes());
    let upgrade = hyper::upgrade::on(question);
    tokio::spawn(async move {
        let stream = TokioIo::new(upgrade.await.unwrap());
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        socket.send(Message::text("hello")).await.unwrap();
        let gone = CloseFrame { code: CloseCode::Library(4002), reason: "the terminal has ended".into() };
        let _ = socket.close(Some(gone)).await;
        while let Some(Ok(_)) = socket.next().await {}
    });
    let answer = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    let answer = answer.header("connection", "Upgrade").header("upgrade", "websocket");
    let answer = answer.header("sec-websocket-accept", key).header("sec-websocket-protocol", "two");
    ready(answer.body(Body::empty()).unwrap())
}

#[tokio::test]
async fn sub_protocols_are_agreed_on_by_the_two_ends_and_the_servers_close_code_arrives() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    fake.script("GET /pty/*", speak);
    let daemon = daemon_before(&[&fake]).await;
    let url = format!("ws://{}/pty/pty_1/connect", daemon.address());
    let mut request: Request<()> = url.into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "one, two".parse().unwrap());
    let (mut socket, answer) = patiently("a socket", connect_async(request)).await.unwrap();
    assert_eq!(answer.headers()["sec-websocket-protocol"], "two");
    assert_eq!(patiently("a word", socket.next()).await.unwrap().unwrap(), Message::text("hello"));
    let Message::Close(Some(frame)) = patiently("the close", socket.next()).await.unwrap().unwrap() else {
        panic!("no close frame");
    };
    assert_eq!((frame.code, &*frame.reason), (CloseCode::Library(4002), "the terminal has ended"));
}

#[tokio::test]
async fn a_terminal_that_is_not_there_is_refused_in_the_servers_words() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    let refused = connect_async(format!("ws://{}/pty/pty_none/connect", daemon.address())).await;
    let Err(tokio_tungstenite::tungstenite::Error::Http(answer)) = refused else { panic!("{refused:?}") };
    assert_eq!(answer.status(), 404);
    assert_eq!(answer.headers()["x-fake-server"], *fake.address());
}
