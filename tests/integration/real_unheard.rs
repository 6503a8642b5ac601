//! `opencode run` beside a server: its process opens no port, and what it does reaches everybody through the store.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{
    daemon::Daemon,
    eventually::patiently,
    opencode::{binary, shared},
};

#[tokio::test]
async fn a_session_that_opencode_run_makes_is_told_once_with_what_was_said_in_it() {
    let shared = shared().await;
    let daemon = Daemon::start(shared.urls()).await;
    daemon.hears(&shared.higher).await;
    let mut stream = daemon.events("/global/event?attention=all").await;
    let known = async || -> Vec<Value> {
        let list = shared.higher.get("/experimental/session?limit=1000").await;
        list.as_array().unwrap().iter().map(|row| row["id"].clone()).collect()
    };
    let before = known().await;
    let mut command = Command::new(binary());
    command.args(["run", "say-unheard"]).current_dir(&shared.project).env_clear();
    command.envs(shared.store.environment()).stdin(Stdio::null()).kill_on_drop(true);
    let output = patiently("the end of `opencode run`", command.output()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let made: Vec<Value> = known().await.into_iter().filter(|id| !before.contains(id)).collect();

    let told = |kind: &'static str| move |event: &crate::support::sse::Received| event.kind() == kind;
    let is_its = |id: &str| made.contains(&json!(id));
    let created =
        |event: &crate::support::sse::Received| told("session.created")(event) && is_its(event.session());
    let said = |event: &crate::support::sse::Received| {
        is_its(event.session())
            && event.properties()["part"]["text"].as_str().is_some_and(|text| text.contains("said-unheard"))
    };
    let seen = stream.seen().to_vec();
    let mut missing = !seen.iter().any(created) || !seen.iter().any(said);
    while missing {
        stream.next().await;
        missing = !stream.seen().iter().any(created) || !stream.seen().iter().any(said);
    }
    let event = stream.seen().iter().find(|event| created(event)).unwrap().clone();
    assert_eq!(
        stream
            .seen()
            .iter()
            .filter(|other| other.session() == event.session() && told("session.created")(other))
            .count(),
        1
    );
    let info = &event.properties()["info"];
    assert_eq!(event.directory(), shared.project.display().to_string());
    for key in ["id", "slug", "version", "projectID", "directory", "path", "title", "cost", "tokens", "time"]
    {
        assert!(!info[key].is_null(), "{key} in {info}");
    }
    assert!(info["project"].is_null(), "what only lists tell");
}
