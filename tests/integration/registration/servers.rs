//! A registered process is one server, whoever told of it first, and for as long as it lives.

use serde_json::{Value, json};

use crate::support::{
    daemon::Daemon,
    eventually::eventually,
    fake::{FakeServer, FakeStore, Invocation},
    isolation::isolated,
    plugin::{Plugin, terminal},
    town::prompt,
};

async fn only_server(daemon: &Daemon, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    eventually(what, || async {
        let servers = daemon.servers().await;
        match servers.as_slice() {
            [server] if is(server) => Ok(server.clone()),
            _ => Err(servers),
        }
    })
    .await
}

fn sources(server: &Value) -> Vec<String> {
    let mut sources: Vec<String> = serde_json::from_value(server["sources"].clone()).unwrap();
    sources.sort();
    sources
}

#[tokio::test]
async fn a_terminal_without_a_port_is_a_server_once_it_has_registered() {
    let store = FakeStore::new();
    let directory = store.directory("a");
    let fake = terminal(&store, &directory, "its").await;
    let daemon = Daemon::builder().start_unready().await;
    let mut plugin = Plugin::of_terminal(&fake, "its");
    plugin.register(&daemon).await;
    let server = only_server(&daemon, "the terminal", |server| server["state"] == "up").await;
    assert_eq!(server["id"], plugin.id());
    assert_eq!((&server["kind"], &server["pid"]), (&json!("tui"), &json!(fake.pid())));
    assert_eq!((sources(&server), &server["directory"]), (vec!["registration".into()], &json!(directory)));
    fake.wait_for_streams(1).await;
    let session = fake.create_session().id;
    daemon.wait_for_owner(&session, &fake, "emitted").await;
    let turn = daemon.turn(&session, "hello").await;
    assert_eq!((turn.status, turn.fake()), (200, &*fake.address()));
    // It says goodbye, and its listener is nobody's any more although it still listens.
    assert_eq!(plugin.farewell(&daemon).await.status, 204);
    eventually("no server", || async {
        let servers = daemon.servers().await;
        if servers.is_empty() { Ok(()) } else { Err(servers) }
    })
    .await;
}

#[tokio::test]
async fn a_terminal_that_dies_is_out_without_a_goodbye_and_its_registration_with_it() {
    let store = FakeStore::new();
    let fake = terminal(&store, &store.directory("a"), "its").await;
    let daemon = Daemon::builder().start_unready().await;
    let mut plugin = Plugin::of_terminal(&fake, "its").with("viewing", "ses_shown0000");
    plugin.register(&daemon).await;
    fake.wait_for_streams(1).await;
    let mut events = daemon.events("/global/event").await;
    events.next().await;
    fake.kill().await;
    events.expect_kind("pointsman.server.down").await;
    let left = events.expect_kind("pointsman.session.viewed").await;
    assert_eq!((&left.properties()["viewing"], left.session()), (&json!(false), "ses_shown0000"));
    assert_eq!(plugin.beat(&daemon, &json!({})).await.status, 404);
}

#[tokio::test]
async fn a_new_listener_of_the_same_instance_takes_the_place_of_the_old_one() {
    let store = FakeStore::new();
    let directory = store.directory("a");
    let daemon = Daemon::builder().start_unready().await;
    let (old, new) = (terminal(&store, &directory, "one").await, terminal(&store, &directory, "two").await);
    let mut plugin = Plugin::of_terminal(&old, "one");
    plugin.register(&daemon).await;
    let mut plugin = plugin.with("url", new.url()).with("pid", new.pid()).with("token", "two");
    assert_eq!(plugin.register(&daemon).await, 200);
    let server = only_server(&daemon, "the new listener alone", |server| server["port"] == new.port()).await;
    assert_eq!(server["id"], plugin.id());
}

