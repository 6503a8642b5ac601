//! `/ws`: our own stream on one connection both ways.

use base64::Engine as _;
use futures_util::{SinkExt, StreamExt};
use http::HeaderValue;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use crate::support::{
    daemon::Daemon,
    described,
    eventually::patiently,
    fake::{FakeServer, FakeStore},
    sse::EventStream,
    town::{Pair, daemon_before},
};

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn open(daemon: &Daemon, query: &str) -> Self {
        let url = format!("ws://{}/ws{query}", daemon.address());
        Self(patiently("a socket", connect_async(url)).await.unwrap().0)
    }

    async fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    /// The next message, signs of life apart.
    async fn next(&mut self) -> Value {
        loop {
            match patiently("a message", self.0.next()).await.unwrap().unwrap() {
                Message::Text(text) => {
                    let told: Value = serde_json::from_str(&text).unwrap();
                    described::assert_message(&told);
                    if kind(&told) != "server.heartbeat" {
                        return told;
                    }
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// All messages up to the one of this kind.
    async fn until(&mut self, wanted: &str) -> Vec<Value> {
        let mut told = vec![self.next().await];
        while kind(told.last().unwrap()) != wanted {
            told.push(self.next().await);
        }
        told
    }

    /// How it is closed.
    async fn closed(&mut self) -> CloseFrame {
        loop {
            match patiently("the close", self.0.next()).await {
                Some(Ok(Message::Close(Some(frame)))) => return frame,
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn kind(told: &Value) -> &str {
    told["payload"]["type"].as_str().or(told["type"].as_str()).unwrap()
}

async fn one() -> (FakeServer, Daemon) {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    (fake, daemon)
}

fn mark(fake: &FakeServer, session: &str, kind: &str) {
    fake.emit(fake.directory(), kind, json!({"sessionID": session}));
}

#[tokio::test]
async fn it_tells_what_our_own_stream_tells() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut stream = daemon.events("/events").await;
    let mut socket = Socket::open(&daemon, "").await;
    let hello = socket.next().await;
    assert_eq!(kind(&hello), "pointsman.hello");
    assert_eq!(hello["payload"]["properties"]["servers"].as_array().unwrap().len(), 2);
    let session = pair.low.create_session().id;
    pair.low.begin_turn(&session, "hello");
    stream.expect(|event| event.kind() == "session.idle").await;
    let told = socket.until("session.idle").await;
    let numbered: Vec<&Value> =
        stream.seen().iter().map(|event| &event.data).filter(|data| data["id"].is_string()).collect();
    assert!(numbered.len() > 5);
    let of_socket: Vec<&Value> = told.iter().filter(|data| numbered.contains(data)).collect();
    assert_eq!(of_socket, numbered);
}

#[tokio::test]
async fn what_is_wished_for_can_change_while_connected() {
    let (fake, daemon) = one().await;
    let (one, two) = (fake.create_session().id, fake.create_session().id);
    let mut socket = Socket::open(&daemon, &format!("?session={one}&lifecycle=false")).await;
    assert_eq!(kind(&socket.next().await), "pointsman.hello");
    let sessions = |told: &[Value]| -> Vec<String> {
        let of = |told: &Value| told["payload"]["properties"]["sessionID"].as_str().map(str::to_owned);
        told.iter().filter(|told| kind(told).starts_with("test.")).filter_map(of).collect()
    };
    for session in [&two, &one] {
        mark(&fake, session, "test.first");
    }
    assert_eq!(sessions(&socket.until("test.first").await), std::slice::from_ref(&one));

    let wish = json!({"type": "subscribe", "session": [two], "types": ["test.*"], "lifecycle": false});
    socket.say(&wish).await;
    socket.until("pointsman.hello").await;
    for session in [&one, &two] {
        mark(&fake, session, "test.second");
    }
    assert_eq!(sessions(&socket.until("test.second").await), std::slice::from_ref(&two));

    socket.say(&json!({"type": "unsubscribe"})).await;
    assert_eq!(socket.until("unsubscribed").await.len(), 1);
    let mut witness = daemon.events("/events").await;
    mark(&fake, &two, "test.unheard");
    witness.expect_kind("test.unheard").await;

    let last = witness.seen().last().unwrap().id.clone();
    socket.say(&json!({"type": "subscribe", "last_event_id": last})).await;
    let told = socket.until("pointsman.hello").await;
    assert_eq!(told.len(), 1, "nothing while unsubscribed: {told:?}");
    assert_eq!(told[0]["payload"]["properties"]["resume"], "ok");
    mark(&fake, &one, "test.third");
    assert_eq!(sessions(&socket.until("test.third").await), std::slice::from_ref(&one));
}

#[tokio::test]
async fn who_comes_back_is_told_exactly_what_it_missed() {
    let (fake, daemon) = one().await;
    let session = fake.create_session().id;
    let mut socket = Socket::open(&daemon, "?type=test.*&lifecycle=false").await;
    socket.next().await;
    mark(&fake, &session, "test.0");
    let last = socket.until("test.0").await.pop().unwrap()["id"].as_str().unwrap().to_owned();
    drop(socket);
    let mut witness = daemon.events("/events").await;
    for n in 1..20 {
        mark(&fake, &session, &format!("test.{n}"));
    }
    witness.expect_kind("test.19").await;
    let expected: Vec<String> =
        ["pointsman.hello".to_owned()].into_iter().chain((1..20).map(|n| format!("test.{n}"))).collect();
    let mut by_query =
        Socket::open(&daemon, &format!("?type=test.*&lifecycle=false&last_event_id={last}")).await;
    let mut by_message = Socket::open(&daemon, "?type=none&lifecycle=false").await;
    by_message.next().await;
    let wish = json!({"type": "subscribe", "types": ["test.*"], "lifecycle": false, "last_event_id": last});
    by_message.say(&wish).await;
    for socket in [&mut by_query, &mut by_message] {
        let told = socket.until("test.19").await;
        assert_eq!(told.iter().map(kind).collect::<Vec<_>>(), expected);
        assert_eq!(told[0]["payload"]["properties"]["resume"], "ok");
    }
    by_query.say(&json!({"type": "subscribe", "last_event_id": "nonsense"})).await;
    let hello = by_query.next().await;
    assert_eq!(hello["payload"]["properties"]["reason"], "malformed");
}

#[tokio::test]
async fn what_makes_no_sense_is_told_and_changes_nothing() {
    let (fake, daemon) = one().await;
    let session = fake.create_session().id;
    let mut socket = Socket::open(&daemon, "?type=test.*&lifecycle=false").await;
    socket.next().await;
    for (said, name, named) in [
        (Message::text("nonsense"), "BadRequest", "subscribe"),
        (Message::text("{}"), "BadRequest", "type"),
        (Message::text(r#"{"type":"shout"}"#), "BadRequest", "shout"),
        (Message::text(r#"{"type":"subscribe","sessions":["ses_1"]}"#), "BadRequest", "sessions"),
        (Message::text(r#"{"type":"subscribe","session":["msg_1"]}"#), "BadRequest", "msg_1"),
        (Message::text(r#"{"type":"subscribe","types":["a b"]}"#), "BadRequest", "a b"),
        (Message::text(r#"{"type":"subscribe","server":["srv_none"]}"#), "ServerUnknownError", "srv_none"),
        (Message::binary(vec![1, 2, 3]), "BadRequest", "binary"),
    ] {
        socket.0.send(said.clone()).await.unwrap();
        let error = socket.next().await;
        assert_eq!((&error["type"], &error["name"]), (&json!("error"), &json!(name)), "{said:?}");
        assert!(error["message"].as_str().unwrap().contains(named), "{error}");
    }
    mark(&fake, &session, "test.after");
    assert_eq!(kind(&socket.next().await), "test.after", "the subscription is what it was");
    socket.0.send(Message::Ping("x".into())).await.unwrap();
    let answer = patiently("a pong", socket.0.next()).await.unwrap().unwrap();
    assert_eq!(answer, Message::Pong("x".into()));

    // It may stop reading the rest at once, so that not all of it can be sent.
    let _ = socket.0.send(Message::text(" ".repeat(70_000))).await;
    assert_eq!(socket.closed().await.code, CloseCode::Size);
}

#[tokio::test]
async fn only_who_may_listen_opens_one() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = Daemon::builder().env("POINTSMAN_TOKEN", "s3cret").server(fake.url()).start_unready().await;
    let url = format!("ws://{}/ws", daemon.address());
    let open = async |query: &str, headers: &[(&'static str, &str)]| {
        let mut request = format!("{url}{query}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        match patiently("an answer", connect_async(request)).await {
            Ok((_, answer)) => answer.status().as_u16(),
            Err(Error::Http(answer)) => answer.status().as_u16(),
            Err(other) => panic!("{other}"),
        }
    };
    let token = base64::engine::general_purpose::STANDARD.encode("pointsman:s3cret");
    let bearer = [("authorization", "Bearer s3cret")];
    assert_eq!(open("", &[]).await, 401);
    assert_eq!(open("", &[("authorization", "Bearer wrong")]).await, 401);
    assert_eq!(open("", &bearer).await, 101);
    assert_eq!(open(&format!("?auth_token={token}"), &[]).await, 101);
    assert_eq!(open("?type=a%20b", &bearer).await, 400);
    assert_eq!(open("?server=srv_none", &bearer).await, 404);
    assert_eq!(open("", &[bearer[0], ("origin", "https://evil.example")]).await, 403);
    assert_eq!(open("", &[bearer[0], ("origin", &format!("http://{}", daemon.address()))]).await, 101);
    let plain = |method: &str| daemon.request(method, "/ws").bearer_auth("s3cret");
    let answer = daemon.send(plain("GET")).await;
    assert_eq!((answer.status, answer.header("upgrade")), (426, "websocket"));
    assert_eq!(daemon.send(plain("POST")).await.status, 405);
}

#[tokio::test]
async fn when_the_daemon_stops_each_socket_is_told_when_to_come_back() {
    let (_fake, mut daemon) = one().await;
    let mut sockets = vec![Socket::open(&daemon, "").await, Socket::open(&daemon, "?type=none").await];
    sockets[1].next().await;
    sockets[1].say(&json!({"type": "unsubscribe"})).await;
    sockets[1].until("unsubscribed").await;
    let stopping = daemon.term();
    let closing = async {
        for socket in &mut sockets {
            let frame = socket.closed().await;
            assert_eq!(frame.code, CloseCode::Restart);
            assert!(frame.reason.starts_with("retry: "), "{frame:?}");
            // Reading on answers it.
            while patiently("the end", socket.0.next()).await.is_some() {}
        }
    };
    tokio::join!(stopping, closing);
}

#[tokio::test]
async fn one_that_reads_nothing_delays_nobody() {
    let (fake, daemon) = one().await;
    let session = fake.create_session().id;
    let _stuck = Socket::open(&daemon, "").await;
    let mut stream: EventStream = daemon.events("/events?type=test.*").await;
    let filler = "x".repeat(64 * 1024);
    for n in 0..400 {
        fake.emit(fake.directory(), "test.filler", json!({"sessionID": session, "n": n, "filler": filler}));
    }
    for n in 0..400 {
        assert_eq!(stream.expect_kind("test.filler").await.properties()["n"], n);
    }
}
