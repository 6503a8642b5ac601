//! Other users of the machine are not let in.

use crate::support::{
    daemon::Daemon,
    fake::{FakeServer, FakeStore},
    process::Process,
    town::daemon_before,
};

/// Somebody who owns nothing here.
const SOMEBODY: &str = "54321";

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What a client of another user gets, by its own program: the shell's own TCP, for nothing else may be installed.
async fn as_somebody_else(daemon: &Daemon, request: &str) -> String {
    let port = daemon.address().rsplit(':').next().unwrap();
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; printf '{request}' >&3; cat <&3");
    let mut command = tokio::process::Command::new("setpriv");
    command.args(["--reuid", SOMEBODY, "--regid", SOMEBODY, "--clear-groups", "bash", "-c", &script]);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).current_dir("/");
    let mut process = Process::start("a client of another user", &command);
    process.ended().await;
    process.log_to_the_end().await
}

#[tokio::test]
async fn another_user_is_refused_and_the_own_one_let_in() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    assert_eq!(daemon.get("/config").await.status, 200);
    if !is_root() {
        // Only root can be somebody else. That this machine tells users apart at all is checked all the same.
        assert!(std::path::Path::new("/proc/self/status").exists());
        return;
    }
    let before = fake.passed_on().len();
    for line in ["GET /session", "GET /servers", "POST /session", "GET /global/event"] {
        let request = format!("{line} HTTP/1.1\\r\\nhost: localhost\\r\\nconnection: close\\r\\n\\r\\n");
        let answer = as_somebody_else(&daemon, &request).await;
        assert!(answer.contains(" 403 ") && answer.contains("UserRefusedError"), "{line}: {answer}");
    }
    assert_eq!(fake.passed_on().len(), before);
    let alive = as_somebody_else(&daemon, "GET /healthz HTTP/1.0\\r\\nhost: localhost\\r\\n\\r\\n").await;
    assert!(alive.contains(" 200 "), "{alive}");
}

#[tokio::test]
async fn another_user_who_has_the_token_is_let_in() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let builder = Daemon::builder().env("POINTSMAN_TOKEN", "shared").server(fake.url());
    let daemon = builder.start_unready().await;
    fake.wait_for_streams(1).await;
    if !is_root() {
        assert_eq!(daemon.send(daemon.request("GET", "/config").bearer_auth("shared")).await.status, 200);
        return;
    }
    let request = "GET /config HTTP/1.0\\r\\nhost: localhost\\r\\nauthorization: Bearer shared\\r\\n\\r\\n";
    let answer = as_somebody_else(&daemon, request).await;
    assert!(answer.contains(" 200 "), "{answer}");
}
