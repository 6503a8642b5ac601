//! Everything under a prefix, whether a proxy in front takes it off or leaves it on.

use futures_util::{SinkExt, StreamExt};
use http::Response;
use serde_json::{Value, json};
use tokio_tungstenite::{connect_async, tungstenite::Message};

use crate::support::{
    daemon::Daemon,
    eventually::patiently,
    fake::{FakeServer, FakeStore},
    town::{Pair, acquainted, prompt, start},
};

const BASE: &str = "/oc";

async fn under_base(servers: &[&FakeServer]) -> Daemon {
    let daemon = start(Daemon::builder().arg("--base-path").arg(BASE), servers).await;
    acquainted(servers).await;
    daemon
}

/// The daemon's own address, without the base path.
fn root(daemon: &Daemon) -> String {
    format!("http://{}", daemon.address())
}

#[tokio::test]
async fn every_kind_of_request_is_served_with_the_prefix_and_without_it() {
    let pair = Pair::start().await;
    let daemon = under_base(&[&pair.low, &pair.high]).await;
    assert_eq!(daemon.url(), format!("http://{}{BASE}", daemon.address()));
    let session = pair.high.create_session().id;
    pair.low.create_session();
    daemon.wait_for_owner(&session, &pair.high, "emitted").await;
    let port = pair.low.port();
    let id = daemon.servers().await[0]["id"].as_str().unwrap().to_owned();
    for path in [
        "/".to_owned(),
        format!("/session/{session}"),
        format!("/session?directory={}&limit=5", pair.directory),
        "/api/session?limit=1".to_owned(),
        "/experimental/session?limit=1".to_owned(),
        "/healthz".to_owned(),
        "/readyz".to_owned(),
        format!("/sessions/{session}"),
        "/api/opencode/servers".to_owned(),
        format!("/api/opencode/{port}/session/{session}"),
        format!("/servers/{id}/proxy/session/{session}"),
    ] {
        let mut answers = Vec::new();
        for base in [String::new(), daemon.url().replace(&root(&daemon), "")] {
            let request = daemon.client().get(format!("{}{base}{path}", root(&daemon)));
            let answer = daemon.send(request).await;
            answers.push((answer.status, answer.fake().to_owned(), answer.route().to_owned(), answer.text()));
        }
        assert_eq!(answers[0], answers[1], "{path}");
        assert_eq!(answers[0].0, 200, "{path}: {answers:?}");
    }
    for server in [&pair.low, &pair.high] {
        assert!(
            server.requests().iter().all(|request| !request.target().contains("/oc/")),
            "a server saw the prefix"
        );
    }
}

#[tokio::test]
async fn a_turn_under_the_prefix_reaches_its_owner_and_is_seen_on_a_stream_under_it() {
    let pair = Pair::start().await;
    let daemon = under_base(&[&pair.low, &pair.high]).await;
    for server in [&pair.low, &pair.high] {
        let session = server.create_session().id;
        daemon.wait_for_owner(&session, server, "emitted").await;
        let mut events = daemon.events("/global/event").await;
        events.expect_kind("server.connected").await;
        let answer = daemon.post(&format!("/session/{session}/message"), &prompt("hello")).await;
        assert_eq!((answer.status, answer.fake()), (200, &*server.address()));
        // A stream also tells who comes late what went before.
        events.expect(|event| event.kind() == "session.idle" && event.session() == session).await;
    }
}

#[tokio::test]
async fn a_terminal_is_reached_under_the_prefix() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = under_base(&[&fake]).await;
    let id = daemon.post("/pty", &json!({})).await.json()["id"].as_str().unwrap().to_owned();
    for base in ["", BASE] {
        let url = format!("ws://{}{base}/pty/{id}/connect?cursor=0", daemon.address());
        let (mut socket, _) = patiently("a socket", connect_async(url)).await.unwrap();
        socket.send(Message::text("ls\n")).await.unwrap();
        assert_eq!(patiently("the echo", socket.next()).await.unwrap().unwrap(), Message::text("ls\n"));
        socket.close(None).await.unwrap();
    }
}

/// Answers as `OpenCode` does: with a link to the next page at the host that was asked.
fn link_to_next_page(fake: &FakeServer) {
    fake.script("GET /session/*", |question| async move {
        let host = question.headers()["host"].to_str().unwrap().to_owned();
        let told = question.headers().get("x-forwarded-prefix").cloned();
        let mut answer = Response::new(axum::body::Body::from("[]"));
        let headers = answer.headers_mut();
        let link = format!("<http://{host}{}?limit=1&before=x>; rel=\"next\"", question.uri().path());
        headers.insert("link", link.parse().unwrap());
        headers.insert("location", format!("{}?moved", question.uri().path()).parse().unwrap());
        if let Some(told) = told {
            headers.insert("x-told-prefix", told);
        }
        answer
    });
}

