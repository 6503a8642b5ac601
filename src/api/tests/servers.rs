//! What `/servers` shows, and the probes.

use serde_json::json;

use super::town::{SESSION, Town};
use crate::{
    domain::{evidence::Evidence, kind::Kind},
    machine::{Process, StoreFile},
    registry::server::State,
};

#[tokio::test]
async fn a_server_is_shown_with_the_sessions_it_owns_and_no_others() {
    let town = Town::new(2);
    town.list(SESSION, "Mine", 10);
    town.list("ses_chosen", "Chosen only", 20);
    town.list("ses_newer", "Newer", 30);
    town.list("ses_other", "Somebody else's", 40);
    town.claim(0, SESSION, Evidence::Routed);
    town.claim(0, "ses_newer", Evidence::Busy);
    town.claim(0, "ses_chosen", Evidence::Chosen);
    town.claim(1, "ses_other", Evidence::Emitted);
    let servers = town.get("/servers").await;
    assert_eq!(
        servers[0],
        json!({
            "id": "14301-1", "port": 4301, "pid": 14_301, "directory": "/home/ann/shop", "directories": [],
            "worktree": null, "project": null, "version": "1.18.33", "url": "http://127.0.0.1:4301", "state": "up",
            "kind": "tui", "store": "file:1:1", "sources": ["socket"], "since": 7, "sessionCount": 2,
            "sessions": ["ses_newer", SESSION], "viewing": null
        })
    );
    assert_eq!(servers[1]["sessions"], json!(["ses_other"]));
    assert_eq!(town.get("/api/opencode/servers").await, servers);
}

#[tokio::test]
async fn a_sub_agents_session_counts_for_the_owner_of_its_parent() {
    let town = Town::new(2);
    town.list(SESSION, "Parent", 10);
    town.list_of(0, "ses_child", "Child", 20, Some(SESSION));
    town.claim(1, SESSION, Evidence::Emitted);
    let servers = town.get("/servers").await;
    assert_eq!(servers[1]["sessions"], json!(["ses_child", SESSION]));
    assert_eq!(servers[1]["sessionCount"], 2);
}

#[tokio::test]
async fn only_the_newest_thousand_sessions_are_named_and_none_on_request() {
    let town = Town::new(1);
    for number in 0..1005 {
        let session = format!("ses_{number:04}");
        town.list(&session, "One of many", number);
        town.claim(0, &session, Evidence::Routed);
    }
    let servers = town.get("/servers").await;
    let named = servers[0]["sessions"].as_array().unwrap();
    assert_eq!((servers[0]["sessionCount"].as_u64().unwrap(), named.len()), (1005, 1000));
    assert_eq!((named[0].as_str().unwrap(), named[999].as_str().unwrap()), ("ses_1004", "ses_0005"));
    let without = town.get("/servers?sessions=false").await;
    assert_eq!((&without[0]["sessionCount"], without[0].get("sessions")), (&json!(1005), None));
}

#[tokio::test]
async fn agents_without_a_port_are_shown_on_request_with_what_to_do() {
    let mut town = Town::new(1);
    town.settle(4302, 1, Kind::Serve, State::Locked);
    let agent = |pid: u32, args: &[&str]| Process {
        pid,
        parent: None,
        started: 1,
        uid: Some(1000),
        name: "opencode".into(),
        args: args.iter().map(ToString::to_string).collect(),
        cwd: Some("/home/ann/blog".into()),
        store: Some(StoreFile { device: 1, inode: 1, path: "/home/ann/opencode.db".into() }),
    };
    town.machine.start(agent(14_301, &["opencode", "--port", "4301"]));
    town.machine.start(agent(77, &["opencode"]));
    town.machine.start(agent(78, &["opencode", "attach", "http://127.0.0.1:4301"]));
    assert_eq!(town.get("/servers").await.as_array().unwrap().len(), 2);
    let servers = town.get("/servers?unreachable=true&sessions=false").await;
    let states: Vec<_> = servers.as_array().unwrap().iter().map(|server| server["state"].clone()).collect();
    assert_eq!(states, ["up", "locked", "unreachable"]);
    let unreachable = &servers[2];
    assert_eq!(
        (&unreachable["pid"], &unreachable["port"], &unreachable["directory"], &unreachable["store"]),
        (&json!(77), &json!(null), &json!("/home/ann/blog"), &json!("file:1:1"))
    );
    assert!(unreachable["hint"].as_str().unwrap().contains("--port 0"));
}

#[tokio::test]
async fn a_parameter_that_says_nothing_sensible_is_refused() {
    let town = Town::new(1);
    let (status, told) = town.refused("/servers?sessions=perhaps").await;
    assert_eq!((status, &told["name"]), (400, &json!("BadRequest")));
}

#[tokio::test]
async fn the_daemon_is_alive_at_once_and_ready_after_the_first_round() {
    let town = Town::new(0);
    town.ready.send_replace(false);
    assert_eq!(town.get("/healthz").await, "ok");
    let (status, told) = town.refused("/readyz").await;
    assert_eq!((status, &told["name"]), (503, &json!("NotReadyError")));
    town.ready.send_replace(true);
    assert_eq!(town.get("/readyz").await, "ok");
}
