//! The command line: what refuses to start says why in one sentence, and what is asked is answered for people and
//! programs.

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{
    daemon::Daemon,
    process::Process,
    town::{Pair, start},
};

/// Runs `pointsman` to its end: its exit code, and what it wrote.
async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let home = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
    command.args(arguments).current_dir(home.path()).env("HOME", home.path());
    command.envs(environment.iter().copied());
    let mut process = Process::start("pointsman", &command);
    let status = process.ended().await;
    (status.code(), process.log_to_the_end().await)
}

/// One sentence that names all of `named`, and nothing else.
fn assert_refused((code, wrote): &(Option<i32>, String), named: &[&str]) {
    assert_eq!(*code, Some(2), "{wrote}");
    assert_eq!(wrote.trim_end().lines().count(), 1, "{wrote}");
    for name in named {
        assert!(wrote.contains(name), "{name} is not named in {wrote}");
    }
    assert!(!wrote.contains("panicked") && !wrote.contains("listening on"), "{wrote}");
}

#[tokio::test]
async fn what_the_file_says_wrongly_is_named_with_its_file() {
    for (text, named) in [
        ("lisen = \"127.0.0.1:0\"\n", "lisen"),
        ("tick = 5\n", "tick"),
        ("tick = \"1 fortnight\"\n", "fortnight"),
        ("scan = \"perhaps\"\n", "scan"),
        ("[[server]]\nport = 1\n", "port"),
        ("[[server]]\nurl = \"ftp://x\"\n", "ftp://x"),
        ("ports = \"9-1\"\n", "9-1"),
        ("this is not toml\n", "line 1"),
    ] {
        let refused = Daemon::builder().config(text).start_failing().await;
        assert_refused(&refused, &[named, "pointsman.toml"]);
    }
    assert_refused(&run(&["serve", "--config", "missing.toml"], &[]).await, &["missing.toml"]);
}

#[tokio::test]
async fn what_the_environment_says_wrongly_is_named_with_its_variable() {
    for (key, value) in [
        ("POINTSMAN_LISEN", "127.0.0.1:0"),
        ("POINTSMAN_TICK", "soon"),
        ("POINTSMAN_SCAN", "perhaps"),
        ("POINTSMAN_SERVER", "ftp://x"),
        ("POINTSMAN_UNREACHABLE_OWNER", "guess"),
    ] {
        let refused = Daemon::builder().env(key, value).start_failing().await;
        assert_refused(&refused, &[key]);
    }
}

#[tokio::test]
async fn what_the_flags_say_wrongly_is_named_with_its_flag() {
    for (arguments, named) in [
        (vec!["serve", "--server", "ftp://x"], "--server"),
        (vec!["serve", "--ports", "9-1"], "--ports"),
        (vec!["serve", "--listen", "nowhere"], "--listen"),
        (vec!["serve", "--log", "pointsman=loudly"], "--log"),
    ] {
        assert_refused(&run(&arguments, &[]).await, &[named]);
    }
    let (code, wrote) = run(&["serve", "--lisen", "x"], &[]).await;
    assert!(code == Some(2) && wrote.contains("--lisen"), "{wrote}");
}

#[tokio::test]
async fn an_address_that_others_can_reach_needs_a_token_first() {
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        assert_refused(&run(&["serve", "--listen", listen], &[]).await, &["--listen", "POINTSMAN_TOKEN"]);
    }
    let refused = run(&["serve"], &[("POINTSMAN_LISTEN", "0.0.0.0:0")]).await;
    assert_refused(&refused, &["POINTSMAN_LISTEN", "POINTSMAN_TOKEN"]);
}

#[tokio::test]
async fn a_port_in_use_is_refused_naming_who_holds_it() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let refused = run(&["serve", "--no-scan", "--listen", &address], &[]).await;
    assert_refused(&refused, &[&address, &format!("pid {}", std::process::id())]);
}

