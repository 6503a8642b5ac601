//! A terminal of a real server, opened, typed into and closed through pointsman.

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio_tungstenite::{connect_async, tungstenite::Message};

use crate::support::{
    daemon::Daemon,
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