#[tokio::test]
async fn a_new_token_of_the_same_listener_is_told_from_then_on() {
    let store = FakeStore::new();
    let fake = terminal(&store, &store.directory("a"), "its").await;
    let daemon = Daemon::builder().start_unready().await;
    let mut first = Plugin::of_terminal(&fake, "its");
    first.register(&daemon).await;
    fake.wait_for_streams(1).await;
    assert_eq!(daemon.get("/config").await.status, 200);
    fake.change_bearer("another");
    let mut second = Plugin::of_terminal(&fake, "another");
    assert_eq!(second.register(&daemon).await, 201);
    assert_eq!(second.id(), first.id());
    eventually("the new token being told", || async {
        let answer = daemon.get("/config").await;
        if answer.status == 200 { Ok(()) } else { Err(answer) }
    })
    .await;
    let streams = |token: &str| {
        let told = format!("Bearer {token}");
        fake.requests_to("GET /global/event")
            .iter()
            .filter(|seen| seen.headers["authorization"] == *told)
            .count()
    };
    fake.wait_for(|request| {
        request.is("GET /global/event") && request.headers["authorization"] == "Bearer another"
    })
    .await;
    assert!(streams("its") >= 1);
}

#[tokio::test]
async fn a_configured_server_that_registers_stays_one_and_a_goodbye_leaves_it() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = Daemon::start([fake.url()]).await;
    let before = daemon.servers().await;
    let mut plugin = Plugin::of_server(&fake, "serve");
    assert_eq!(plugin.register(&daemon).await, 201);
    assert_eq!(plugin.id(), before[0]["id"]);
    let both = vec!["configured".to_owned(), "registration".to_owned()];
    only_server(&daemon, "both sources", |server| sources(server) == both).await;
    assert_eq!(plugin.farewell(&daemon).await.status, 204);
    let after = only_server(&daemon, "one source", |server| sources(server) == ["configured"]).await;
    assert_eq!((&after["id"], &after["state"]), (&before[0]["id"], &json!("up")));
}

#[test]
fn a_listener_that_a_scan_saw_first_is_one_server_once_it_has_registered() {
    isolated(async || {
        let store = FakeStore::new();
        let fake = terminal(&store, &store.directory("a"), "its").await;
        let daemon = Daemon::builder().scanning().start().await;
        fake.wait_for_request("GET /global/health").await;
        assert!(daemon.servers().await.is_empty(), "it waits for its registration");
        let mut plugin = Plugin::of_terminal(&fake, "its");
        plugin.register(&daemon).await;
        let both = vec!["registration".to_owned(), "socket".to_owned()];
        let up = |server: &Value| server["state"] == "up" && sources(server) == both;
        let server = only_server(&daemon, "one server", up).await;
        assert_eq!(server["id"], plugin.id());
        fake.wait_for_streams(1).await;
    });
}

#[test]
fn a_listener_with_a_password_that_a_scan_listed_as_locked_is_unlocked_by_its_registration() {
    isolated(async || {
        let store = FakeStore::new();
        let directory = store.directory("a");
        let builder = FakeServer::builder(&store, &directory).invocation(Invocation::Screen);
        let fake = builder.basic_or_bearer("its").start().await;
        let daemon = Daemon::builder().scanning().start().await;
        let locked = only_server(&daemon, "a locked server", |server| server["state"] == "locked").await;
        let mut plugin = Plugin::of_terminal(&fake, "its");
        plugin.register(&daemon).await;
        let up = only_server(&daemon, "the same, up", |server| server["state"] == "up").await;
        assert_eq!((&up["id"], &locked["id"]), (&json!(plugin.id()), &json!(plugin.id())));
        fake.wait_for_streams(1).await;
    });
}

#[test]
fn a_listener_that_registered_first_is_not_found_again_by_a_scan() {
    isolated(async || {
        let store = FakeStore::new();
        let daemon = Daemon::builder().scanning().start().await;
        let fake = terminal(&store, &store.directory("a"), "its").await;
        let mut plugin = Plugin::of_terminal(&fake, "its");
        plugin.register(&daemon).await;
        let both = vec!["registration".to_owned(), "socket".to_owned()];
        only_server(&daemon, "one server by both ways", |server| sources(server) == both).await;
        // Its listener stays open for a moment after the goodbye: that is not a server that lost its password.
        plugin.farewell(&daemon).await;
        let other = FakeServer::serve(&store, &store.directory("b")).await;
        only_server(&daemon, "another server alone", |server| server["port"] == other.port()).await;
    });
}

#[test]
fn a_terminal_with_a_port_of_its_own_is_one_server_by_whatever_name_it_registers() {
    isolated(async || {
        let store = FakeStore::new();
        let fake = FakeServer::screen(&store, &store.directory("a")).await;
        let daemon = Daemon::builder().scanning().start().await;
        let found = daemon.wait_for_servers(1).await;
        for host in ["127.0.0.1", "localhost", "0.0.0.0"] {
            let url = format!("http://{host}:{}", fake.port());
            let mut plugin = Plugin::of_server(&fake, "tui").with("url", url);
            plugin.register(&daemon).await;
            assert_eq!(plugin.id(), found[0]["id"], "{host}");
        }
        assert_eq!(daemon.servers().await.len(), 1);
    });
}

