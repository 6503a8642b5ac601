//! Servers that are started where a request needs one and none runs.

use serde_json::{Value, json};

use crate::support::{
    daemon::{Answer, Daemon},
    eventually::eventually,
    fake::{FakeServer, FakeStore},
    on_demand::{Workshop, lives},
    process::Process,
};

async fn create(daemon: &Daemon, directory: &str) -> Answer {
    daemon.send(daemon.request("POST", "/session").query(&[("directory", directory)]).json(&json!({}))).await
}

async fn read(daemon: &Daemon, directory: &str) -> Answer {
    daemon.send(daemon.request("GET", "/path").query(&[("directory", directory)])).await
}

async fn by_hand(daemon: &Daemon, directory: &str) -> Answer {
    daemon.send(daemon.trusted("POST", "/servers/spawn").json(&json!({ "directory": directory }))).await
}

fn failed(answer: &Answer) -> (u16, String, String) {
    let told = answer.json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (answer.status, text(&told["name"]), text(&told["data"]["message"]))
}

#[tokio::test]
async fn the_first_request_for_a_directory_starts_one_server_for_all_that_come() {
    let workshop = Workshop::new();
    let shop = workshop.project("shop");
    let daemon = workshop.builder("").start().await;
    assert!(workshop.starts().is_empty() && daemon.servers().await.is_empty(), "not before it is needed");

    let requests = (0..8).map(|_| read(&daemon, &shop));
    let answers = futures_util::future::join_all(requests).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    let starts = workshop.starts();
    assert_eq!(starts.iter().map(|(_, directory)| &**directory).collect::<Vec<_>>(), [&*shop]);
    let servers = daemon.servers().await;
    assert_eq!(servers.len(), 1, "{servers:?}");
    assert_eq!((&servers[0]["sources"], &servers[0]["state"]), (&json!(["spawned"]), &json!("up")));
    assert_eq!((&servers[0]["pid"], &servers[0]["directory"]), (&json!(starts[0].0), &json!(shop)));

    let session = create(&daemon, &shop).await.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(daemon.post(&format!("/session/{session}/message"), &json!({"parts": []})).await.status, 200);
    assert_eq!(workshop.starts().len(), 1);
    let metrics = daemon.get("/metrics").await.text();
    for line in ["pointsman_spawned_servers 1", "pointsman_spawns_total{outcome=\"started\"} 1"] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    let kept = std::fs::read_to_string(daemon.state_directory().join("spawned.json")).unwrap();
    let kept: Value = serde_json::from_str(&kept).unwrap();
    let password = kept[0]["password"].as_str().unwrap();
    assert!(!daemon.log().contains(password), "a password in the log");
    let mode = std::fs::metadata(daemon.state_directory().join("spawned.json")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o600);
}

#[tokio::test]
async fn none_is_started_where_none_may_be_nor_where_nobody_asked_for_any() {
    let workshop = Workshop::new();
    let (shop, elsewhere) = (workshop.project("shop"), workshop.elsewhere());
    let daemon = workshop.builder("").start().await;
    assert_eq!(failed(&read(&daemon, &elsewhere).await).1, "NoServerError");
    assert_eq!(failed(&read(&daemon, &format!("{shop}/none")).await).1, "NoServerError");
    assert_eq!(failed(&by_hand(&daemon, &elsewhere).await).1, "SpawnRefusedError");
    assert_eq!(failed(&by_hand(&daemon, &format!("{shop}/none")).await).1, "NoDirectoryError");
    assert_eq!(daemon.get("/path").await.status, 503, "it names nothing");
    let open = daemon.request("POST", "/servers/spawn").json(&json!({ "directory": shop }));
    assert_eq!(daemon.send(open).await.status, 401, "the secret is needed");
    assert!(workshop.starts().is_empty());

    let daemon = Daemon::builder().start().await;
    assert_eq!(failed(&read(&daemon, &shop).await).1, "NoServerError");
    assert_eq!(failed(&by_hand(&daemon, &shop).await).1, "SpawnOffError");
}

