//! Web pages: names pointed at this machine, and requests across sites.

use crate::support::{
    daemon::Daemon,
    fake::{FakeServer, FakeStore},
    town::{daemon_before, start},
    wire::{Raw, exchange},
};

async fn one() -> (FakeServer, Daemon) {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    (fake, daemon)
}

async fn ask(daemon: &Daemon, line: &str, headers: &str) -> Raw {
    exchange(daemon.address(), format!("{line} HTTP/1.1\r\n{headers}connection: close\r\n\r\n")).await
}

fn assert_refused(answer: &Raw, status: u16, name: &str) {
    assert_eq!(answer.status(), status, "{}", answer.text());
    let error: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(error["name"], name);
    assert_eq!(answer.headers("x-pointsman-error"), [name]);
    assert_eq!(
        answer.headers("access-control-allow-origin"),
        [""; 0],
        "the refusal is not for the page to read"
    );
}

#[tokio::test]
async fn a_name_that_is_not_ours_is_refused_whoever_it_points_at() {
    let (fake, daemon) = one().await;
    let before = fake.passed_on().len();
    for line in
        ["GET /session", "POST /session", "GET /global/event", "GET /servers", "GET /healthz", "GET /"]
    {
        for host in ["evil.example", "evil.example:4747", "localhost.evil.example", "0.0.0.0", "192.0.2.1"] {
            assert_refused(&ask(&daemon, line, &format!("host: {host}\r\n")).await, 403, "HostUnknownError");
        }
    }
    let absolute = ask(&daemon, "GET http://evil.example/session", "host: localhost\r\n").await;
    assert_refused(&absolute, 403, "HostUnknownError");
    assert_eq!(fake.passed_on().len(), before);
    for host in ["localhost", "127.0.0.1", "[::1]:80"] {
        assert_eq!(ask(&daemon, "GET /config", &format!("host: {host}\r\n")).await.status(), 200, "{host}");
    }
}

#[tokio::test]
async fn a_name_that_the_configuration_allows_is_ours() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = start(Daemon::builder().env("POINTSMAN_ALLOWED_HOSTS", "box.local"), &[&fake]).await;
    assert_eq!(ask(&daemon, "GET /config", "host: box.local:4747\r\n").await.status(), 200);
    assert_refused(&ask(&daemon, "GET /config", "host: box\r\n").await, 403, "HostUnknownError");
}

#[tokio::test]
async fn a_page_of_another_site_writes_nothing_and_reads_nothing() {
    let (fake, daemon) = one().await;
    let before = fake.passed_on().len();
    for line in [
        "POST /session",
        "DELETE /session/ses_1",
        "GET /session",
        "GET /global/event",
        "PUT /sessions/ses_1/owner",
    ] {
        for origin in ["https://evil.example", "null", "http://localhost.evil.example", "http://192.0.2.1"] {
            let answer = ask(&daemon, line, &format!("host: localhost\r\norigin: {origin}\r\n")).await;
            assert_refused(&answer, 403, "OriginRefusedError");
        }
        let answer = ask(
            &daemon,
            line,
            "host: localhost\r\nsec-fetch-site: cross-site\r\nsec-fetch-mode: no-cors\r\n",
        )
        .await;
        assert_refused(&answer, 403, "OriginRefusedError");
    }
    assert_eq!(fake.passed_on().len(), before);
}

#[tokio::test]
async fn a_page_of_this_machine_may_read_and_write_and_see_our_headers() {
    let (fake, daemon) = one().await;
    let headers = "host: localhost\r\norigin: http://localhost:3000\r\n";
    for line in ["GET /config", "GET /session", "GET /servers", "GET /session/ses_unknown"] {
        let answer = ask(&daemon, line, headers).await;
        assert_eq!(answer.headers("access-control-allow-origin"), ["http://localhost:3000"], "{line}");
        assert!(answer.headers("vary").join(",").to_lowercase().contains("origin"), "{line}");
    }
    let passed = ask(&daemon, "GET /config", headers).await;
    let exposed = passed.headers("access-control-expose-headers").join(",").to_lowercase();
    assert!(exposed.contains("x-pointsman-server"), "{}", passed.text());
    let before = fake.passed_on().len();
    let preflight = "host: localhost\r\norigin: http://localhost:3000\r\naccess-control-request-method: POST\r\n\
                     access-control-request-headers: content-type,x-opencode-directory\r\n";
    let answer = ask(&daemon, "OPTIONS /session", preflight).await;
    assert_eq!((answer.status(), answer.body()), (204, &b""[..]));
    assert_eq!(answer.headers("access-control-allow-origin"), ["http://localhost:3000"]);
    assert!(answer.headers("access-control-allow-headers").join(",").contains("x-opencode-directory"));
    assert_eq!(fake.passed_on().len(), before, "a preflight was passed on");
    let foreign = preflight.replace("http://localhost:3000", "https://evil.example");
    assert_refused(&ask(&daemon, "OPTIONS /session", &foreign).await, 403, "OriginRefusedError");
}

#[tokio::test]
async fn a_page_that_the_configuration_allows_may_read_every_kind_of_answer() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let origin = "https://ui.example";
    let daemon = start(Daemon::builder().arg("--cors").arg(origin), &[&fake]).await;
    let headers = format!("host: localhost\r\norigin: {origin}\r\n");
    for (line, status) in [
        ("GET /config", 200),
        ("GET /session", 200),
        ("GET /api/session?limit=0", 400),
        ("GET /provider", 200),
        ("GET /servers", 200),
        ("GET /sessions/ses_unknown", 404),
        ("POST /instance/dispose?directory=/nobodys", 409),
        ("OPTIONS /session", 204),
    ] {
        let asks = if status == 204 { "access-control-request-method: PUT\r\n" } else { "" };
        let answer = ask(&daemon, line, &format!("{headers}{asks}")).await;
        assert_eq!(answer.status(), status, "{line}: {}", answer.text());
        assert_eq!(answer.headers("access-control-allow-origin"), [origin], "{line}");
        let exposed = answer.headers("access-control-expose-headers").join(",").to_lowercase();
        assert_eq!(exposed.contains("x-pointsman-error"), status != 204, "{line}: {exposed}");
        if !answer.headers("x-pointsman-error").is_empty() {
            continue;
        }
        let other = headers.replace(origin, "https://other.example");
        assert_refused(&ask(&daemon, line, &format!("{other}{asks}")).await, 403, "OriginRefusedError");
    }
}

#[tokio::test]
async fn a_terminal_opened_by_a_page_of_another_site_is_refused() {
    let (fake, daemon) = one().await;
    let upgrade = "host: localhost\r\norigin: https://evil.example\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    assert_refused(&ask(&daemon, "GET /pty/pty_1/connect", upgrade).await, 403, "OriginRefusedError");
    assert!(fake.requests_to("GET /pty/*").is_empty());
}
