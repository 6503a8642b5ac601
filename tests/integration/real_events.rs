//! The merged stream of all servers is the sum of their own streams, each session's events in its server's order.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::{
    daemon::Daemon,
    opencode::{OpenCode, prompt, shared},
    sse::{EventStream, Received},
};

#[tokio::test]
async fn the_merged_stream_holds_what_both_servers_told_while_both_ran_a_turn() {
    let shared = shared().await;
    let daemon = Daemon::start(shared.urls()).await;
    tokio::join!(daemon.hears(&shared.lower), daemon.hears(&shared.higher));
    let mut merged = daemon.events("/global/event").await;
    let (mut lower, mut higher) = tokio::join!(shared.lower.global_events(), shared.higher.global_events());
    // A title of its own: none is generated later, so the turn's last event is its last.
    let session = |server: &'static OpenCode| async {
        let created = server.post("/session", &json!({"title": "told twice"})).await;
        created["id"].as_str().unwrap().to_owned()
    };
    let (one, two) = (session(&shared.lower).await, session(&shared.higher).await);

    let turn = |server: &'static OpenCode, session: String| async move {
        let text = prompt(&format!("SLOW told-twice {session}"));
        let answer = server.request("POST", &format!("/session/{session}/prompt_async")).json(&text);
        assert_eq!(answer.send().await.unwrap().status(), 204);
        shared.store.model.wait_for(&session).await;
    };
    tokio::join!(turn(&shared.lower, one.clone()), turn(&shared.higher, two.clone()));
    // Both stream at the same time, until each has told a few deltas.
    for (stream, session) in [(&mut lower, &one), (&mut higher, &two)] {
        for _ in 0..5 {
            stream.expect(|event| event.kind() == "message.part.delta" && event.session() == session).await;
        }
    }
    for session in [&one, &two] {
        shared.store.model.release(session);
    }
    let ends =
        [the_end(&mut lower, &shared.lower, &one).await, the_end(&mut higher, &shared.higher, &two).await];
    for end in &ends {
        let is_end = |event: &Received| event.kind() == "session.created" && event.session() == end;
        // The other server's end may have come with the first.
        if !merged.seen().iter().any(is_end) {
            merged.expect(is_end).await;
        }
    }

    for (session, stream, end) in [(&one, &lower, &ends[0]), (&two, &higher, &ends[1])] {
        let told = about(session, end, stream.seen());
        let passed_on = about(session, end, merged.seen());
        assert!(told.len() > 20, "{told:#?}");
        assert_eq!(told, passed_on, "of {session}, in this order");
    }
    // Of all that comes with an id, nothing came twice. A `sync` twin has the id of its event.
    let mut times: BTreeMap<(String, String), usize> = BTreeMap::new();
    for event in merged.seen() {
        if let Some(id) = event.event()["id"].as_str() {
            *times.entry((id.to_owned(), event.kind().to_owned())).or_default() += 1;
        }
    }
    times.retain(|_, count| *count > 1);
    assert_eq!(times, BTreeMap::new());
    assert_eq!(merged.seen()[0].kind(), "server.connected");
    let connected = merged.seen().iter().filter(|event| event.kind() == "server.connected").count();
    assert_eq!(connected, 1, "one of our own, and none of the servers'");
}

#[tokio::test]
async fn the_stream_of_a_directory_holds_its_servers_events_in_their_bare_form() {
    let shared = shared().await;
    let daemon = Daemon::start(shared.urls()).await;
    let path = format!("/event?directory={}", shared.project.display());
    tokio::join!(daemon.hears(&shared.lower), daemon.hears(&shared.higher));
    for (owner, _) in shared.both_ways() {
        let mut direct = owner.events().await;
        let mut merged = daemon.events(&path).await;
        assert_eq!(merged.next().await.kind(), "server.connected");
        let created = owner.post("/session", &json!({"title": "told bare"})).await;
        let session = created["id"].as_str().unwrap().to_owned();
        owner.prompt(&session, "hello").await;
        let end = the_end(&mut direct, owner, &session).await;
        merged.expect(|event| event.kind() == "session.created" && event.session() == end).await;
        let told = about(&session, &end, direct.seen());
        let passed_on = about(&session, &end, merged.seen());
        assert!(told.len() > 10, "{told:#?}");
        assert_eq!(told, passed_on);
    }
}

/// Waits for the end of the turn, and then for an event behind it: a session made for the purpose.
async fn the_end(stream: &mut EventStream, server: &OpenCode, session: &str) -> String {
    stream.expect(|event| event.kind() == "session.idle" && event.session() == session).await;
    server.wait_until_idle(session).await;
    let end = server.create_session().await;
    stream.expect(|event| event.kind() == "session.created" && event.session() == end).await;
    end
}

/// What a stream told of a session before `end` was created, `sync` twins included, as it was written.
fn about(session: &str, end: &str, events: &[Received]) -> Vec<String> {
    events
        .iter()
        .take_while(|event| !(event.kind() == "session.created" && event.session() == end))
        // Events of our own say who owns the session.
        .filter(|event| !event.kind().starts_with("pointsman."))
        .map(|event| event.data.to_string())
        .filter(|text| text.contains(session))
        .collect()
}
