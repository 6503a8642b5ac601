//! Who is not registered, and what is said to them. Nothing of it leaves a trace.

use std::process::Stdio;

use serde_json::json;

use crate::support::{
    daemon::Daemon,
    fake::{FakeServer, FakeStore},
    plugin::{Plugin, terminal},
    ports::free_port,
    wire::{answer, raw_server},
};

struct Town {
    fake: FakeServer,
    daemon: Daemon,
}

impl Town {
    async fn new() -> Self {
        let store = FakeStore::new();
        let fake = terminal(&store, &store.directory("a"), "its").await;
        Self { fake, daemon: Daemon::builder().start_unready().await }
    }

    fn plugin(&self) -> Plugin {
        Plugin::of_terminal(&self.fake, "its")
    }

    async fn refused(&self, plugin: Plugin, status: u16, name: &str, says: &str) {
        let answer = plugin.knock(&self.daemon).await;
        assert_eq!((answer.status, &answer.json()["name"]), (status, &json!(name)), "{answer:?}");
        let message = answer.json()["data"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(says), "{message}");
        assert!(self.daemon.servers().await.is_empty());
    }
}

#[tokio::test]
async fn a_protocol_of_another_age_is_told_which_ones_are_spoken() {
    let town = Town::new().await;
    for protocol in [0, 2] {
        let plugin = town.plugin().with("protocol", protocol);
        town.refused(plugin, 400, "ProtocolUnsupportedError", "protocol 1, not").await;
    }
    assert!(town.fake.requests().is_empty(), "nobody has been asked anything");
}

#[tokio::test]
async fn addresses_elsewhere_and_our_own_are_refused_unasked() {
    let town = Town::new().await;
    for url in ["http://192.0.2.1:4096", "http://evil.example:4096", "http://169.254.169.254"] {
        let plugin = town.plugin().with("url", url);
        town.refused(plugin, 403, "HostRefusedError", "allowed_registrations").await;
    }
    let port = town.daemon.address().rsplit(':').next().unwrap();
    for url in [town.daemon.url().to_owned(), format!("http://localhost:{port}/")] {
        town.refused(town.plugin().with("url", url), 409, "OwnAddressError", "this pointsman itself").await;
    }
    for url in ["", "4096", "https://127.0.0.1:4096", "http://a:b@127.0.0.1:4096"] {
        town.refused(town.plugin().with("url", url), 400, "BadRequest", "url must be").await;
    }
}

#[tokio::test]
async fn an_allowed_host_is_asked_and_no_other() {
    let store = FakeStore::new();
    let fake = FakeServer::start(&store, "/far").await;
    let builder = Daemon::builder().env("POINTSMAN_ALLOWED_REGISTRATIONS", "192.0.2.0/24,box.invalid");
    let daemon = builder.start_unready().await;
    let other = Plugin::of_server(&fake, "serve").with("url", "http://198.51.100.1:9").knock(&daemon).await;
    assert_eq!(other.status, 403, "{other:?}");
    // It does not exist: what counts is that it was let in as far as being asked.
    let named = Plugin::of_server(&fake, "serve").with("url", "http://box.invalid:9");
    let named = named.with("pid", std::process::id()).knock(&daemon).await;
    assert_eq!((named.status, &named.json()["name"]), (422, &json!("NotAnAgentError")), "{named:?}");
}

#[tokio::test]
async fn a_process_that_is_dead_or_does_not_listen_there_is_refused() {
    let town = Town::new().await;
    let mut child = std::process::Command::new("true").stdin(Stdio::null()).spawn().unwrap();
    let dead = child.id();
    child.wait().unwrap();
    town.refused(town.plugin().with("pid", dead), 403, "ProcessRefusedError", "no process").await;
    town.refused(town.plugin().with("pid", u32::MAX), 403, "ProcessRefusedError", "no process").await;
    let mut stranger = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let plugin = town.plugin().with("pid", stranger.id());
    town.refused(plugin, 403, "ProcessRefusedError", "does not listen").await;
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    let closed = town.plugin().with("url", format!("http://127.0.0.1:{}", free_port()));
    town.refused(closed, 403, "ProcessRefusedError", "does not listen").await;
    assert!(town.fake.requests().is_empty(), "no token was told");
}