#[tokio::test]
async fn a_state_directory_in_use_is_refused_naming_its_daemon() {
    let daemon = start(Daemon::builder(), &[]).await;
    let state = daemon.state_directory();
    let arguments = ["serve", "--no-scan", "--listen", "127.0.0.1:0", "--state-dir", state.to_str().unwrap()];
    assert_refused(&run(&arguments, &[]).await, &[&daemon.pid().to_string(), daemon.url()]);
    assert_eq!(daemon.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn servers_sessions_and_owners_are_printed_for_people() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let session = pair.high.create_session().id;
    pair.store.edit(&session, |row| row.title = "Fix the parser".to_owned());
    daemon.wait_for_owner(&session, &pair.high, "emitted").await;
    let at = ["--url", daemon.url()];
    let (code, wrote) = run(&["servers", at[0], at[1]], &[]).await;
    assert_eq!(code, Some(0), "{wrote}");
    for part in [&*pair.low.address(), &*pair.high.address(), &*pair.directory, "serve"] {
        assert!(wrote.contains(part), "{part}: {wrote}");
    }
    let (code, wrote) = run(&["sessions", at[0], at[1]], &[]).await;
    assert_eq!(code, Some(0), "{wrote}");
    assert!(wrote.contains(&session) && wrote.contains(&pair.high.port().to_string()), "{wrote}");
    let (code, wrote) = run(&["which", &session, at[0], at[1]], &[]).await;
    assert_eq!(code, Some(0), "{wrote}");
    assert!(wrote.contains(&pair.high.address()) && wrote.contains("emitted"), "{wrote}");
    let (code, wrote) = run(&["which", "ses_unknown", at[0], at[1]], &[]).await;
    assert!(code != Some(0) && wrote.contains("ses_unknown"), "{code:?} {wrote}");
    assert!(!wrote.contains("panicked"));
}

#[tokio::test]
async fn the_same_is_printed_as_json_for_programs() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let session = pair.high.create_session().id;
    daemon.wait_for_owner(&session, &pair.high, "emitted").await;
    let json = async |arguments: &[&str]| -> Value {
        let (code, wrote) = run(&[arguments, &["--json", "--url", daemon.url()]].concat(), &[]).await;
        assert_eq!(code, Some(0), "{wrote}");
        serde_json::from_str(&wrote).unwrap_or_else(|error| panic!("{error}: {wrote}"))
    };
    let servers = json(&["servers"]).await;
    // Agents that cannot be reached are listed too, and this machine may run some.
    let up = servers.as_array().unwrap().iter().filter(|server| server["state"] == "up");
    let ports: Vec<u64> = up.map(|server| server["port"].as_u64().unwrap()).collect();
    assert!(ports.len() == 2 && ports.contains(&pair.low.port().into()), "{ports:?}");
    let sessions = json(&["sessions", "--limit", "5"]).await;
    let first = sessions.get("sessions").map_or(&sessions[0], |sessions| &sessions[0]);
    assert_eq!((&first["id"], &first["ownerPort"]), (&json!(session), &json!(pair.high.port())));
    let which = json(&["which", &session]).await;
    assert_eq!((&which["ownerPort"], &which["evidence"]), (&json!(pair.high.port()), &json!("emitted")));
}

#[tokio::test]
async fn without_a_daemon_the_commands_say_that_there_is_none() {
    let nobody = format!("http://127.0.0.1:{}", crate::support::ports::free_port());
    for command in ["servers", "sessions"] {
        let (code, wrote) = run(&[command, "--url", &nobody], &[]).await;
        assert!(code.is_some_and(|code| code != 0), "{wrote}");
        assert!(wrote.contains(&nobody) && !wrote.contains("panicked"), "{wrote}");
    }
}

#[tokio::test]
async fn a_daemon_with_a_token_is_asked_with_it() {
    let builder = Daemon::builder().env("POINTSMAN_TOKEN", "s3cret");
    let daemon = builder.start_unready().await;
    let (code, wrote) = run(&["servers", "--url", daemon.url()], &[]).await;
    assert!(code != Some(0) && wrote.to_lowercase().contains("token"), "{wrote}");
    let (code, wrote) =
        run(&["servers", "--json", "--url", daemon.url()], &[("POINTSMAN_TOKEN", "s3cret")]).await;
    assert_eq!(code, Some(0), "{wrote}");
    assert!(serde_json::from_str::<Value>(&wrote).unwrap().is_array(), "{wrote}");
}