#[tokio::test]
async fn links_lead_back_through_the_prefix_the_client_uses() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    link_to_next_page(&fake);
    let session = fake.create_session().id;
    let path = format!("/session/{session}/message");
    for (base, said, expected) in [
        (None, None, ""),
        (None, Some("/outer"), "/outer"),
        (None, Some("//evil.example"), ""),
        (Some(BASE), None, "/oc"),
        (Some(BASE), Some("/outer"), "/outer/oc"),
        (Some(BASE), Some("/oc"), "/oc"),
    ] {
        let builder = match base {
            Some(base) => Daemon::builder().arg("--base-path").arg(base),
            None => Daemon::builder(),
        };
        let daemon = start(builder, &[&fake]).await;
        let mut request = daemon.request("GET", &path).header("host", "localhost:99");
        if let Some(said) = said {
            request = request.header("x-forwarded-prefix", said);
        }
        let answer = daemon.send(request).await;
        let link = format!("<http://localhost:99{expected}{path}?limit=1&before=x>; rel=\"next\"");
        assert_eq!(answer.header("link"), link, "{base:?} {said:?}");
        assert_eq!(answer.header("location"), format!("{expected}{path}?moved"));
        if !expected.is_empty() {
            assert_eq!(answer.header("x-told-prefix"), expected);
        }
    }
}

#[tokio::test]
async fn the_page_its_parts_and_a_script_of_ours_are_served_under_the_prefix_alone() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let page = "<html><head><script src=\"/assets/i.js\"></script></head></html>";
    fake.script("GET /", move |question| async move {
        assert!(
            !question.headers().contains_key("accept-encoding")
                || !question.headers().contains_key("x-forwarded-prefix")
        );
        let answer =
            Response::builder().header("content-type", "text/html").header("content-length", page.len());
        answer.header("content-security-policy", "script-src 'self'").body(page.into()).unwrap()
    });
    fake.script("GET /assets/*", |_| async {
        let part = "import(\"./a.js\");const b=\"/assets/b.svg\"";
        let answer = Response::builder()
            .header("content-type", "text/javascript")
            .header("content-length", part.len());
        answer.body(part.into()).unwrap()
    });
    let daemon = under_base(&[&fake]).await;
    let browse = |path: &str| {
        let request =
            daemon.request("GET", path).header("accept", "text/html,*/*").header("accept-encoding", "gzip");
        daemon.send(request)
    };
    let answer = browse("/").await;
    let script = "<script src=\"/oc/base-path.js\"></script><script src=\"/oc/assets/i.js\">";
    assert_eq!(answer.text(), page.replace("<script src=\"/assets/i.js\">", script));
    assert_eq!(answer.header("content-security-policy"), "script-src 'self'");
    assert_eq!(browse("/assets/i.js").await.text(), "import(\"./a.js\");const b=\"/oc/assets/b.svg\"");
    let script = browse("/base-path.js").await;
    assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
    assert!(script.text().contains("window.fetch"), "{script:?}");

    let plain = start(Daemon::builder(), &[&fake]).await;
    let request = plain.request("GET", "/").header("accept", "text/html").header("accept-encoding", "gzip");
    assert_eq!(plain.send(request).await.text(), page);
    assert_eq!(plain.get("/base-path.js").await.fake(), fake.address());
}

#[tokio::test]
async fn the_sign_of_life_is_open_under_the_prefix_and_nothing_else_is() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let builder =
        Daemon::builder().server(fake.url()).arg("--base-path").arg(BASE).env("POINTSMAN_TOKEN", "s3cret");
    let daemon = builder.start_unready().await;
    assert_eq!(daemon.get("/healthz").await.status, 200);
    for path in ["/session", "/readyz", "/oc/healthz", "//healthz"] {
        assert_eq!(daemon.get(path).await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn a_base_path_that_is_none_stops_the_start() {
    for (path, said) in
        [("/oc/", "is not a path such as /oc"), ("oc", "is not a path"), ("/api", "choose another")]
    {
        let (code, log) = Daemon::builder().arg("--base-path").arg(path).start_failing().await;
        assert_eq!(code, Some(2), "{log}");
        assert!(log.contains(said), "{log}");
    }
}

#[tokio::test]
async fn the_commands_find_a_daemon_under_its_prefix() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = under_base(&[&fake]).await;
    let told = std::fs::read(daemon.state_directory().join("daemon.json")).unwrap();
    let told: Value = serde_json::from_slice(&told).unwrap();
    assert_eq!(told["url"], *daemon.url());
    let asked = tokio::process::Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args(["servers", "--json"])
        .env_clear()
        .env("HOME", daemon.state_directory())
        .env("POINTSMAN_STATE_DIR", daemon.state_directory())
        .output();
    let answer = patiently("the command", asked).await.unwrap();
    let servers: Value = serde_json::from_slice(&answer.stdout).unwrap_or_else(|_| panic!("{answer:?}"));
    assert!(servers.to_string().contains(&fake.url()), "{servers}");
}
