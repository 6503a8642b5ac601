//! Which processes of OpenCode the plugin speaks for, and which screens count for which server.

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{
    daemon::Daemon,
    eventually::{eventually, patiently},
    opencode::{OpenCode, Store},
    screen::Screen,
};

/// Somebody who listens where a pointsman is said to be.
async fn listening(store: &Store) -> TcpListener {
    use std::os::unix::fs::PermissionsExt as _;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let file = store.directory("state").join("registration.json");
    let registration = json!({"protocol": 1, "url": url, "secret": "ab".repeat(32)});
    std::fs::write(&file, registration.to_string()).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    store.install_plugin_for_runs(file.parent().unwrap()).await;
    listener
}

#[tokio::test]
async fn commands_without_a_screen_ask_for_nobody() {
    let store = Store::new().await;
    let directories = [store.project("one"), store.project("two"), store.project("three")];
    let session = {
        let server = OpenCode::start(&store, &directories[0]).await;
        for directory in &directories {
            server.get(&format!("/path?directory={}", directory.display())).await;
        }
        server.create_session().await
    };
    let listener = listening(&store).await;
    for arguments in [&["models"][..], &["session", "list"], &["mcp", "list"], &["export", &session]] {
        store.run(&directories[0], arguments).await;
    }
    let nobody = tokio::time::timeout(std::time::Duration::ZERO, listener.accept()).await;
    assert!(nobody.is_err(), "somebody asked");
    // The control: a terminal does.
    let _screen = Screen::opencode(&store, &directories[0], &[]).await;
    patiently("a terminal asking", listener.accept()).await.unwrap();
}

#[tokio::test]
async fn a_terminal_attached_to_pointsman_is_present_and_owns_nothing() {
    let store = Store::new().await;
    let project = store.project("shop");
    let first = OpenCode::start(&store, &project).await;
    let second = OpenCode::start(&store, &project).await;
    let daemon = Daemon::start([first.url(), second.url()]).await;
    store.install_plugin(&daemon.state_directory()).await;
    for server in [&first, &second] {
        daemon.hears(server).await;
    }
    for owner in [&first, &second] {
        let session = owner.create_session().await;
        owner.prompt(&session, "hello").await;
        owned(&daemon, &session, owner, "emitted").await;
        let screen = Screen::opencode_attached(&store, &project, daemon.url(), &session, "hello").await;
        let viewers = viewed(&daemon, &session, &screen).await;
        assert_eq!(viewers.as_array().map(Vec::len), Some(1), "{viewers}");
        let known = daemon.explain(&session).await;
        assert_eq!((&known["ownerPort"], &known["evidence"]), (&json!(owner.port()), &json!("emitted")));
    }

    // Attached to a server itself, its screen is that server's.
    let session = second.create_session().await;
    second.prompt(&session, "whose").await;
    owned(&daemon, &session, &second, "emitted").await;
    let screen = Screen::opencode_attached(&store, &project, &first.url(), &session, "whose").await;
    viewed(&daemon, &session, &screen).await;
    owned(&daemon, &session, &first, "viewing").await;
}

/// Waits until the screen is known to show the session; gives all that do.
async fn viewed(daemon: &Daemon, session: &str, screen: &Screen) -> Value {
    eventually("the screen being known", || async {
        let known = daemon.explain(session).await;
        let viewers = known["viewers"].as_array();
        let ours = viewers.is_some_and(|viewers| viewers.iter().any(|viewer| viewer["pid"] == screen.pid()));
        if ours { Ok(known["viewers"].clone()) } else { Err(known) }
    })
    .await
}

/// Waits until a server owns a session by this evidence.
async fn owned(daemon: &Daemon, session: &str, owner: &OpenCode, evidence: &str) {
    eventually("the owner", || async {
        let known = daemon.explain(session).await;
        let so = known["ownerPort"] == owner.port() && known["evidence"] == evidence;
        if so { Ok(()) } else { Err(known) }
    })
    .await;
}