#[tokio::test]
async fn a_process_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        // Only root can start somebody else's process; the rule itself is tried beside it.
        return;
    }
    let town = Town::new().await;
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid", "54321", "--regid", "54321", "--clear-groups", "sleep", "60"]).current_dir("/");
    let mut other = command.spawn().unwrap();
    let pid = other.id();
    crate::support::eventually::eventually("another user's process", || async move {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        if status.contains("Uid:\t54321") { Ok(()) } else { Err(status) }
    })
    .await;
    town.refused(town.plugin().with("pid", pid), 403, "ProcessRefusedError", "another user").await;
    other.kill().unwrap();
    other.wait().unwrap();
}

#[tokio::test]
async fn what_does_not_answer_as_an_agent_with_that_token_is_refused() {
    let town = Town::new().await;
    let wrong = Plugin::of_terminal(&town.fake, "wrong");
    town.refused(wrong, 422, "NotAnAgentError", "refuses what it is told").await;
    let page = raw_server(|_| Some(answer("text/html", "<html></html>"))).await;
    let plugin = town.plugin().with("url", page.url()).with("pid", std::process::id());
    town.refused(plugin, 422, "NotAnAgentError", "does not answer as OpenCode").await;
    let circle = Daemon::builder().start_unready().await;
    let plugin = town.plugin().with("url", circle.url()).with("pid", circle.pid());
    town.refused(plugin, 422, "NotAnAgentError", "does not answer as OpenCode").await;
}

#[tokio::test]
async fn bodies_that_say_nothing_sensible_are_refused_in_json() {
    let town = Town::new().await;
    for (field, value) in [
        ("instance", json!("")),
        ("instance", json!("a b\n")),
        ("kind", json!("other")),
        ("kind", json!("editor")),
        ("token", json!("a\r\nb")),
        ("token", json!("x".repeat(300))),
        ("viewing", json!("msg_1")),
        ("pid", json!(-1)),
    ] {
        let answer = town.plugin().with(field, value.clone()).knock(&town.daemon).await;
        assert_eq!((answer.status, &answer.json()["name"]), (400, &json!("BadRequest")), "{field} {value}");
    }
    for body in ["", "{", "[]", "null", "{}"] {
        let answer = town.daemon.send(town.daemon.trusted("POST", "/servers").body(body)).await;
        assert_eq!((answer.status, &answer.json()["name"]), (400, &json!("BadRequest")), "{body}");
    }
    let huge = vec![b' '; 100 * 1024];
    let answer = town.daemon.send(town.daemon.trusted("POST", "/servers").body(huge)).await;
    assert_eq!((answer.status, &answer.json()["name"]), (413, &json!("BodyTooLargeError")));
}

#[tokio::test]
async fn ten_thousand_registrations_are_not_taken_and_those_that_hold_go_on() {
    const MOST: usize = 1000;
    let town = Town::new().await;
    let mut held = town.plugin();
    held.register(&town.daemon).await;
    let (mut taken, mut full) = (0, 0);
    for _ in 0..10_000 {
        let answer = Plugin::attached_to("http://127.0.0.1:9").knock(&town.daemon).await;
        match answer.status {
            201 => taken += 1,
            503 => {
                assert_eq!(answer.json()["name"], "RegistrationsFullError");
                full += 1;
            }
            status => panic!("{status}: {answer:?}"),
        }
        if taken % 200 == 0 {
            assert_eq!(held.beat(&town.daemon, &json!({})).await.status, 200);
        }
    }
    // Some of the first may have lapsed meanwhile.
    assert!(taken >= MOST - 1 && full > 0, "{taken} taken, {full} refused");
    assert_eq!(held.register(&town.daemon).await, 200);
    assert_eq!(town.daemon.get("/config").await.status, 200);
}
