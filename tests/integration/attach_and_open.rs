//! `pointsman attach` and `pointsman open`: which program they start, with what.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Output,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{
    daemon::Daemon,
    eventually::patiently,
    fake::{FakeServer, FakeStore},
    town::acquainted,
};

/// A directory with programs that write down their arguments, one on a line, and the password they were given.
struct Programs(TempDir);

impl Programs {
    fn new(names: &[&str]) -> Self {
        let directory = TempDir::with_prefix("pointsman-programs-").unwrap();
        for name in names {
            let path = directory.path().join(name);
            let record = directory.path().join("record");
            let script = format!(
                "#!/bin/sh\n{{ printf '%s\\n' \"$0\" \"$@\"; echo \"$$ $OPENCODE_SERVER_PASSWORD\"; }} > '{}'\nexit 7\n",
                record.display()
            );
            std::fs::write(&path, script).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self(directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// What the program was given: its arguments, its pid and its password.
    fn record(&self) -> (Vec<String>, u32, String) {
        let text = std::fs::read_to_string(self.path("record")).expect("the program was started");
        let mut lines: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
        let last = lines.pop().unwrap();
        let (pid, password) = last.split_once(' ').unwrap();
        (lines, pid.parse().unwrap(), password.to_owned())
    }

    /// Runs a command of ours that finds nothing but these programs, and gives its pid.
    async fn run(&self, daemon: &Daemon, arguments: &[&str]) -> (u32, Output) {
        let child = Command::new(env!("CARGO_BIN_EXE_pointsman"))
            .args(arguments)
            .env_clear()
            .env("PATH", self.0.path())
            .env("HOME", self.0.path())
            .env("POINTSMAN_TOKEN", "s3cret")
            .env("POINTSMAN_STATE_DIR", daemon.state_directory())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id().unwrap();
        (pid, patiently("the command", child.wait_with_output()).await.unwrap())
    }
}

async fn town() -> (FakeStore, FakeServer, Daemon) {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a project")).await;
    let builder = Daemon::builder().arg("--base-path").arg("/oc").env("POINTSMAN_TOKEN", "s3cret");
    let daemon = builder.server(fake.url()).start_unready().await;
    acquainted(&[&fake]).await;
    (store, fake, daemon)
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn attach_becomes_the_terminal_program_on_the_session_in_its_directory() {
    let (_store, fake, daemon) = town().await;
    let session = fake.create_session().id;
    let programs = Programs::new(&["opencode"]);
    let (pid, output) = programs.run(&daemon, &["attach", &session]).await;
    let expected = ["attach", daemon.url(), "-s", &session, "--dir", fake.directory()];
    let (arguments, became, password) = programs.record();
    assert_eq!(arguments, expected, "{output:?}");
    assert_eq!((became, &*password, output.status.code()), (pid, "s3cret", Some(7)));
}

#[tokio::test]
async fn attach_without_a_session_names_no_directory_unless_told_to() {
    let (_store, _fake, daemon) = town().await;
    let programs = Programs::new(&["opencode", "other"]);
    programs.run(&daemon, &["attach"]).await;
    assert_eq!(programs.record().0, ["attach", daemon.url()]);
    programs.run(&daemon, &["attach", "--directory", "/some where"]).await;
    assert_eq!(programs.record().0, ["attach", daemon.url(), "--dir", "/some where"]);
    std::fs::remove_file(programs.path("opencode")).unwrap();
    let other = programs.path("other");
    programs.run(&daemon, &["attach", "--opencode", other.to_str().unwrap()]).await;
    assert_eq!(programs.record().0, ["attach", daemon.url()]);
}

#[tokio::test]
async fn what_attach_and_open_cannot_do_is_one_sentence() {
    let (_store, fake, daemon) = town().await;
    let session = fake.create_session().id;
    let without = Programs::new(&[]);
    let (_, output) = without.run(&daemon, &["attach", &session]).await;
    assert_eq!((output.status.code(), told(&output).lines().count()), (Some(1), 1));
    assert!(told(&output).contains("no opencode on PATH"), "{output:?}");
    let (_, output) = without.run(&daemon, &["attach", "--opencode", "/no/such"]).await;
    assert!(told(&output).contains("cannot run /no/such"), "{output:?}");
    let (_, output) = without.run(&daemon, &["open"]).await;
    assert!(told(&output).contains("cannot open a browser"), "{output:?}");
    assert!(told(&output).contains(daemon.url()) && !told(&output).contains("s3cret"), "{output:?}");

    let programs = Programs::new(&["opencode", "xdg-open"]);
    let nobody = format!("http://127.0.0.1:{}", crate::support::ports::free_port());
    for command in ["attach", "open"] {
        let (_, output) = programs.run(&daemon, &[command, "ses_e021c7fa2ffe8VGOoFNM8lM5q9"]).await;
        assert!(told(&output).contains("ses_e021c7fa2ffe8VGOoFNM8lM5q9"), "{output:?}");
        for arguments in [vec![command, "--url", &nobody], vec![command, &session, "--url", &nobody]] {
            let (_, output) = programs.run(&daemon, &arguments).await;
            assert!(told(&output).contains("no pointsman answers"), "{output:?}");
        }
        let (_, output) = programs.run(&daemon, &[command, "--token", "wrong"]).await;
        assert!(told(&output).contains("wants its token"), "{output:?}");
    }
    assert!(!Path::new(&programs.path("record")).exists(), "a program was started in vain");
}

#[tokio::test]
async fn open_shows_the_page_of_a_session_under_the_base_path() {
    let (_store, fake, daemon) = town().await;
    let session = fake.create_session().id;
    let programs = Programs::new(&["xdg-open"]);
    let origin = BASE64_URL_SAFE_NO_PAD.encode(format!("http://{}", daemon.address()));
    let page = format!("{}/server/{origin}/session/{session}", daemon.url());
    let (_, output) = programs.run(&daemon, &["open", &session, "--print"]).await;
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{page}\n"));
    assert!(!programs.path("record").exists());
    programs.run(&daemon, &["open", &session]).await;
    if cfg!(target_os = "linux") {
        assert_eq!(programs.record().0, [page]);
    }
}