#[test]
fn a_server_whose_socket_another_user_opened_is_none_of_ours() {
    isolated(async || {
        let store = FakeStore::new();
        let fake = FakeServer::serve(&store, &store.directory("a")).await;
        let ports = format!("{0}-{0}", fake.port());
        let look = async || Daemon::builder().scanning().arg("--ports").arg(&ports).start().await;
        if fake.give_to(54_321).is_err() {
            // Only root can give a socket away. That the own one is found is checked all the same.
            look().await.wait_for_servers(1).await;
            return;
        }
        assert!(look().await.servers().await.is_empty());
        assert!(fake.requests().is_empty(), "{:?}", fake.lines());
        fake.give_to(rustix::process::geteuid().as_raw()).unwrap();
        look().await.wait_for_servers(1).await;
    });
}

#[tokio::test]
async fn after_a_restart_of_ours_who_registers_again_has_its_sessions_again() {
    let store = FakeStore::new();
    let directory = store.directory("a");
    let (one, two) = (terminal(&store, &directory, "one").await, terminal(&store, &directory, "two").await);
    let mut daemon = Daemon::builder().start_unready().await;
    let mut plugins = [Plugin::of_terminal(&one, "one"), Plugin::of_terminal(&two, "two")];
    for (plugin, fake) in plugins.iter_mut().zip([&one, &two]) {
        plugin.register(&daemon).await;
        fake.wait_for_streams(1).await;
    }
    let sessions = [one.create_session().id, two.create_session().id];
    for (session, fake) in sessions.iter().zip([&one, &two]) {
        daemon.wait_for_owner(session, fake, "emitted").await;
    }
    let ids: Vec<String> = plugins.iter().map(|plugin| plugin.id().to_owned()).collect();
    daemon.restart_unready().await;
    for (plugin, id) in plugins.iter_mut().zip(&ids) {
        assert_eq!(plugin.beat(&daemon, &json!({})).await.status, 404);
        assert_eq!(plugin.register(&daemon).await, 201);
        assert_eq!(plugin.id(), id);
    }
    for (session, fake) in sessions.iter().zip([&one, &two]) {
        let answer = daemon.post(&format!("/session/{session}/message"), &prompt("hello")).await;
        assert_eq!((answer.status, answer.fake()), (200, &*fake.address()));
    }
}

#[tokio::test]
async fn a_plugins_listener_gets_no_foreign_work_while_somebody_else_lives() {
    let store = FakeStore::new();
    let (a, b, other) = (store.directory("a"), store.directory("b"), store.directory("other"));
    let fake = terminal(&store, &a, "its").await;
    let daemon = Daemon::builder().start_unready().await;
    let mut plugin = Plugin::of_terminal(&fake, "its");
    plugin.register(&daemon).await;
    fake.wait_for_streams(1).await;
    // Alone it serves all there is.
    let page = daemon.get("/").await;
    assert_eq!(page.fake(), fake.address());
    assert_eq!(daemon.get(&format!("/config?directory={b}")).await.fake(), fake.address());
    let served = FakeServer::serve(&store, &other).await;
    let mut second = Plugin::of_server(&served, "serve");
    second.register(&daemon).await;
    served.wait_for_streams(1).await;
    for path in ["/".to_owned(), format!("/config?directory={b}")] {
        assert_eq!(daemon.get(&path).await.fake(), served.address(), "{path}");
    }
    assert_eq!(daemon.get(&format!("/config?directory={a}")).await.fake(), fake.address());
    let pty = daemon.request("POST", "/pty").query(&[("directory", &a)]).json(&json!({}));
    assert_eq!(daemon.send(pty).await.fake(), served.address());
    // One that works off a prompt is nobody's server, whoever else there is.
    let run = terminal(&store, &b, "run").await;
    let mut third = Plugin::of_terminal(&run, "run").with("kind", "run");
    third.register(&daemon).await;
    assert_eq!(daemon.get(&format!("/config?directory={b}")).await.fake(), served.address());
}
