//! Processes of OpenCode without a screen that make themselves known: a run, which opens no port, and those that do.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{
    daemon::Daemon,
    eventually::eventually,
    model::Model,
    opencode::{OpenCode, Store, binary, prompt},
    process::Process,
};

/// Waits until the process with this id is a server that answers; gives all servers.
async fn known(daemon: &Daemon, pid: u32) -> Vec<Value> {
    eventually("the process being known", || async {
        let servers = daemon.servers().await;
        let up = servers.iter().any(|server| server["pid"] == pid && server["state"] == "up");
        if up { Ok(servers) } else { Err(servers) }
    })
    .await
}

async fn asked(model: &Model, text: &str) {
    model.wait_for(text).await;
}

#[tokio::test]
async fn a_run_is_watched_prompted_and_aborted_while_it_lasts_and_gone_when_it_ends() {
    let store = Store::new().await;
    let project = store.project("shop");
    let daemon = Daemon::start(Vec::<String>::new()).await;
    store.install_plugin_for_runs(&daemon.state_directory()).await;
    let mut command = Command::new(binary());
    command.args(["run", "SLOW first"]).current_dir(&project).envs(store.environment());
    let mut run = Process::start("opencode run", &command);
    asked(&store.model, "SLOW first").await;

    let servers = known(&daemon, run.pid()).await;
    assert_eq!(servers.len(), 1, "{servers:?}");
    let server = &servers[0];
    assert_eq!(
        (&server["kind"], &server["sources"], &server["directory"], &server["version"]),
        (&json!("run"), &json!(["registration"]), &json!(project), &json!("1.18.33")),
    );
    let listed = daemon.get(&format!("/session?directory={}", project.display())).await.json();
    let session = listed[0]["id"].as_str().unwrap().to_owned();
    eventually("the run being busy with its session", || async {
        let known = daemon.explain(&session).await;
        let so = known["owner"] == server["id"] && known["evidence"] == "busy";
        if so { Ok(()) } else { Err(known) }
    })
    .await;

    // Its turn is told as it goes on, by the server's own stream.
    let mut events = daemon.events("/global/event").await;
    events.expect(|event| event.kind() == "message.part.delta" && event.session() == session).await;
    let sent = daemon.post(&format!("/session/{session}/prompt_async"), &prompt("SLOW second")).await;
    assert_eq!(sent.status, 204, "{sent:?}");
    assert!(server["url"].as_str().unwrap().ends_with(sent.server()), "{sent:?}");
    store.model.release("SLOW first");
    asked(&store.model, "SLOW second").await;
    let aborted = daemon.post(&format!("/session/{session}/abort"), &json!({})).await;
    assert_eq!((aborted.status, aborted.json()), (200, json!(true)));
    store.model.wait_until_hung_up("SLOW second").await;
    run.ended().await;
    eventually("the run having gone", || async {
        let servers = daemon.servers().await;
        if servers.is_empty() { Ok(()) } else { Err(servers) }
    })
    .await;
    let wrote = run.log_to_the_end().await;
    assert!(!wrote.contains("pointsman"), "{wrote}");
}

#[tokio::test]
async fn what_listens_is_known_by_its_own_address_and_once_however_many_directories_it_serves() {
    let store = Store::new().await;
    let directories = ["one", "two", "three", "four", "five"].map(|name| store.project(name));
    let daemon = Daemon::start(Vec::<String>::new()).await;
    store.install_plugin_for_runs(&daemon.state_directory()).await;
    let server = OpenCode::start(&store, &directories[0]).await;
    for directory in &directories {
        server.get(&format!("/path?directory={}", directory.display())).await;
    }
    let servers = known(&daemon, server.pid()).await;
    let [entry] = &servers[..] else { panic!("{servers:?}") };
    assert_eq!(
        (&entry["kind"], &entry["url"], &entry["directory"]),
        (&json!("serve"), &json!(server.url()), &json!(directories[0])),
    );
    // A directory that is given up takes nothing with it.
    let dispose = format!("/instance/dispose?directory={}", directories[1].display());
    assert_eq!(server.post(&dispose, &json!({})).await, json!(true));

    // It listens only after its plugins were loaded, and nobody names its port.
    let mut command = Command::new(binary());
    command.arg("acp").current_dir(&directories[0]).envs(store.environment());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let mut acp = command.spawn().unwrap();
    let servers = known(&daemon, acp.id().unwrap()).await;
    let kinds: Vec<&Value> = servers.iter().map(|server| &server["kind"]).collect();
    assert_eq!(servers.len(), 2, "{servers:?}");
    assert!(kinds.contains(&&json!("acp")) && kinds.contains(&&json!("serve")), "{servers:?}");
    let registrations = daemon.log().matches("registered registration=").count();
    assert_eq!(registrations, 2, "{}", daemon.log());
    drop(acp.stdin.take());
}
