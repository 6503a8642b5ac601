//! Reads of what servers offer: asked once for many, kept for a moment, dropped when it may have changed.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{
    daemon::{Answer, Daemon},
    fake::{FakeServer, FakeStore, Fault},
};

const READS: [&str; 9] = [
    "/provider",
    "/config/providers",
    "/agent",
    "/command",
    "/skill",
    "/api/provider",
    "/api/model",
    "/api/agent",
    "/api/command",
];

fn cache(answer: &Answer) -> &str {
    answer.header("x-pointsman-cache")
}

/// Reads until the answer is kept: the opening of a directory, and of our own stream, count as changes.
async fn settle(daemon: &Daemon, path: &str) -> Answer {
    daemon.wait_for_answer(path, |answer| cache(answer) == "hit").await
}

fn count(fake: &FakeServer, line: &str) -> usize {
    fake.requests_to(line).len()
}

fn offers(fake: &FakeServer, text: &'static str) {
    fake.lift_faults();
    fake.fault("GET /provider", Fault::Answer(200, "application/json", Bytes::from_static(text.as_bytes())));
}

async fn metric(daemon: &Daemon, line: &str) -> u64 {
    let text = daemon.get("/metrics").await.text();
    let value = text.lines().find_map(|shown| shown.strip_prefix(line)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("{line} is not in {text}"))
}

#[tokio::test]
async fn ninety_clients_that_start_at_one_time_cause_one_request() {
    let fake = FakeServer::start(&FakeStore::new(), "/work").await;
    let daemon = Daemon::start([fake.url()]).await;
    settle(&daemon, "/provider").await;
    assert_eq!(daemon.send(daemon.request("PATCH", "/config").json(&json!({}))).await.status, 200);
    let (before, hits) = (
        count(&fake, "GET /provider"),
        metric(&daemon, "pointsman_catalogue_reads_total{cache=\"hit\"}").await,
    );
    fake.fault("GET /provider", Fault::Delay(Duration::from_millis(500)));
    let mut clients = JoinSet::new();
    for _ in 0..90 {
        let request = daemon.request("GET", "/provider");
        clients.spawn(async move {
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 200);
            (response.headers()["x-pointsman-cache"].clone(), response.bytes().await.unwrap())
        });
    }
    let answers = clients.join_all().await;
    assert_eq!(count(&fake, "GET /provider") - before, 1);
    assert_eq!(answers.iter().filter(|(cache, _)| cache == "miss").count(), 1);
    assert!(answers.iter().all(|(_, body)| *body == answers[0].1 && !body.is_empty()));
    let [shared, late] =
        ["shared", "hit"].map(|word| format!("pointsman_catalogue_reads_total{{cache=\"{word}\"}}"));
    let (shared, late) = (metric(&daemon, &shared).await, metric(&daemon, &late).await - hits);
    assert_eq!(shared + late, 89);
    assert!(metric(&daemon, "pointsman_catalogue_saved_bytes_total").await > 0);
    assert!(metric(&daemon, "pointsman_catalogue_kept_bytes").await > 0);
    assert!(metric(&daemon, "pointsman_catalogue_drops_total").await > 0);
}

#[tokio::test]
async fn every_read_of_the_catalogue_is_kept_and_says_what_its_server_says() {
    let fake = FakeServer::start(&FakeStore::new(), "/work").await;
    let daemon = Daemon::start([fake.url()]).await;
    for path in READS {
        let kept = settle(&daemon, path).await;
        let direct = reqwest::get(fake.url() + path).await.unwrap();
        assert_eq!(kept.status, direct.status().as_u16());
        assert_eq!(kept.header("content-type"), direct.headers()["content-type"].to_str().unwrap());
        assert_eq!(kept.body, direct.bytes().await.unwrap(), "{path}");
        assert_eq!((kept.server(), kept.fake()), (&*fake.address(), &*fake.address()));
        assert_eq!(kept.route(), "default");
    }
    for path in ["/config", "/mcp", "/provider/auth", "/session/status"] {
        for _ in 0..2 {
            assert_eq!(cache(&daemon.get(path).await), "", "{path}");
        }
    }
}

