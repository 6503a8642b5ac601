//! Who has a part of a list, and what if one does not give it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    daemon::{Answer, Daemon},
    fake::{FakeServer, FakeSession, FakeStore, Fault, now_ms},
    town::{Pair, acquainted, daemon_before, start},
};

fn ids(answer: &Answer) -> Vec<String> {
    let list = answer.json();
    let list = list.get("data").cloned().unwrap_or(list);
    let rows = list.as_array().unwrap_or_else(|| panic!("no list: {answer:?}"));
    rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

/// Two stores with one server each, and one session in each.
struct Strangers {
    one: FakeServer,
    two: FakeServer,
    sessions: [String; 2],
}

impl Strangers {
    async fn start() -> Self {
        let (store, elsewhere) = (FakeStore::new(), FakeStore::new());
        let one = FakeServer::serve(&store, &store.directory("one")).await;
        let two = FakeServer::serve(&elsewhere, &elsewhere.directory("two")).await;
        let older = one.store().insert(FakeSession::created_at(one.directory(), now_ms() - 60_000));
        let sessions = [older.id, two.create_session().id];
        Self { one, two, sessions }
    }
}

#[tokio::test]
async fn lists_of_sessions_hold_those_of_all_stores_each_once() {
    let town = Strangers::start().await;
    let twin = FakeServer::serve(&town.one.store(), town.one.directory()).await;
    let daemon = daemon_before(&[&town.one, &twin, &town.two]).await;
    for path in ["/session", "/api/session", "/experimental/session"] {
        let answer = daemon.get(path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("x-pointsman-partial"), "");
        // The newer first.
        assert_eq!(ids(&answer), [town.sessions[1].clone(), town.sessions[0].clone()], "{path}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_waited_for_until_the_deadline_and_named() {
    let town = Strangers::start().await;
    let builder = Daemon::builder().env("POINTSMAN_MERGE_DEADLINE", "300ms");
    let daemon = start(builder, &[&town.one, &town.two]).await;
    acquainted(&[&town.one, &town.two]).await;
    for path in ["/session", "/api/session", "/experimental/session", "/session/status", "/permission"] {
        town.two.fault(path, Fault::Hang);
        let answer = daemon.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert!(answer.took < Duration::from_secs(5), "{path} took {:?}", answer.took);
        let partial = answer.header("x-pointsman-partial");
        assert!(partial.contains(&town.two.address()) && !partial.contains(&town.one.address()), "{partial}");
        if path.ends_with("session") {
            assert_eq!(ids(&answer), [town.sessions[0].clone()], "{path}");
        }
        town.two.lift_faults();
    }
    for server in [&town.one, &town.two] {
        server.fault("/session", Fault::Hang);
    }
    let nobody = daemon.get("/session").await;
    assert_eq!(nobody.status, 504, "{nobody:?}");
    for server in [&town.one, &town.two] {
        server.lift_faults();
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_stood_in_for_by_another_of_its_store() {
    let pair = Pair::start().await;
    let session = pair.low.create_session().id;
    let daemon = pair.daemon().await;
    for server in [&pair.low, &pair.high] {
        server.fault("/api/session", Fault::Hang);
        assert_eq!(ids(&daemon.get("/api/session").await), std::slice::from_ref(&session));
        server.lift_faults();
    }
}

#[tokio::test]
async fn a_server_that_answers_nonsense_takes_no_part() {
    let town = Strangers::start().await;
    let daemon = daemon_before(&[&town.one, &town.two]).await;
    for fault in [
        Fault::Html,
        Fault::BrokenJson,
        Fault::DropAfter(4),
        Fault::Drop,
        Fault::Answer(500, "application/json", "{\"name\":\"X\"}".into()),
        Fault::Answer(200, "application/json", "{\"data\":{}}".into()),
        Fault::Answer(200, "application/json", "[1,null,\"x\"]".into()),
    ] {
        town.two.fault("/session", fault.clone());
        let answer = daemon.get("/session").await;
        assert_eq!(answer.status, 200, "{fault:?}: {answer:?}");
        assert!(ids_of_known(&answer).contains(&town.sessions[0]), "{fault:?}: {answer:?}");
        assert!(!ids_of_known(&answer).contains(&town.sessions[1]), "{fault:?}: {answer:?}");
        town.two.lift_faults();
    }
    assert!(!daemon.log().contains("panicked"));
}

/// As `ids`, for a list that may hold rows that are none.
fn ids_of_known(answer: &Answer) -> Vec<String> {
    let list = answer.json();
    let rows = list.as_array().into_iter().flatten();
    rows.filter_map(|row| row["id"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn sessions_say_whose_they_are_unless_that_is_switched_off() {
    let pair = Pair::start().await;
    let owned = pair.high.create_session().id;
    let daemon = pair.daemon().await;
    pair.high.begin_turn(&owned, "hello");
    daemon.wait_for_owner(&owned, &pair.high, "emitted").await;
    for path in ["/session", "/api/session", "/experimental/session"] {
        let list = daemon.get(path).await.json();
        let rows = list.get("data").cloned().unwrap_or(list);
        assert_eq!(rows[0]["ownerPort"], pair.high.port(), "{path}: {rows}");
    }
    let quiet = Daemon::builder().env("POINTSMAN_OWNER_PORT", "false");
    let quiet = start(quiet, &[&pair.low, &pair.high]).await;
    let directory = [("directory", &*pair.directory)];
    let request = quiet.request("GET", "/session").query(&directory);
    let merged = quiet.send(request).await;
    let direct =
        reqwest::Client::new().get(pair.low.url() + "/session").query(&directory).send().await.unwrap();
    // One server's rows come through byte for byte.
    assert_eq!(merged.body, direct.bytes().await.unwrap());
}

#[tokio::test]
async fn what_runs_and_what_waits_is_gathered_from_every_directory_in_use() {
    let store = FakeStore::new();
    let one = FakeServer::serve(&store, &store.directory("one")).await;
    let two = FakeServer::serve(&store, &store.directory("two")).await;
    let third = store.directory("third");
    let daemon = daemon_before(&[&one, &two]).await;
    let sessions = [one.create_session().id, two.create_session_in(&third).id];
    one.begin_turn(&sessions[0], "ASK SLOW");
    two.begin_turn(&sessions[1], "QUESTION SLOW");
    daemon.wait_for_owner(&sessions[0], &one, "busy").await;
    daemon.wait_for_owner(&sessions[1], &two, "busy").await;
    let status = daemon.get("/session/status").await.json();
    let busy = json!({"type": "busy"});
    assert_eq!(status, json!({&*sessions[0]: busy, &*sessions[1]: busy}));
    let asked = |path: &'static str| daemon.wait_for_answer(path, |answer| answer.text() != "[]");
    assert_eq!(asked("/permission").await.json()[0]["sessionID"], *sessions[0]);
    assert_eq!(asked("/question").await.json()[0]["sessionID"], *sessions[1]);
    // With a directory named, that one alone.
    let here = daemon.request("GET", "/session/status").query(&[("directory", &third)]);
    assert_eq!(daemon.send(here).await.json(), json!({&*sessions[1]: busy}));
    let projects = daemon.get("/project").await.json();
    let trees: Vec<&Value> =
        projects.as_array().unwrap().iter().map(|project| &project["worktree"]).collect();
    assert!(trees.contains(&&json!(one.directory())) && trees.contains(&&json!(third)), "{trees:?}");
    one.finish(&sessions[0]);
    two.finish(&sessions[1]);
}

#[tokio::test]
async fn a_directory_that_could_not_be_opened_is_asked_about_no_more() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    fake.fault_times("GET /path", 1, Fault::Answer(500, "application/json", "{}".into()));
    let answer = daemon.get("/path?directory=%2Fa%00b").await;
    assert_eq!(answer.status, 500, "{answer:?}");
    // Whoever reads it knows what is meant; the second interface does not.
    assert_eq!(daemon.get("/path?directory=relative").await.status, 200);
    assert_eq!(daemon.get("/path?directory=%2Fopened").await.status, 200);
    let known = daemon.get("/servers").await.json();
    assert_eq!(known[0]["directories"], json!(["/opened", fake.directory()]), "{known}");
}

#[tokio::test]
async fn no_list_opens_a_directory_that_nobody_has_named() {
    let store = FakeStore::new();
    let one = FakeServer::serve(&store, &store.directory("one")).await;
    let two = FakeServer::serve(&store, &store.directory("two")).await;
    for name in ["sleeping", "asleep"] {
        store.insert_new(&store.directory(name));
    }
    let daemon = daemon_before(&[&one, &two]).await;
    for path in [
        "/session",
        "/session?limit=5",
        "/session/status",
        "/api/session?limit=5000&order=desc",
        "/api/session/active",
        "/experimental/session",
        "/permission",
        "/question",
        "/api/permission/request",
        "/api/question/request",
        "/pty",
        "/project",
        "/sessions",
        "/sessions/ids",
        "/servers",
        "/metrics",
    ] {
        let answer = daemon.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    for server in [&one, &two] {
        assert_eq!(server.opened(), [server.directory()]);
    }
}
