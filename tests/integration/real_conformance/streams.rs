//! What stays open: merged streams of events, and terminals.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use super::{
    check::{Verdict, expect},
    document::Operation,
    expected::Raise,
    request::{self, with},
    two_servers::{Side, TwoServers},
};
use crate::support::{
    eventually::patiently,
    relay::MARK,
    sse::{EventStream, Received},
};

/// A server greets some milliseconds before it listens to itself: a session that was made in between is not told of.
const SOON: Duration = Duration::from_millis(500);

/// The sessions that either server makes by itself are told on the stream of all; those of one directory on its own.
pub async fn merged(servers: &TwoServers, operation: &Operation) -> Verdict {
    let [one, two] = &servers.sides;
    // Each piece of a turn of the first interface ends a server's stream of the second.
    servers.end_turns().await;
    if operation.path == "/event" {
        for (own, other) in [(one, two), (two, one)] {
            let path = with(&operation.path, &own.directory_parameter(false));
            let mut stream = servers.daemon.events(&path).await;
            let foreign = other.new_session().await;
            hears_of_a_session(&mut stream, own).await?;
            if stream.seen().iter().any(|event| event.session() == foreign) {
                return Err(format!("{path} told of the other project"));
            }
        }
        return Ok(());
    }
    let mut stream = servers.daemon.events(&operation.path).await;
    for side in [one, two] {
        hears_of_a_session(&mut stream, side).await?;
    }
    let greetings = stream.seen().iter().filter(|event| event.kind() == "server.connected").count();
    if greetings == 1 { Ok(()) } else { Err(format!("it was greeted {greetings} times")) }
}

async fn hears_of_a_session(stream: &mut EventStream, side: &Side) -> Verdict {
    for _ in 0..20 {
        let session = side.new_session().await;
        let created = |event: &Received| event.kind() == "session.created" && event.session() == session;
        if stream.hears_within(SOON, created).await {
            return Ok(());
        }
    }
    let kinds: Vec<_> =
        stream.seen().iter().map(|event| format!("{} {}", event.kind(), event.session())).collect();
    Err(format!("it never told of a session of {}, only {kinds:?}", side.directory.display()))
}

/// The shell of the server that has the terminal tells its own number.
pub async fn socket(servers: &TwoServers, operation: &Operation, raise: Raise) -> Verdict {
    for (at, side) in servers.sides.iter().enumerate() {
        let raised = servers.raise(at, raise).await;
        let path = request::address_of_raised(operation, &raised);
        let mark = servers.mark();
        let address = format!("ws://{}{path}", servers.daemon.address());
        let mut request = address.into_client_request().unwrap();
        request.headers_mut().insert(MARK, mark.parse().unwrap());
        let (mut socket, _) =
            patiently("the terminal", connect_async(request)).await.map_err(|error| error.to_string())?;
        expect(&servers.reached(&mark), &[at], &path)?;
        socket.send(Message::text("pwd; echo $((40 + 2))\n")).await.unwrap();
        let mut shown = String::new();
        patiently("the terminal's output", async {
            while !shown.contains("42") {
                match socket.next().await.expect("it stays open").unwrap() {
                    Message::Text(text) => shown.push_str(&text),
                    Message::Binary(bytes) => shown.push_str(&String::from_utf8_lossy(&bytes)),
                    _ => {}
                }
            }
        })
        .await;
        if !shown.contains(side.directory.to_str().unwrap()) {
            return Err(format!("{path} shows another directory: {shown:?}"));
        }
    }
    Ok(())
}