#[tokio::test]
async fn a_write_at_one_server_drops_what_was_read_from_every_server() {
    let store = FakeStore::new();
    let (one, two) = (FakeServer::start(&store, "/one").await, FakeServer::start(&store, "/two").await);
    let daemon = Daemon::start([one.url(), two.url()]).await;
    let servers = daemon.wait_for_servers(2).await;
    let paths: Vec<String> = servers
        .iter()
        .map(|server| format!("/servers/{}/proxy/provider", server["id"].as_str().unwrap()))
        .collect();
    for (method, path) in [
        ("PATCH", "/config"),
        ("PATCH", "/global/config"),
        ("PUT", "/auth/groq"),
        ("POST", "/mcp"),
        ("POST", "/mcp/x/disconnect"),
        ("POST", "/provider/x/oauth/callback"),
        ("DELETE", "/api/credential/crd_1"),
        ("POST", "/api/integration/x/connect/key"),
    ] {
        for path in &paths {
            settle(&daemon, path).await;
        }
        // The fake answers a write without an event: what drops is the write alone.
        let written =
            daemon.send(daemon.request(method, path).header("x-pointsman-server", one.address())).await;
        assert_eq!((written.status, written.fake()), (200, &*one.address()), "{method} {path}");
        for read in &paths {
            assert_eq!(cache(&daemon.get(read).await), "miss", "{method} {path}");
        }
    }
    for path in &paths {
        settle(&daemon, path).await;
    }
    let session = one.create_session();
    daemon.post(&format!("/session/{}/message", session.id), &json!({"parts": []})).await;
    daemon.post("/log", &json!({})).await;
    for path in &paths {
        assert_eq!(cache(&daemon.get(path).await), "hit", "work leaves the catalogue as it is");
    }
}

#[tokio::test]
async fn a_write_is_seen_by_the_next_read_even_while_an_older_read_is_on_its_way() {
    let fake = FakeServer::start(&FakeStore::new(), "/work").await;
    let daemon = Daemon::start([fake.url()]).await;
    settle(&daemon, "/agent").await;
    fake.fault_times("GET /provider", 1, Fault::StallAfter(1));
    let older = tokio::spawn(daemon.request("GET", "/provider").send());
    fake.wait_for_request("GET /provider").await;
    daemon.send(daemon.request("PUT", "/auth/groq").json(&json!({}))).await;
    fake.fault("GET /provider", Fault::Answer(200, "application/json", Bytes::from_static(b"\"new\"")));
    let newer = daemon.get("/provider").await;
    assert_eq!((newer.text().as_str(), cache(&newer)), ("\"new\"", "miss"));
    fake.lift_faults();
    assert_ne!(older.await.unwrap().unwrap().text().await.unwrap(), "\"new\"");
    let kept = daemon.get("/provider").await;
    assert_eq!((kept.text().as_str(), cache(&kept)), ("\"new\"", "hit"));
}

#[tokio::test]
async fn whoever_reads_upon_an_event_reads_what_it_told_of() {
    let fake = FakeServer::start(&FakeStore::new(), "/work").await;
    let daemon = Daemon::start([fake.url()]).await;
    let mut events = daemon.events("/global/event?directory=/work").await;
    fake.wait_for_streams(1).await;
    for (kind, text) in [
        ("catalog.updated", "\"1\""),
        ("integration.updated", "\"2\""),
        ("mcp.tools.changed", "\"3\""),
        ("server.instance.disposed", "\"4\""),
    ] {
        settle(&daemon, "/provider").await;
        offers(&fake, text);
        fake.emit("/work", kind, json!({"directory": "/work", "text": text}));
        events.expect(|event| event.kind() == kind && event.properties()["text"] == text).await;
        let read = daemon.get("/provider").await;
        assert_eq!(read.text(), text, "{kind}: {}", cache(&read));
    }
}

#[tokio::test]
async fn directories_credentials_and_workspaces_are_kept_apart() {
    let fake = FakeServer::start(&FakeStore::new(), "/work").await;
    let daemon = Daemon::start([fake.url()]).await;
    for path in ["/agent?directory=/a", "/agent?directory=/b", "/agent?directory=/a&workspace=wrk_1"] {
        let kept = settle(&daemon, path).await;
        assert_eq!(cache(&kept), "hit");
    }
    for (name, value) in [("x-opencode-directory", "/a"), ("authorization", "Basic eA==")] {
        let asked = || daemon.send(daemon.request("GET", "/agent").header(name, value));
        settle(&daemon, "/agent").await;
        let before = count(&fake, "GET /agent");
        asked().await;
        assert!(count(&fake, "GET /agent") > before, "{name}");
    }
}

