//! Real servers are found without being named, told apart, and let go: on a machine of the test's own.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{
    daemon::Daemon,
    eventually::eventually,
    fake::VERSION,
    isolation::isolated,
    opencode::{OpenCode, Store, prompt},
    ports::free_port,
    screen::Screen,
};

/// How soon a server must be listed once it has answered for the first time. Alone it takes one look, half a second; how
/// long looks are apart is tested with a clock of our own. This allows for a machine as busy as it may be.
const FOUND: Duration = Duration::from_secs(10);

#[test]
fn servers_are_found_by_the_next_looks_and_told_apart_by_process_and_store() {
    isolated(async || {
        let store = Store::new().await;
        let other_home = store.another().await;
        let [one, two, three] = [store.project("one"), store.project("two"), other_home.project("three")];
        let daemon = Daemon::builder().scanning().start().await;
        assert!(daemon.servers().await.is_empty());

        let mut first = OpenCode::start(&store, &one).await;
        let found = soon_listed(&daemon, &first).await;
        assert_eq!(found["kind"], "serve");
        assert_eq!(found["version"], VERSION);
        assert_eq!(found["url"], first.url());
        assert_eq!(found["sources"], json!(["socket"]));
        let second = OpenCode::start(&store, &two).await;
        soon_listed(&daemon, &second).await;
        let third = OpenCode::start(&other_home, &three).await;
        soon_listed(&daemon, &third).await;

        // Known a moment later: where it stands, once it was asked.
        let introduced = |server: &OpenCode| {
            let (port, directory) = (server.port(), server.directory().display().to_string());
            let daemon = &daemon;
            async move {
                eventually("a server's directory and project", || async {
                    let listed = listed(daemon, port).await.unwrap_or_default();
                    let known = listed["directory"] == *directory && listed["project"].is_string();
                    if known { Ok(listed) } else { Err(listed) }
                })
                .await
            }
        };
        let (known_first, known_second) = (introduced(&first).await, introduced(&second).await);
        let known_third = introduced(&third).await;
        assert_eq!(known_first["worktree"], *one.display().to_string());
        assert_ne!(known_first["project"], known_second["project"]);
        assert!(known_first["store"].is_string());
        assert_eq!(known_first["store"], known_second["store"], "one home, one store");
        assert_ne!(known_first["store"], known_third["store"], "another home, another store");

        // A session stays findable by its own store's servers alone.
        let session = third.create_session().await;
        let read = daemon.get(&format!("/session/{session}")).await;
        assert_eq!((read.status, read.server()), (200, third.address().as_str()), "{read:?}");

        let before = (known_first["id"].clone(), known_first["pid"].clone());
        first.kill9().await;
        let again = OpenCode::builder(&store, &one).port(first.port()).start().await;
        let found = soon_listed(&daemon, &again).await;
        assert_ne!((found["id"].clone(), found["pid"].clone()), before, "the same port, another server");
        assert_eq!(daemon.servers().await.len(), 3);
    });
}

#[test]
fn a_terminal_with_a_port_is_a_server_and_one_without_is_listed_as_unreachable() {
    isolated(async || {
        let store = Store::new().await;
        let [with, without] = [store.project("with"), store.project("without")];
        let daemon = Daemon::builder().scanning().start().await;
        let port = free_port();
        let flag = port.to_string();
        let reachable = Screen::opencode(&store, &with, &["--port", &flag]).await;
        let found = eventually("the terminal being up", || async {
            let found = listed(&daemon, port).await.unwrap_or_default();
            let known = found["state"] == "up" && found["directory"].is_string();
            if known { Ok(found) } else { Err(found) }
        })
        .await;
        assert_eq!(found["kind"], "tui");
        assert_eq!(found["pid"], reachable.pid());
        assert_eq!(found["directory"], *with.display().to_string());

        let plain = Screen::opencode(&store, &without, &[]).await;
        let all = daemon.get("/servers?unreachable=true").await.json();
        let unreachable: Vec<_> =
            all.as_array().unwrap().iter().filter(|server| server["state"] == "unreachable").collect();
        assert_eq!(unreachable.len(), 1, "{all}");
        let unreachable = unreachable[0];
        assert_eq!(unreachable["pid"], plain.pid());
        assert_eq!(unreachable["kind"], "tui");
        assert_eq!(unreachable["directory"], *without.display().to_string());
        assert_eq!(unreachable["store"], found["store"], "both have the same database open");
        assert!(unreachable["hint"].as_str().is_some_and(|hint| hint.contains("port")), "{unreachable}");
        assert_eq!(daemon.servers().await.len(), 1, "only those that can be reached, unless asked for");

        // What a person types on the screen is known to run there.
        reachable.submit("SLOW on the screen").await;
        store.model.wait_for("SLOW on the screen").await;
        let busy = daemon.wait_for_answer("/session/status", |answer| answer.text().contains("busy")).await;
        let session = busy.json().as_object().unwrap().keys().next().unwrap().clone();
        let aborted = daemon.post(&format!("/session/{session}/abort"), &json!({})).await;
        assert_eq!((aborted.text().as_str(), aborted.server()), ("true", &*format!("127.0.0.1:{port}")));
        store.model.wait_until_idle().await;
    });
}

#[test]
fn a_server_with_a_password_is_locked_until_its_password_is_configured() {
    isolated(async || {
        let store = Store::new().await;
        let project = store.project("project");
        let server = OpenCode::builder(&store, &project).password("a secret").start().await;
        let session = server.create_session().await;

        let keyless = Daemon::builder().scanning().start().await;
        let found = eventually("the locked server", || async {
            listed(&keyless, server.port()).await.ok_or("not listed")
        })
        .await;
        assert_eq!(found["state"], "locked");
        let turn = keyless.post(&format!("/session/{session}/message"), &prompt("hello")).await;
        assert_ne!(turn.status, 200, "{turn:?}");
        drop(keyless);

        let configuration = "[credentials]\npassword = \"a secret\"\n";
        let daemon = Daemon::builder().scanning().config(configuration).start().await;
        daemon.wait_for_servers(1).await;
        let turn = daemon.post(&format!("/session/{session}/message"), &prompt("hello")).await;
        assert_eq!(turn.status, 200, "{turn:?}");
        assert_eq!(turn.json()["info"]["finish"], "stop");
        assert!(!daemon.log().contains("a secret"), "secrets are never logged");
    });
}

/// Waits for a server that has just answered; fails the test when that takes too long.
async fn soon_listed(daemon: &Daemon, server: &OpenCode) -> Value {
    let answered = Instant::now();
    let found = eventually("the new server being up", || async {
        let found = listed(daemon, server.port()).await.unwrap_or_default();
        let here = found["pid"] == server.pid() && found["state"] == "up";
        if here { Ok(found) } else { Err(daemon.servers().await) }
    })
    .await;
    assert!(answered.elapsed() < FOUND, "{:?}", answered.elapsed());
    found
}

async fn listed(daemon: &Daemon, port: u16) -> Option<Value> {
    daemon.servers().await.into_iter().find(|server| server["port"] == port)
}
