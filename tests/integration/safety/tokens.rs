//! Tokens of ours end here, passwords of servers end there.

use serde_json::json;

use crate::support::{
    daemon::{Answer, Daemon},
    fake::{FakeServer, FakeStore, Invocation},
    town::start,
};

const TOKEN: &str = "s3cret-token";

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

async fn with_token() -> (FakeServer, Daemon) {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let builder = Daemon::builder().env("POINTSMAN_TOKEN", TOKEN).server(fake.url());
    let daemon = builder.start_unready().await;
    fake.wait_for_streams(1).await;
    (fake, daemon)
}

async fn bearer(daemon: &Daemon, path: &str) -> Answer {
    daemon.send(daemon.request("GET", path).bearer_auth(TOKEN)).await
}

#[tokio::test]
async fn without_the_token_nothing_is_answered_but_that_we_live() {
    let (fake, daemon) = with_token().await;
    for path in ["/session", "/config", "/", "/global/event", "/servers", "/metrics", "/readyz", "/sessions"]
    {
        let wrong = daemon.request("GET", path).bearer_auth("wrong");
        for answer in [daemon.get(path).await, daemon.send(wrong).await] {
            assert_eq!(answer.status, 401, "{path}: {answer:?}");
            assert_eq!(answer.json()["name"], "UnauthorizedError");
            assert!(answer.header("www-authenticate").starts_with("Basic"), "{answer:?}");
        }
    }
    assert_eq!(daemon.get("/healthz").await.status, 200);
    assert!(fake.passed_on().is_empty());
}

#[tokio::test]
async fn the_token_is_taken_in_every_form_and_passed_on_in_none() {
    let (fake, daemon) = with_token().await;
    let pair = base64(&format!("anyone:{TOKEN}"));
    let forms = [
        daemon.request("GET", "/config?x=1").bearer_auth(TOKEN),
        daemon.request("GET", "/config?x=1").basic_auth("opencode", Some(TOKEN)),
        daemon.request("GET", &format!("/config?auth_token={pair}&x=1")),
        daemon.request("GET", &format!("/config?x=1&auth_token={pair}")),
        daemon
            .request("GET", "/config?x=1")
            .bearer_auth(TOKEN)
            .header("referer", format!("{}/?auth_token={pair}", daemon.url())),
    ];
    for form in forms {
        let answer = daemon.send(form).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = fake.requests_to("GET /config").pop().unwrap();
        assert_eq!(seen.query, "x=1");
        assert_eq!(seen.header("authorization"), None);
    }
    for request in fake.requests() {
        let told = format!("{} {:?}", request.target(), request.headers);
        assert!(!told.contains(TOKEN) && !told.contains(&pair), "{told}");
    }
    assert!(!daemon.log().contains(TOKEN) && !daemon.log().contains(&pair), "{}", daemon.log());
    let stream = daemon.request("GET", &format!("/global/event?auth_token={pair}"));
    let mut events = crate::support::sse::EventStream::open_with(stream).await;
    assert_eq!(events.next().await.kind(), "server.connected");
    let merged = bearer(&daemon, "/session").await;
    assert_eq!(merged.status, 200);
}

#[tokio::test]
async fn a_servers_password_opens_it_and_reaches_nobody() {
    let store = FakeStore::new();
    let directory = store.directory("a");
    let builder = FakeServer::builder(&store, &directory).invocation(Invocation::Serve);
    let fake = builder.password("opencode", "hunter2").start().await;
    let config = format!("[[server]]\nurl = \"{}\"\npassword = \"hunter2\"\n", fake.url());
    let daemon = Daemon::builder().config(&config).start().await;
    fake.wait_for_streams(1).await;
    let session = fake.create_session().id;
    daemon.wait_for_owner(&session, &fake, "emitted").await;
    let pair = base64("opencode:hunter2");
    let mut told = vec![daemon.explain(&session).await.to_string()];
    for path in ["/config", "/session", "/servers", "/sessions", "/metrics", "/openapi.json", "/", "/nowhere"]
    {
        let answer = daemon.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        told.extend([format!("{answer:?}"), answer.text()]);
    }
    told.push(daemon.log());
    assert!(told.iter().all(|told| !told.contains("hunter2") && !told.contains(&pair)));
    // What the client says of itself gives way to what the server wants.
    let named = daemon.request("POST", "/log").bearer_auth("theirs").json(&json!({}));
    assert_eq!(daemon.send(named).await.status, 200);
    let seen = fake.requests_to("POST /log").pop().unwrap();
    assert_eq!(seen.header("authorization"), Some(&*format!("Basic {pair}")));
}

#[tokio::test]
async fn a_server_with_a_password_that_nobody_gave_is_listed_as_locked() {
    let store = FakeStore::new();
    let (a, b) = (store.directory("a"), store.directory("b"));
    let open = FakeServer::serve(&store, &b).await;
    let builder = FakeServer::builder(&store, &a).invocation(Invocation::Serve);
    let locked = builder.password("opencode", "hunter2").start().await;
    let daemon = start(Daemon::builder(), &[&open, &locked]).await;
    let servers = daemon.servers().await;
    let state = |fake: &FakeServer| {
        servers.iter().find(|server| server["port"] == fake.port()).map(|server| server["state"].clone())
    };
    assert_eq!((state(&open), state(&locked)), (Some(json!("up")), Some(json!("locked"))));
    assert_eq!(daemon.get("/config").await.fake(), open.address());
    assert_eq!(daemon.get("/session").await.status, 200);
}

#[tokio::test]
async fn the_state_directory_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let daemon = Daemon::start([""; 0]).await;
    let mode = std::fs::metadata(daemon.state_directory()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
