//! `pointsman events`: a live tail for people and programs.

use std::{process::Stdio, time::Duration};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use crate::support::{
    daemon::Daemon,
    eventually::{eventually, patiently},
    fake::FakeServer,
    process::Process,
    town::Pair,
};

/// A running tail, and the home it runs in.
struct Tail {
    process: Process,
    _home: TempDir,
}

impl Tail {
    async fn of(daemon: &Daemon, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let home = TempDir::new().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
        command.args(["events", "--url", daemon.url()]).args(arguments);
        command.current_dir(home.path()).env("HOME", home.path()).env("TZ", "UTC");
        command.envs(environment.iter().copied());
        let tail = Self { process: Process::start("pointsman events", &command), _home: home };
        tail.says("pointsman.hello").await;
        tail
    }

    /// Waits until this stands in what it has written; gives the first line that holds it.
    async fn says(&self, text: &str) -> String {
        eventually(&format!("the tail saying {text:?}"), || async {
            let log = self.process.log();
            log.lines().find(|line| line.contains(text)).map(str::to_owned).ok_or(log.clone())
        })
        .await
    }
}

fn created(server: &FakeServer, store: &crate::support::fake::FakeStore, title: &str) -> String {
    let session = server.create_session().id;
    store.edit(&session, |row| title.clone_into(&mut row.title));
    session
}

#[tokio::test]
async fn a_turn_is_told_in_lines_with_the_names_of_its_server_and_session() {
    let pair = Pair::start().await;
    let session = created(&pair.low, &pair.store, "Teach the parser");
    let daemon = pair.daemon().await;
    let tail = Tail::of(&daemon, &[], &[]).await;
    let mut witness = daemon.events("/global/event").await;
    pair.low.begin_turn(&session, "SLOW");
    witness.expect(|event| event.properties()["delta"] == "hello ").await;
    pair.low.delta(&session, "wor");
    pair.low.delta(&session, "ld\nand more");
    let line = tail.says("world").await;
    let columns: Vec<&str> = line.split("  ").map(str::trim).filter(|column| !column.is_empty()).collect();
    let port = format!(":{}", pair.low.port());
    assert_eq!(columns[1..], [&port, "Teach the parser", "message.part.delta", "hello world"]);
    assert!(columns[0].len() == 8 && columns[0].matches(':').count() == 2, "{line}");
    assert!(!tail.process.log().contains("and more"), "that line has not ended");
    pair.low.finish(&session);
    tail.says("and more").await;
    tail.says("session.idle").await;
    pair.high.begin_turn(&session, "ASK");
    let asked = tail.says("permission.asked").await;
    let permission = pair.high.permissions(&session).remove(0);
    assert!(asked.contains(&format!("{permission} bash echo hi")), "{asked}");
    let moved = tail.says("pointsman.session.moved").await;
    assert!(moved.contains(&format!(":{} → :{} (busy)", pair.low.port(), pair.high.port())), "{moved}");
    assert!(!tail.process.log().contains('\u{1b}'), "colours are for terminals");
}

#[tokio::test]
async fn who_names_something_sees_that_alone() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let (one, two) = (pair.low.create_session().id, pair.high.create_session().id);
    let port = pair.high.port().to_string();
    let of_session = Tail::of(&daemon, &["--json", "--session", &one], &[]).await;
    let of_server =
        Tail::of(&daemon, &["--json", "--server", &port, "--type", "session.*,test.end"], &[]).await;
    let of_directory = Tail::of(&daemon, &["--json", "--directory", "/elsewhere"], &[]).await;
    for (server, session) in [(&pair.low, &one), (&pair.high, &two)] {
        server.begin_turn(session, "hello");
    }
    for server in [&pair.low, &pair.high] {
        server.emit("/elsewhere", "test.end", serde_json::json!({"sessionID": one}));
    }
    for tail in [&of_session, &of_server, &of_directory] {
        tail.says("test.end").await;
        let kinds: Vec<Value> =
            tail.process.log().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let other = kinds.iter().filter(|event| event.to_string().contains(&*two)).count();
        assert_eq!(other > 0, std::ptr::eq(tail, &raw const of_server), "{kinds:?}");
    }
    assert!(!of_server.process.log().contains("message."));
}

