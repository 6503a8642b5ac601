//! A real `OpenCode` that is started because a request needs it.

use serde_json::{Value, json};

use crate::support::{
    daemon::Daemon,
    eventually::eventually,
    on_demand::{Mortal, lives},
    opencode::{Store, binary},
};

#[tokio::test]
async fn a_request_for_a_directory_starts_a_server_that_answers_a_prompt_and_ends_with_the_daemon() {
    let store = Store::new().await;
    let project = store.project("shop");
    let config = format!("[spawn]\nenabled = true\ndirectories = [{project:?}]\ncommand = {:?}", binary());
    let mut builder = Daemon::builder().config(&config);
    for (name, value) in store.environment() {
        builder = builder.env(name, &value);
    }
    let mut daemon = builder.start().await;
    let create = daemon.request("POST", "/session").query(&[("directory", &project)]).json(&json!({}));
    let created = daemon.send(create).await;
    assert_eq!(created.status, 200, "{created:?}");
    let session = created.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(created.json()["directory"], json!(project));

    let prompt = json!({"parts": [{"type": "text", "text": "hello"}]});
    let answer = daemon.post(&format!("/session/{session}/message"), &prompt).await;
    assert_eq!((answer.status, &answer.json()["info"]["role"]), (200, &json!("assistant")), "{answer:?}");
    let servers = daemon.servers().await;
    assert_eq!(servers.len(), 1, "{servers:?}");
    assert_eq!((&servers[0]["sources"], &servers[0]["kind"]), (&json!(["spawned"]), &json!("serve")));

    let pid = u32::try_from(servers[0]["pid"].as_u64().unwrap()).unwrap();
    let _mortal = Mortal(pid);
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    let kept = std::fs::read(daemon.state_directory().join("spawned.json")).unwrap();
    let kept: Value = serde_json::from_slice(&kept).unwrap();
    assert!(!line.contains(kept[0]["password"].as_str().unwrap()), "{line}");

    // The daemon may be killed before it knows the process: then the port leads there.
    daemon.kill9().await;
    let mut kept = kept;
    kept[0]["process"] = Value::Null;
    std::fs::write(daemon.state_directory().join("spawned.json"), kept.to_string()).unwrap();
    daemon.restart().await;
    let servers = daemon.wait_for_servers(1).await;
    assert_eq!(servers[0]["pid"], json!(pid));
    assert!(daemon.get("/metrics").await.text().contains("outcome=\"taken-over\"} 1"));
    daemon.term().await;
    eventually("the server having ended", || async { if lives(pid) { Err(pid) } else { Ok(()) } }).await;
}
