//! The merged stream of the second interface is the sum of the servers' own, while both run turns of it.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    daemon::Daemon,
    opencode::{OpenCode, Store},
    sse::{EventStream, Received},
};

#[tokio::test]
async fn the_merged_stream_of_the_second_interface_holds_what_both_servers_told() {
    let store = Store::new().await;
    let project = store.project("project");
    let (one, two) = tokio::join!(OpenCode::start(&store, &project), OpenCode::start(&store, &project));
    let daemon = Daemon::start([one.url(), two.url()]).await;
    tokio::join!(daemon.hears(&one), daemon.hears(&two));

    let mut merged = daemon.events("/api/event?attention=all").await;
    assert_eq!(merged.next().await.kind(), "server.connected");
    let mut told = Vec::new();
    for server in [&one, &two] {
        let mut direct = EventStream::open_with(server.request("GET", "/api/event")).await;
        assert_eq!(direct.next().await.kind(), "server.connected");
        // A server greets some milliseconds before it listens to itself.
        mark(server, &mut [&mut direct, &mut merged]).await;

        let created = server.post("/api/session", &json!({})).await;
        let session = created["data"]["id"].as_str().unwrap().to_owned();
        let path = format!("/api/session/{session}/prompt");
        server.post(&path, &json!({"prompt": {"text": format!("hello {session}")}})).await;
        let stopped = |event: &Received| {
            event.kind() == "session.next.step.ended"
                && event.session() == session
                && event.properties()["finish"] == "stop"
        };
        direct.expect(stopped).await;
        mark(server, &mut [&mut direct, &mut merged]).await;
        told.push((session, direct));
    }
    for (session, direct) in &told {
        let (told, passed_on) = (about(session, direct.seen()), about(session, merged.seen()));
        assert!(told.iter().any(|text| text.contains("session.next.text.delta")), "{told:#?}");
        assert_eq!(told, passed_on, "of {session}, in this order");
    }
    let greetings = merged.seen().iter().filter(|event| event.kind() == "server.connected").count();
    assert_eq!(greetings, 1, "one of our own, and none of the servers'");
}

/// Makes sessions until all of these streams have told of the latest one.
async fn mark(server: &OpenCode, streams: &mut [&mut EventStream]) {
    'again: loop {
        let session = server.create_session().await;
        let created = |event: &Received| event.kind() == "session.created" && event.session() == session;
        for stream in &mut *streams {
            if !stream.hears_within(Duration::from_secs(1), created).await {
                continue 'again;
            }
        }
        return;
    }
}

/// What a stream told of a session, as it was written.
fn about(session: &str, events: &[Received]) -> Vec<String> {
    events.iter().map(|event| event.data.to_string()).filter(|text| text.contains(session)).collect()
}