#[tokio::test]
async fn programs_get_each_event_as_one_line() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut stream = daemon.events("/events").await;
    let tail = Tail::of(&daemon, &["--json"], &[]).await;
    let session = pair.low.create_session().id;
    pair.low.begin_turn(&session, "hello");
    stream.expect(|event| event.kind() == "session.idle").await;
    tail.says("session.idle").await;
    let log = tail.process.log();
    let told: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for event in stream.seen() {
        if event.data["id"].is_string() {
            assert!(told.contains(&event.data), "{event:?} is missing in {told:#?}");
        }
    }
}

#[tokio::test]
async fn it_goes_on_by_itself_when_the_daemon_was_away() {
    let pair = Pair::start().await;
    let mut daemon = pair.daemon().await;
    let mut tail = Tail::of(&daemon, &["--type", "session.created"], &[]).await;
    let is = |title: &str| serde_json::json!({"info": {"title": title}});
    for (title, resumed) in [("Before a kill", ""), ("Before an end in order", "all that was missed follows")]
    {
        pair.low.emit(&pair.directory, "session.created", is(title));
        tail.says(title).await;
        let before = tail.process.log().matches("connected again").count();
        if resumed.is_empty() {
            daemon.kill9().await;
        } else {
            daemon.term().await;
        }
        eventually("the tail noticing", || async {
            let log = tail.process.log();
            if log.matches("trying again").count() > before { Ok(()) } else { Err(log) }
        })
        .await;
        daemon.restart().await;
        eventually("the tail being back", || async {
            let log = tail.process.log();
            let back: Vec<&str> = log.lines().filter(|line| line.contains("connected again")).collect();
            if back.len() > before && back[before].contains(resumed) { Ok(()) } else { Err(log.clone()) }
        })
        .await;
        pair.low.wait_for_streams(1).await;
    }
    pair.low.emit(&pair.directory, "session.created", is("At last"));
    tail.says("At last").await;
    for title in ["Before a kill", "Before an end in order", "At last"] {
        assert_eq!(tail.process.log().matches(&format!("  {title}")).count(), 1, "{title}");
    }
    tail.process.signal(Signal::INT);
    assert_eq!(tail.process.ended().await.code(), Some(0), "an interrupt is how it ends");
}

#[tokio::test]
async fn a_reader_that_has_had_enough_ends_it_quietly() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let home = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
    command.args(["events", "--json", "--url", daemon.url()]).env_clear().env("HOME", home.path());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = patiently("the first line", lines.next_line()).await.unwrap().unwrap();
    assert!(first.contains("pointsman.hello"), "{first}");
    drop(lines);
    let mut ended = std::pin::pin!(child.wait_with_output());
    // It notices when it has something to print.
    let output = patiently("the end", async {
        loop {
            pair.low.emit(&pair.directory, "test.event", serde_json::json!({}));
            if let Ok(output) = tokio::time::timeout(Duration::from_millis(50), &mut ended).await {
                return output.unwrap();
            }
        }
    })
    .await;
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr)), (Some(0), "".into()));
}

#[tokio::test]
async fn colours_are_for_who_wants_them() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let forced = ("CLICOLOR_FORCE", "1");
    for (arguments, environment, coloured) in [
        (vec![], vec![forced], true),
        (vec!["--no-color"], vec![forced], false),
        (vec![], vec![("NO_COLOR", "1")], false),
        (vec![], vec![], false),
    ] {
        let tail = Tail::of(&daemon, &arguments, &environment).await;
        let line = tail.says("pointsman.hello").await;
        assert_eq!(line.contains('\u{1b}'), coloured, "{arguments:?} {environment:?} {line}");
    }
}

#[tokio::test]
async fn what_cannot_be_told_is_one_sentence() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for (arguments, named) in [
        (vec!["--url", daemon.url(), "--type", "a b"], "\"a b\""),
        (vec!["--url", daemon.url(), "--server", "srv_none"], "srv_none"),
        (vec!["--url", "http://127.0.0.1:9"], "pointsman serve"),
    ] {
        let home = TempDir::new().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
        command.arg("events").args(arguments).env("HOME", home.path());
        let mut process = Process::start("pointsman events", &command);
        assert_eq!(process.ended().await.code(), Some(1));
        let wrote = process.log_to_the_end().await;
        assert!(wrote.lines().count() == 1 && wrote.contains(named), "{wrote}");
    }
}
