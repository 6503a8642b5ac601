//! The merged stream of all servers is the sum of their own streams, each session's events in its server's order.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::support::{
    daemon::Daemon,
    opencode::{OpenCode, Store, shared},
    sse::{EventStream, Received},
};

#[tokio::test]
async fn the_merged_stream_is_the_union_of_three_servers_streams_while_all_ran_turns() {
    let store = Store::new().await;
    let [one, two] = [store.project("one"), store.project("two")];
    let (first, (second, third)) = (
        OpenCode::start(&store, &one).await,
        tokio::join!(OpenCode::start(&store, &one), OpenCode::start(&store, &two)),
    );
    let servers = [&first, &second, &third];
    let mut direct = Vec::new();
    for server in servers {
        direct.push(server.global_events().await);
    }
    let daemon = Daemon::start(servers.map(OpenCode::url)).await;
    for server in servers {
        daemon.hears(server).await;
    }
    let mut merged = daemon.events("/global/event?attention=all").await;
    let begins = marks(&servers).await;
    for begin in &begins {
        read_to(&mut merged, begin).await;
    }
    let after_begins = merged.seen().len();

    // A title of its own: none is generated later, so the turn's last event is its last.
    let mut sessions = Vec::new();
    for (n, server) in servers.into_iter().enumerate() {
        let created = server.post("/session", &json!({"title": format!("told by {n}")})).await;
        sessions.push(created["id"].as_str().unwrap().to_owned());
    }
    for (server, session) in servers.iter().zip(&sessions) {
        server.prompt_async(session, &format!("SLOW told-thrice {session}")).await;
    }
    // All stream at the same time, until each has told a few deltas.
    for (stream, session) in direct.iter_mut().zip(&sessions) {
        for _ in 0..5 {
            stream.expect(|event| event.kind() == "message.part.delta" && event.session() == session).await;
        }
    }
    for session in &sessions {
        store.model.release(session);
    }
    for (server, session) in servers.iter().zip(&sessions) {
        server.wait_until_idle(session).await;
    }
    // Another turn each, one of which has to ask.
    tokio::join!(
        servers[0].prompt(&sessions[0], "hello"),
        servers[1].prompt(&sessions[1], "hello"),
        ask_and_grant(&third, &mut direct[2], &sessions[2]),
    );
    let ends = marks(&servers).await;
    for (stream, end) in direct.iter_mut().zip(&ends) {
        read_to(stream, end).await;
    }
    for end in &ends {
        read_to(&mut merged, end).await;
    }

    let passed_on: Vec<String> = merged.seen().iter().filter(|event| is_a_servers(event)).map(text).collect();
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for text in &passed_on {
        *times.entry(text).or_default() += 1;
    }
    let mut told_by_any = BTreeSet::new();
    for ((stream, session), (begin, end)) in direct.iter().zip(&sessions).zip(begins.iter().zip(&ends)) {
        told_by_any.extend(stream.seen().iter().map(text));
        let told: Vec<&Received> =
            between(stream.seen(), begin, end).filter(|event| is_a_servers(event)).collect();
        assert!(told.len() > 60, "a turn is many events: {}", told.len());
        let wrong: Vec<_> =
            told.iter().map(|event| text(event)).filter(|text| times.get(&**text) != Some(&1)).collect();
        assert!(wrong.is_empty(), "missing, or told more than once: {wrong:#?}");
        let of_session = |texts: &mut dyn Iterator<Item = String>| -> Vec<String> {
            texts.filter(|text| text.contains(session.as_str())).collect()
        };
        let in_order = of_session(&mut told.iter().map(|event| text(event)));
        assert!(in_order.len() > 60, "{in_order:#?}");
        assert_eq!(in_order, of_session(&mut passed_on.iter().cloned()), "of {session}, in this order");
    }
    let made: Vec<&str> = begins.iter().chain(&sessions).chain(&ends).map(String::as_str).collect();
    let of_nobody: Vec<_> = merged.seen()[after_begins..]
        .iter()
        .filter(|event| is_a_servers(event))
        // One that was made while nobody listened yet is told once a list shows it: `hears` makes such.
        .filter(|event| event.kind() != "session.created" || made.contains(&event.session()))
        .map(text)
        .filter(|text| !told_by_any.contains(text))
        .collect();
    assert!(of_nobody.is_empty(), "no server told {of_nobody:#?}");
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

/// A session on each server, made for the purpose: what a stream tells before is before.
async fn marks(servers: &[&OpenCode]) -> Vec<String> {
    let mut marks = Vec::new();
    for server in servers {
        marks.push(server.create_session().await);
    }
    marks
}

/// Whether this is the last that comes of the making of a mark: the `sync` twin.
fn is_mark(event: &Received, mark: &str) -> bool {
    event.event()["syncEvent"]["aggregateID"] == mark
}

/// Reads on until a mark has come, if it has not yet.
async fn read_to(stream: &mut EventStream, mark: &str) {
    let is_mark = |event: &Received| is_mark(event, mark);
    if !stream.seen().iter().any(is_mark) {
        stream.expect(is_mark).await;
    }
}

fn between<'e>(events: &'e [Received], begin: &str, end: &str) -> impl Iterator<Item = &'e Received> {
    let place = |mark: &str| events.iter().position(|event| is_mark(event, mark)).unwrap();
    events[place(begin)..=place(end)].iter()
}

/// Whether an event is passed on as it is, and not our own or said to each client.
fn is_a_servers(event: &Received) -> bool {
    !event.kind().starts_with("pointsman.")
        && !matches!(event.kind(), "server.connected" | "server.heartbeat")
}

fn text(event: &Received) -> String {
    event.data.to_string()
}

/// A turn that asks for a permission, which is given.
async fn ask_and_grant(server: &OpenCode, stream: &mut EventStream, session: &str) {
    server.prompt_async(session, "ASK").await;
    let asked = stream.expect(|event| event.kind() == "permission.asked" && event.session() == session).await;
    let id = asked.properties()["id"].as_str().unwrap();
    server.post(&format!("/permission/{id}/reply"), &json!({"reply": "once"})).await;
    server.wait_until_idle(session).await;
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
