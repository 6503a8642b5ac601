//! The secret, the proof, and the forms of the answers: what a plugin of another age relies on.

use std::os::unix::fs::PermissionsExt;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{
    daemon::Daemon,
    fake::FakeStore,
    plugin::{Plugin, terminal},
    wire::exchange,
};

const NONCE: &str = "00112233445566778899aabbccddeeff";

/// What a plugin computes.
fn proof(file: &Value) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(file["secret"].as_str().unwrap().as_bytes()).unwrap();
    mac.update(format!("pointsman challenge\n{NONCE}\n{}", file["url"].as_str().unwrap()).as_bytes());
    let bytes = mac.finalize().into_bytes();
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

async fn none() -> Daemon {
    Daemon::builder().start_unready().await
}

#[tokio::test]
async fn the_file_says_where_and_its_secret_is_kept_for_its_owner_over_restarts() {
    let mut daemon = Daemon::builder().arg("--base-path").arg("/oc").start_unready().await;
    let file = daemon.registration_file();
    assert_eq!((&file["protocol"], &file["url"]), (&json!(1), &json!(daemon.url())));
    assert!(daemon.url().ends_with("/oc"));
    let mode = std::fs::metadata(daemon.state_directory().join("registration.json")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    daemon.restart_unready().await;
    assert_eq!(daemon.registration_file(), file);
    daemon.term().await;
    assert_eq!(daemon.registration_file(), file, "a plugin waits for the next daemon");
}

#[tokio::test]
async fn the_daemon_proves_itself_by_secret_and_address_with_and_without_a_token() {
    for daemon in [none().await, Daemon::builder().env("POINTSMAN_TOKEN", "t").start_unready().await] {
        let answer = daemon.post("/servers/challenge", &json!({"nonce": NONCE})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json(), json!({"protocol": 1, "proof": proof(&daemon.registration_file())}));
        for nonce in ["", "00112233445566", &"a".repeat(129), "not hexadecimal at all"] {
            let refused = daemon.post("/servers/challenge", &json!({"nonce": nonce})).await;
            assert_eq!((refused.status, &refused.json()["name"]), (400, &json!("BadRequest")), "{nonce}");
        }
    }
}

#[tokio::test]
async fn without_the_secret_nothing_is_registered_or_pinned_and_with_it_no_token_is_needed() {
    let store = FakeStore::new();
    let fake = terminal(&store, &store.directory("a"), "its").await;
    for daemon in [none().await, Daemon::builder().env("POINTSMAN_TOKEN", "t").start_unready().await] {
        let mut plugin = Plugin::of_terminal(&fake, "its");
        assert_eq!(plugin.register(&daemon).await, 201);
        let own = format!("/servers/{}", plugin.id());
        for (method, path) in [
            ("POST", "/servers"),
            ("PUT", &own),
            ("DELETE", &own),
            ("PUT", "/sessions/ses_1/owner"),
            ("DELETE", "/sessions/ses_1/owner"),
        ] {
            for request in [
                daemon.request(method, path),
                daemon.request(method, path).header("x-pointsman-secret", "0".repeat(64)),
                daemon.request(method, path).bearer_auth("t"),
            ] {
                let refused = daemon.send(request.json(&json!({}))).await;
                assert_eq!((refused.status, &refused.json()["name"]), (401, &json!("UnauthorizedError")));
                let message = refused.json()["data"]["message"].as_str().unwrap().to_owned();
                assert!(message.contains("registration.json"), "{message}");
            }
        }
        assert_eq!(plugin.beat(&daemon, &json!({})).await.status, 200);
        let unknown = daemon.send(daemon.trusted("DELETE", "/sessions/ses_unknown0/owner")).await;
        assert_eq!(unknown.status, 404, "{unknown:?}");
    }
}

#[tokio::test]
async fn no_page_of_any_origin_reaches_what_registers() {
    let daemon = none().await;
    let secret = daemon.registration_file()["secret"].as_str().unwrap().to_owned();
    for line in
        ["POST /servers/challenge", "POST /servers", "PUT /servers/srv_1", "DELETE /sessions/ses_1/owner"]
    {
        for mark in
            ["origin: http://localhost:3000", "origin: https://opencode.ai", "sec-fetch-site: same-origin"]
        {
            let request = format!(
                "{line} HTTP/1.1\r\nhost: localhost\r\n{mark}\r\nx-pointsman-secret: {secret}\r\n\
                 content-length: 2\r\nconnection: close\r\n\r\n{{}}"
            );
            let answer = exchange(daemon.address(), request).await;
            assert_eq!(answer.status(), 403, "{line} {mark}: {}", answer.text());
            assert!(answer.text().contains("OriginRefusedError"));
            assert!(answer.headers("access-control-allow-origin").is_empty());
        }
    }
}

#[tokio::test]
async fn a_registration_is_answered_with_its_lease_and_the_same_instance_has_one() {
    let store = FakeStore::new();
    let fake = terminal(&store, &store.directory("a"), "its").await;
    let daemon = none().await;
    let mut plugin = Plugin::of_terminal(&fake, "its");
    let first = plugin.knock(&daemon).await;
    assert_eq!(first.status, 201, "{first:?}");
    let lease = first.json();
    assert!(lease["id"].as_str().unwrap().starts_with("srv_"));
    assert_eq!(lease["protocol"], 1);
    assert!(lease["lease_ms"].as_u64().unwrap() >= 3 * lease["heartbeat_ms"].as_u64().unwrap());
    let again = plugin.knock(&daemon).await;
    assert_eq!((again.status, again.json()), (200, lease.clone()));
    assert_eq!(plugin.register(&daemon).await, 200);
    assert_eq!(plugin.beat(&daemon, &json!({"viewing": null})).await.json(), lease);
    assert_eq!(daemon.servers().await.len(), 1);
    let farewell = plugin.farewell(&daemon).await;
    assert_eq!((farewell.status, farewell.text()), (204, String::new()));
    for gone in [plugin.farewell(&daemon).await, plugin.beat(&daemon, &json!({})).await] {
        assert_eq!((gone.status, &gone.json()["name"]), (404, &json!("NotFoundError")));
    }
}

#[tokio::test]
async fn tokens_and_secret_are_told_to_nobody() {
    let store = FakeStore::new();
    let fake = terminal(&store, &store.directory("a"), "t0ken-of-a-listener").await;
    let daemon = none().await;
    let secret = daemon.registration_file()["secret"].as_str().unwrap().to_owned();
    let mut plugin = Plugin::of_terminal(&fake, "t0ken-of-a-listener");
    plugin.register(&daemon).await;
    fake.wait_for_streams(1).await;
    let passed = daemon.request("GET", "/config").header("x-pointsman-secret", &secret);
    assert_eq!(daemon.send(passed).await.status, 200);
    let seen = fake.wait_for_request("GET /config").await;
    assert_eq!(seen.headers["authorization"], "Bearer t0ken-of-a-listener");
    assert!(!seen.headers.contains_key("x-pointsman-secret"));
    let mut told = daemon.log();
    for path in ["/servers", "/sessions", "/metrics", "/openapi.json", "/config"] {
        let answer = daemon.get(path).await;
        told = format!("{told}{:?}{}", answer.headers, answer.text());
    }
    let wrong = Plugin::of_terminal(&fake, "another-t0ken").knock(&daemon).await;
    assert_eq!(wrong.status, 422, "{wrong:?}");
    told += &wrong.text();
    told += &daemon.log();
    assert!(!told.contains("t0ken") && !told.contains(&secret), "{told}");
    assert!(fake.requests().iter().all(|request| !request.headers.contains_key("x-pointsman-secret")));
}