#[tokio::test]
async fn a_client_can_have_it_confirmed_refreshed_or_read_past_the_cache() {
    let fake = FakeServer::start(&FakeStore::new(), "/work").await;
    let daemon = Daemon::start([fake.url()]).await;
    let kept = settle(&daemon, "/provider").await;
    let etag = kept.header("etag").to_owned();
    let asked =
        |name: &'static str, value: &str| daemon.send(daemon.request("GET", "/provider").header(name, value));
    let confirmed = asked("if-none-match", &etag).await;
    assert_eq!((confirmed.status, confirmed.body.len(), confirmed.header("etag")), (304, 0, &*etag));
    offers(&fake, "{\"all\":[1]}");
    let fresh = asked("cache-control", "no-cache").await;
    assert_eq!((fresh.text().as_str(), cache(&fresh)), ("{\"all\":[1]}", "miss"));
    let changed = asked("if-none-match", &etag).await;
    assert_eq!((changed.status, changed.text().as_str(), cache(&changed)), (200, "{\"all\":[1]}", "hit"));
    assert_eq!(cache(&asked("cache-control", "no-store").await), "");
    assert_eq!(cache(&daemon.send(daemon.request("HEAD", "/provider")).await), "");
    assert_eq!(metric(&daemon, "pointsman_catalogue_unchanged_total").await, 1);
}

#[tokio::test]
async fn pages_of_two_origins_may_each_read_the_answer_kept_for_the_other() {
    let fake = FakeServer::start(&FakeStore::new(), "/work").await;
    let daemon = Daemon::start([fake.url()]).await;
    settle(&daemon, "/provider").await;
    for page in ["http://localhost:3000", "http://localhost:4000"] {
        let answer = daemon.send(daemon.request("GET", "/provider").header("origin", page)).await;
        assert_eq!((cache(&answer), answer.header("access-control-allow-origin")), ("hit", page));
        assert!(answer.header("access-control-expose-headers").contains("X-Pointsman-Cache"));
    }
}

#[tokio::test]
async fn an_error_is_told_to_those_who_wait_and_to_nobody_later() {
    let fake = FakeServer::start(&FakeStore::new(), "/work").await;
    let daemon = Daemon::start([fake.url()]).await;
    settle(&daemon, "/agent").await;
    fake.fault_times("GET /provider", 1, Fault::Answer(500, "application/json", Bytes::from_static(b"{}")));
    assert_eq!(daemon.get("/provider").await.status, 500);
    assert_eq!(daemon.get("/provider").await.status, 200);
    fake.fault_times("GET /command", 2, Fault::Drop);
    fake.fault_times("GET /command", 2, Fault::Html);
    for _ in 0..2 {
        assert_ne!(cache(&daemon.get("/command").await), "hit");
    }
}

#[tokio::test]
async fn a_server_that_comes_back_is_asked_anew() {
    let fake = FakeServer::start(&FakeStore::new(), "/work").await;
    let daemon = Daemon::start([fake.url()]).await;
    settle(&daemon, "/provider").await;
    fake.restart().await;
    offers(&fake, "\"new\"");
    let answer =
        daemon.wait_for_answer("/provider", |answer| answer.status == 200 && cache(answer) == "miss").await;
    assert_eq!(answer.text(), "\"new\"");
}

#[tokio::test]
async fn with_no_time_to_live_every_read_goes_to_its_server() {
    let fake = FakeServer::start(&FakeStore::new(), "/work").await;
    let daemon = Daemon::builder().server(fake.url()).env("POINTSMAN_CATALOGUE_TTL", "0s").start().await;
    for _ in 0..3 {
        let answer = daemon.get("/provider").await;
        assert_eq!((answer.status, cache(&answer)), (200, ""));
    }
    assert_eq!(count(&fake, "GET /provider"), 3);
}