#[tokio::test]
async fn a_directory_that_a_server_has_in_use_gets_no_other_and_any_request_for_another_starts_one() {
    let workshop = Workshop::new();
    let (shop, other) = (workshop.project("shop"), workshop.project("other"));
    let fake = FakeServer::start(&FakeStore::new(), &shop).await;
    let daemon = workshop.builder("").server(fake.url()).start().await;
    fake.wait_for_streams(1).await;
    assert_eq!(read(&daemon, &shop).await.fake(), fake.address());
    assert!(workshop.starts().is_empty(), "{:?}", workshop.starts());
    assert_eq!(daemon.get(&format!("/session?directory={other}")).await.status, 200);
    assert_eq!(workshop.starts().len(), 1, "a list names it too");
    assert_ne!(read(&daemon, &other).await.fake(), fake.address());
    assert_eq!(workshop.starts().len(), 1);
}

#[tokio::test]
async fn no_more_are_started_than_may_be_and_another_serves_instead_if_one_can() {
    let workshop = Workshop::new();
    let (one, two) = (workshop.project("one"), workshop.project("two"));
    let daemon = workshop.builder("limit = 1").start().await;
    let first = read(&daemon, &one).await;
    let second = read(&daemon, &two).await;
    assert_eq!((second.status, second.fake()), (200, first.fake()));
    assert_eq!(failed(&by_hand(&daemon, &workshop.project("three")).await).1, "SpawnLimitError");
    assert_eq!(workshop.starts().len(), 1);
}

#[tokio::test]
async fn whoever_starts_one_by_hand_is_told_its_id_and_address() {
    let workshop = Workshop::new();
    let shop = workshop.project("shop");
    let daemon = workshop.builder("").start().await;
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_pointsman"));
    command.args(["spawn", "shop", "--state-dir"]).arg(daemon.state_directory());
    command.current_dir(std::path::Path::new(&shop).parent().unwrap());
    let mut process = Process::start("pointsman spawn", &command);
    assert!(process.ended().await.success());
    let server = &daemon.servers().await[0];
    let text = |key: &str| server[key].as_str().unwrap().to_owned();
    assert_eq!(process.log_to_the_end().await.trim(), format!("{}  {}  {shop}", text("id"), text("url")));
    let again = by_hand(&daemon, &shop).await;
    assert_eq!((again.status, again.json()["id"].as_str()), (200, Some(&*text("id"))));
    assert_eq!(workshop.starts().len(), 1);
}

#[tokio::test]
async fn what_nobody_uses_is_ended_and_started_again_when_its_session_is_asked_for() {
    let workshop = Workshop::new();
    let shop = workshop.project("shop");
    let daemon = workshop.builder("idle = \"1s\"").start().await;
    let stream = daemon.events(&format!("/event?directory={shop}")).await;
    let session = create(&daemon, &shop).await.json()["id"].as_str().unwrap().to_owned();
    let [heard] = workshop.wait_for_living(1).await[..] else { panic!("{:?}", workshop.starts()) };
    outlives_others(&workshop, &daemon, heard).await;
    let prompt = json!({"parts": [{"type": "text", "text": "SLOW"}]});
    let sent = daemon.post(&format!("/session/{session}/prompt_async"), &prompt).await;
    assert_eq!(sent.status, 204, "{sent:?}");
    drop(stream);
    // Nobody hears it, and it works.
    outlives_others(&workshop, &daemon, heard).await;
    assert_eq!(daemon.post(&format!("/session/{session}/abort"), &json!({})).await.status, 200);
    workshop.wait_for_living(0).await;
    daemon.wait_for_servers(0).await;
    eventually("the end being counted", || async {
        let metrics = daemon.get("/metrics").await.text();
        metrics.contains("outcome=\"idle\"} 5").then_some(()).ok_or(metrics)
    })
    .await;
    assert!(!daemon.state_directory().join("spawned.json").exists());
    // The fake's store went with it, so it answers that there is no such session; what counts is that it was asked.
    let answer = daemon.get(&format!("/session/{session}")).await;
    assert!(!answer.fake().is_empty(), "{answer:?}");
    assert_eq!(workshop.starts().len(), 6);
}

/// Another that nobody uses comes after it and goes before it, and once more: so long it had nobody else either.
async fn outlives_others(workshop: &Workshop, daemon: &Daemon, kept: u32) {
    let other = workshop.project("other");
    for _ in 0..2 {
        assert_eq!(read(daemon, &other).await.status, 200);
        assert_eq!(workshop.wait_for_living(1).await, [kept]);
    }
}

