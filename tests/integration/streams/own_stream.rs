//! `/events`: our own stream, for clients that say what they want to hear of.

use serde_json::{Value, json};

use crate::support::{
    daemon::Daemon,
    sse::{EventStream, Received},
    town::Pair,
};

async fn listen(daemon: &Daemon, query: &[(&str, &str)]) -> EventStream {
    EventStream::open_with(daemon.request("GET", "/events").query(query)).await
}

/// Every type told before the marker, from each of the streams.
async fn kinds(stream: &mut EventStream) -> Vec<String> {
    stream
        .expect(|event| event.kind() == "session.created" && event.properties()["info"]["title"] == "marker")
        .await;
    stream.seen().iter().map(|event| event.kind().to_owned()).collect()
}

#[tokio::test]
async fn it_begins_by_saying_who_is_there_and_where_it_stands() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut stream = listen(&daemon, &[]).await;
    let hello = stream.next().await;
    assert_eq!(hello.kind(), "pointsman.hello");
    let told = hello.properties();
    assert_eq!(told["cursor"], hello.id);
    assert_eq!(told["resume"], Value::Null);
    let known = daemon.servers().await;
    let servers = told["servers"].as_array().unwrap();
    assert_eq!(servers.len(), 2);
    for (server, known) in servers.iter().zip(&known) {
        for key in ["id", "url", "directory", "state"] {
            assert_eq!(server[key], known[key], "{key}");
        }
    }
    let again = daemon.request("GET", "/events").header("last-event-id", &hello.id);
    assert_eq!(EventStream::open_with(again).await.next().await.properties()["resume"], "ok");
}

#[tokio::test]
async fn each_event_says_which_server_emitted_it_and_which_id_it_has() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut stream = listen(&daemon, &[]).await;
    let mut global = daemon.events("/global/event").await;
    let session = pair.low.create_session().id;
    let is = |event: &Received| event.kind() == "session.created";
    let (own, official) = (stream.expect(is).await, global.expect(is).await);
    let low = daemon.servers().await.into_iter().find(|server| server["port"] == pair.low.port()).unwrap();
    assert_eq!(own.data["server"], low["id"]);
    assert_eq!((&own.data["id"], &own.id), (&json!(own.id), &official.id));
    assert_eq!(own.session(), session);
    for key in ["directory", "project", "payload"] {
        assert_eq!(own.data[key], official.data[key], "{key}");
    }
}

#[tokio::test]
async fn filters_narrow_turns_and_leave_what_happens_to_sessions() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let (one, two) = (pair.low.create_session().id, pair.high.create_session().id);
    daemon.wait_for_owner(&one, &pair.low, "emitted").await;
    daemon.wait_for_owner(&two, &pair.high, "emitted").await;
    let low = pair.low.port().to_string();
    let both = format!("{one},{two}");
    let mut streams = [
        listen(&daemon, &[("session", &one)]).await,
        listen(&daemon, &[("session", &both), ("type", "message.part.*,session.idle")]).await,
        listen(&daemon, &[("server", &low), ("lifecycle", "false"), ("type", "message.*")]).await,
        listen(&daemon, &[("directory", "/elsewhere")]).await,
    ];
    let mut witness = daemon.events("/global/event").await;
    for (server, session) in [(&pair.low, &one), (&pair.high, &two)] {
        server.begin_turn(session, "SLOW");
        server.delta(session, "text");
        server.finish(session);
        witness.expect(|event| event.kind() == "session.updated" && event.session() == session).await;
        witness.expect(|event| event.kind() == "session.idle" && event.session() == session).await;
        witness.expect(|event| event.kind() == "session.updated" && event.session() == session).await;
    }
    for server in [&pair.low, &pair.high] {
        server.emit(&pair.directory, "tui.toast.show", json!({}));
        server.emit(&pair.directory, "test.aside", json!({}));
        // What ends a server's events for all of them: without a lifecycle, a message of its own.
        let id = format!("ses_marker{}", server.port());
        let info = json!({"id": id, "title": "marker"});
        server.emit(&pair.directory, "session.created", json!({"sessionID": id, "info": info}));
        server.emit(&pair.directory, "message.marker", json!({"sessionID": id}));
    }
    let [of_one, of_types, of_low, nowhere] = &mut streams;

    let sessions = |stream: &EventStream, kind: &str| -> Vec<String> {
        stream
            .seen()
            .iter()
            .filter(|event| event.kind() == kind)
            .map(|event| event.session().to_owned())
            .collect()
    };
    for _ in 0..2 {
        kinds(of_one).await;
        kinds(of_types).await;
        kinds(nowhere).await;
    }
    assert!(sessions(of_one, "message.part.delta").iter().all(|session| *session == one));
    assert_eq!(sessions(of_one, "session.idle"), std::slice::from_ref(&one));
    assert!(sessions(of_one, "session.updated").contains(&two), "its title may have changed");
    for aside in ["test.aside", "tui.toast.show", "sync"] {
        assert!(sessions(of_one, aside).is_empty(), "{aside}");
    }
    let mut idle = sessions(of_types, "session.idle");
    idle.sort();
    let mut expected = [one.clone(), two.clone()];
    expected.sort();
    assert_eq!(idle, expected);
    assert!(!sessions(of_types, "message.part.delta").is_empty());
    assert!(sessions(of_types, "message.updated").is_empty());
    assert!(
        nowhere
            .seen()
            .iter()
            .all(|event| event.kind().starts_with("session.") || event.kind().starts_with("pointsman."))
    );
    assert!(sessions(nowhere, "session.idle").is_empty());

    of_low.expect_kind("message.marker").await;
    let kinds: Vec<&str> = of_low.seen()[1..].iter().map(Received::kind).collect();
    assert!(kinds.iter().all(|kind| kind.starts_with("message.")), "{kinds:?}");
    let foreign = of_low.seen().iter().filter(|event| event.session() == two);
    assert_eq!(foreign.count(), 0);
}

#[tokio::test]
async fn what_moves_a_screen_comes_to_who_asks_for_it_by_name() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut asked = listen(&daemon, &[("type", "tui.*")]).await;
    pair.low.emit(&pair.directory, "tui.toast.show", json!({"n": 1}));
    assert_eq!(asked.expect_kind("tui.toast.show").await.properties()["n"], 1);
}

#[tokio::test]
async fn a_wish_that_makes_no_sense_is_refused_by_name() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for (query, status, name) in [
        ("session=msg_1", 400, "BadRequest"),
        ("type=a%20b", 400, "BadRequest"),
        ("lifecycle=maybe", 400, "BadRequest"),
        ("server=srv_none", 404, "ServerUnknownError"),
    ] {
        let answer = daemon.get(&format!("/events?{query}")).await;
        assert_eq!((answer.status, answer.header("x-pointsman-error")), (status, name), "{query}");
    }
    assert_eq!(daemon.post("/events", &json!({})).await.status, 405);
}
