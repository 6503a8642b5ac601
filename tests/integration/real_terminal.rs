//! A terminal of a real server, opened, typed into and closed through pointsman.

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use crate::support::{
    daemon::{Answer, Daemon},
    eventually::{eventually, patiently},
    opencode::shared,
};

#[tokio::test]
async fn a_terminal_echoes_what_is_typed_on_the_server_that_has_it() {
    let shared = shared().await;
    let daemon = Daemon::start(shared.urls()).await;
    for (owner, stranger) in shared.both_ways() {
        let create = daemon.request("POST", "/pty").header("x-pointsman-server", owner.address());
        let created = daemon.send(create.json(&json!({"command": "/bin/bash", "args": ["--norc"]}))).await;
        assert_eq!(created.status, 200, "{created:?}");
        let id = created.json()["id"].as_str().unwrap().to_owned();
        let read = daemon.get(&format!("/pty/{id}")).await;
        assert_eq!((read.status, read.server()), (200, owner.address().as_str()), "{read:?}");
        assert_eq!(stranger.request("GET", &format!("/pty/{id}")).send().await.unwrap().status(), 404);
        let listed = daemon.get("/pty").await.text();
        assert!(listed.contains(&id), "{listed}");

        let token = daemon.request("POST", &format!("/pty/{id}/connect-token"));
        let token = daemon.send(token.header("x-opencode-ticket", "1")).await;
        assert_eq!(token.status, 200, "{token:?}");
        let ticket = token.json()["ticket"].as_str().unwrap().to_owned();
        let address = format!("ws://{}/pty/{id}/connect?ticket={ticket}", daemon.address());
        let (mut socket, _) = patiently("the terminal", connect_async(address)).await.unwrap();
        assert_echoes(&mut socket).await;

        let removed = daemon.delete(&format!("/pty/{id}")).await;
        assert_eq!((removed.status, removed.server()), (200, owner.address().as_str()), "{removed:?}");
        patiently("the end of the connection", async {
            while let Some(Ok(message)) = socket.next().await {
                if message.is_close() {
                    return;
                }
            }
        })
        .await;
        eventually("the terminal being gone", || async {
            let status = owner.request("GET", &format!("/pty/{id}")).send().await.unwrap().status();
            if status == 404 { Ok(()) } else { Err(status) }
        })
        .await;
    }
}

/// A page that knows the token opens a terminal as it would at a server with a password: its socket can set no headers
/// and shows the ticket alone.
#[tokio::test]
async fn a_ticket_that_was_given_for_the_token_opens_a_terminal_once() {
    let shared = shared().await;
    let token = "0123456789abcdef0123456789abcdef";
    let daemon = Daemon::builder().servers(shared.urls()).env("POINTSMAN_TOKEN", token).start_unready().await;
    for terminals in ["/pty", "/api/pty"] {
        let ask = async |path: &str, body: serde_json::Value| -> Answer {
            let request = daemon.request("POST", path).bearer_auth(token).header("x-opencode-ticket", "1");
            daemon.send(request.json(&body)).await
        };
        let shell = json!({"command": "/bin/bash", "args": ["--norc"]});
        let created = ask(terminals, shell).await.json();
        let id = created.pointer("/id").or(created.pointer("/data/id")).unwrap().as_str().unwrap().to_owned();
        let given = ask(&format!("{terminals}/{id}/connect-token"), json!({})).await;
        assert_eq!(given.status, 200, "{given:?}");
        let given = given.json();
        let ticket = given.pointer("/ticket").or(given.pointer("/data/ticket")).unwrap().as_str().unwrap();
        let open = async |ticket: &str| {
            let address = format!("ws://{}{terminals}/{id}/connect?ticket={ticket}", daemon.address());
            patiently("an answer", connect_async(address))
                .await
                .map(|(socket, _)| socket)
                .map_err(|error| error.to_string())
        };
        let refused = open("00000000-0000-4000-8000-000000000000").await.unwrap_err();
        assert!(refused.contains("401"), "{refused}");
        assert_echoes(&mut open(ticket).await.unwrap()).await;
        let refused = open(ticket).await.unwrap_err();
        assert!(refused.contains("401"), "{refused}");
        ask_to_remove(&daemon, &format!("{terminals}/{id}"), token).await;
    }
}

/// Types into a shell and reads what it makes of it.
async fn assert_echoes(socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>) {
    // The sum is computed there: what is typed is echoed as well, and must not pass for output.
    socket.send(Message::text("echo hi $((40 + 2))\n")).await.unwrap();
    let mut shown = String::new();
    patiently("the terminal's output", async {
        while !shown.contains("hi 42") {
            match socket.next().await.expect("the terminal stays open").unwrap() {
                Message::Text(text) => shown.push_str(&text),
                Message::Binary(bytes) => shown.push_str(&String::from_utf8_lossy(&bytes)),
                _ => {}
            }
        }
    })
    .await;
}

async fn ask_to_remove(daemon: &Daemon, terminal: &str, token: &str) {
    let removed = daemon.send(daemon.request("DELETE", terminal).bearer_auth(token)).await;
    assert!(removed.status < 300, "{removed:?}");
}