#[tokio::test]
async fn what_one_writes_is_kept_and_begins_anew_before_it_fills_the_disk() {
    let workshop = Workshop::after("head -c 3000000 /dev/zero; echo 'ready at last'");
    let daemon = workshop.builder("").start().await;
    assert_eq!(read(&daemon, &workshop.project("shop")).await.status, 200);
    let port = daemon.servers().await[0]["port"].to_string();
    let log = daemon.state_directory().join(format!("spawned-{port}.log"));
    eventually("a small log", || async {
        let length = std::fs::metadata(&log).unwrap().len();
        if length < 1 << 20 { Ok(()) } else { Err(length) }
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_started_is_told_with_what_to_do_and_not_tried_again_at_once() {
    let workshop = Workshop::with("echo 'no model is configured' >&2; exit 3");
    let shop = workshop.project("shop");
    let daemon = workshop.builder("wait = \"1s\"").start().await;
    for _ in 0..2 {
        let (status, name, message) = failed(&read(&daemon, &shop).await);
        assert_eq!((status, &*name), (503, "SpawnFailedError"), "{message}");
        for part in ["exit status: 3", "no model is configured", "no other attempt is made for"] {
            assert!(message.contains(part), "{part:?} is not in {message}");
        }
    }
    assert_eq!(workshop.starts().len(), 1, "the second request did not try again");
    workshop.now_does("exec sleep 100");
    let (_, _, message) = failed(&by_hand(&daemon, &shop).await);
    assert!(message.contains("did not answer within 1 s") && message.contains("raise wait"), "{message}");
    workshop.wait_for_living(0).await;
    std::fs::remove_file(workshop.program()).unwrap();
    let (_, _, message) = failed(&by_hand(&daemon, &shop).await);
    assert!(message.contains("cannot be run") && message.contains("command in [spawn]"), "{message}");
    assert!(!daemon.state_directory().join("spawned.json").exists());

    let missing = workshop.config("").replace(&*workshop.program().display().to_string(), "no-such-program");
    let daemon = Daemon::builder().config(&missing).start().await;
    let (_, _, message) = failed(&read(&daemon, &shop).await);
    assert!(message.contains("no no-such-program on the daemon's PATH; install it"), "{message}");
}

#[tokio::test]
async fn the_end_of_the_daemon_ends_what_it_started_even_what_does_not_want_to() {
    let workshop = Workshop::new();
    let mut daemon = workshop.builder("").start().await;
    assert_eq!(read(&daemon, &workshop.project("shop")).await.status, 200);
    let mut living = workshop.wait_for_living(1).await;
    // One that has not answered yet, and takes no hint.
    workshop.now_does("trap '' TERM; while :; do sleep 1; done");
    let shop = workshop.project("stubborn");
    let request = daemon.request("GET", "/path").query(&[("directory", &shop)]).send();
    let waiting = tokio::spawn(request);
    living.extend(workshop.wait_for_living(2).await);
    daemon.term().await;
    assert!(living.iter().all(|pid| !lives(*pid)), "{living:?}");
    waiting.abort();
}

#[tokio::test]
async fn a_daemon_that_was_killed_takes_over_what_it_started_or_ends_it() {
    let workshop = Workshop::new();
    let shop = workshop.project("shop");
    let mut daemon = workshop.builder("").start().await;
    let session = create(&daemon, &shop).await.json()["id"].as_str().unwrap().to_owned();
    let before = daemon.servers().await[0]["id"].clone();
    daemon.restart_unready().await;
    let answer = daemon.post(&format!("/session/{session}/message"), &json!({"parts": []})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(daemon.servers().await[0]["id"], before);
    assert_eq!(workshop.starts().len(), 1);
    assert!(daemon.get("/metrics").await.text().contains("outcome=\"taken-over\"} 1"));

    // What is not allowed any more is ended.
    daemon.kill9().await;
    let [pid] = workshop.living()[..] else { panic!("{:?}", workshop.starts()) };
    let configuration = daemon.state_directory().parent().unwrap().join("pointsman.toml");
    assert!(configuration.exists());
    daemon.reconfigure("");
    daemon.restart().await;
    assert!(!lives(pid));
    assert!(daemon.servers().await.is_empty());
    assert!(!daemon.state_directory().join("spawned.json").exists());
}
