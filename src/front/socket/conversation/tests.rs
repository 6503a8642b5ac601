use std::sync::Arc;

use serde_json::Value;
use tokio::{io::DuplexStream, task::JoinHandle};
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{super::bounds, *};
use crate::{
    domain::ids::ServerKey,
    events::{
        hub::{Emitter, Hub},
        log::Limits,
        view::{AttentionRule, Shape, View},
    },
    opencode::event,
};

const DIRECTORY: &str = "/a";

fn subscribe(hub: &Hub) -> Subscription {
    hub.subscribe(View {
        shape: Shape::Own,
        directory: None,
        server: None,
        attention: AttentionRule::All,
        opened: None,
        filter: Arc::default(),
    })
}

/// The client's end of a conversation about what `hub` publishes.
async fn client(hub: &Hub) -> (WebSocketStream<DuplexStream>, JoinHandle<()>) {
    let (here, there) = tokio::io::duplex(1024);
    let (hub, first) = (hub.clone(), subscribe(hub));
    let talking = tokio::spawn(async move {
        let socket = WebSocketStream::from_raw_socket(there, Role::Server, Some(bounds())).await;
        Conversation::new(socket, first, move |_| Ok(subscribe(&hub))).run().await;
    });
    (WebSocketStream::from_raw_socket(here, Role::Client, None).await, talking)
}

fn publish(hub: &Hub, n: usize) {
    let text = format!(r#"{{"directory":"{DIRECTORY}","payload":{{"type":"x","properties":{{"n":{n}}}}}}}"#);
    let emitter = Emitter { key: ServerKey(1), id: "srv_1".into() };
    hub.publish(&emitter, event::Decoder::new().decode(text.into()).unwrap());
}

async fn next_text(socket: &mut WebSocketStream<DuplexStream>) -> Value {
    loop {
        if let Message::Text(text) = socket.next().await.unwrap().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_answers_no_ping_is_let_go_of_after_three() {
    let hub = Hub::new(Limits::default());
    let (mut socket, talking) = client(&hub).await;
    assert_eq!(next_text(&mut socket).await["payload"]["type"], "pointsman.hello");
    let began = Instant::now();
    // Nobody reads, so nobody answers.
    talking.await.unwrap();
    let silent = began.elapsed();
    assert!((PING * 4..PING * 5).contains(&silent), "{silent:?}");
    assert_eq!(hub.subscribers(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_answers_pings_stays_however_little_it_says() {
    let hub = Hub::new(Limits::default());
    let (mut socket, talking) = client(&hub).await;
    let began = Instant::now();
    while began.elapsed() < PING * 12 {
        // Reading answers by itself; writing takes the answers along.
        let message = socket.next().await.unwrap().unwrap();
        assert!(!message.is_close(), "{message:?}");
        socket.flush().await.unwrap();
    }
    assert!(!talking.is_finished());
}

#[tokio::test(start_paused = true)]
async fn one_that_takes_nothing_holds_nothing() {
    let hub = Hub::new(Limits::default());
    let (socket, talking) = client(&hub).await;
    // Far more than there is room for between both.
    (0..10_000).for_each(|n| publish(&hub, n));
    let began = Instant::now();
    talking.await.unwrap();
    assert!(began.elapsed() <= STUCK + GOODBYE, "{:?}", began.elapsed());
    assert_eq!(hub.subscribers(), 0);
    drop(socket);
}

#[tokio::test(start_paused = true)]
async fn one_that_reads_slowly_gets_it_all() {
    let hub = Hub::new(Limits::default());
    let (mut socket, _talking) = client(&hub).await;
    assert_eq!(next_text(&mut socket).await["payload"]["type"], "pointsman.hello");
    (0..1000).for_each(|n| publish(&hub, n));
    for n in 0..1000 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut told = next_text(&mut socket).await;
        while told["payload"]["type"] == "server.heartbeat" {
            told = next_text(&mut socket).await;
        }
        assert_eq!(told["payload"]["properties"]["n"], n);
    }
}

#[tokio::test]
async fn at_the_end_of_all_streams_it_is_told_when_to_come_back() {
    let hub = Hub::new(Limits::default());
    let (mut socket, talking) = client(&hub).await;
    assert_eq!(next_text(&mut socket).await["payload"]["type"], "pointsman.hello");
    socket.send(Message::text(r#"{"type":"unsubscribe"}"#)).await.unwrap();
    assert_eq!(next_text(&mut socket).await["type"], "unsubscribed");
    publish(&hub, 1);
    hub.close();
    let closed = socket.next().await.unwrap().unwrap();
    let Message::Close(Some(frame)) = closed else { panic!("{closed:?}") };
    assert_eq!(frame.code, CloseCode::Restart);
    let after: u32 = frame.reason.strip_prefix("retry: ").unwrap().parse().unwrap();
    assert!((1000..4000).contains(&after));
    // The answer to it.
    while socket.next().await.is_some() {}
    talking.await.unwrap();
}

#[test]
fn a_reason_fits_into_its_frame() {
    assert_eq!(shortened("short".to_owned()), "short");
    assert_eq!(shortened("ü".repeat(100)).len(), MOST_REASON - 1);
}
