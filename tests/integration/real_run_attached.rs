//! `opencode run --attach`: one prompt through pointsman, its answer printed.

use std::process::Stdio;

use serde_json::json;
use tokio::process::Command;

use crate::support::{
    daemon::Daemon,
    eventually::patiently,
    opencode::{binary, shared},
};

#[tokio::test]
async fn a_prompt_that_is_run_through_pointsman_is_answered_by_the_sessions_owner() {
    let shared = shared().await;
    let daemon = Daemon::start(shared.urls()).await;
    daemon.hears(&shared.higher).await;
    let session = shared.higher.create_session().await;
    for (arguments, say) in [(vec![], "new"), (vec!["-s", &*session], "old")] {
        let mut command = Command::new(binary());
        command.args(["run", "--attach", daemon.url()]).args(arguments).arg(format!("say-{say}"));
        command.current_dir(&shared.project).env_clear().envs(shared.store.environment());
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = patiently("the end of `opencode run`", command.output()).await.unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && printed.contains(&format!("said-{say}")), "{output:?}");
    }
    let owner = daemon.explain(&session).await;
    assert_eq!(owner["ownerPort"], json!(shared.higher.port()), "{owner}");
}
