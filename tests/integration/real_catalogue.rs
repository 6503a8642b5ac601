//! The catalogue of a real server: the same as direct, much sooner, and never older than a write.

use std::{io::Read, time::Instant};

use flate2::read::GzDecoder;
use serde_json::json;

use crate::support::{
    daemon::{Answer, Daemon},
    opencode::{OpenCode, Store},
};

fn cache(answer: &Answer) -> &str {
    answer.header("x-pointsman-cache")
}

fn decoded(coding: &str, body: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    match coding {
        "gzip" => drop(GzDecoder::new(body).read_to_end(&mut text).unwrap()),
        _ => text.extend_from_slice(body),
    }
    text
}

#[tokio::test]
async fn a_second_client_reads_the_same_catalogue_and_twenty_times_sooner() {
    let store = Store::new().await;
    let server = OpenCode::start(&store, &store.project("project")).await;
    let daemon = Daemon::start([server.url()]).await;
    for path in [
        "/provider",
        "/config/providers",
        "/agent",
        "/command",
        "/skill",
        "/api/provider",
        "/api/model",
        "/api/agent",
        "/api/command",
    ] {
        let kept = daemon.wait_for_answer(path, |answer| cache(answer) == "hit").await;
        for coding in ["identity", "gzip"] {
            let direct = server.request("GET", path).header("accept-encoding", coding).send().await.unwrap();
            let through = daemon.send(daemon.request("GET", path).header("accept-encoding", coding)).await;
            assert_eq!(through.status, direct.status().as_u16());
            let header = |name: &str| direct.headers().get(name).map_or("", |value| value.to_str().unwrap());
            assert_eq!(through.header("content-type"), header("content-type"));
            assert_eq!(through.header("content-encoding"), header("content-encoding"), "{path} {coding}");
            let coding = header("content-encoding").to_owned();
            let direct = decoded(&coding, &direct.bytes().await.unwrap());
            assert!(decoded(&coding, &through.body) == direct, "{path}: not the same");
            assert!(kept.body == direct, "{path}: not the same");
        }
    }
    // What was kept may have become too old by now.
    daemon.wait_for_answer("/provider", |answer| cache(answer) == "hit").await;
    // Side by side, the best of three of the slow one against the worst of three of the fast one.
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let begun = Instant::now();
        let answer =
            server.request("GET", "/provider").header("accept-encoding", "gzip").send().await.unwrap();
        answer.bytes().await.unwrap();
        direct.push(begun.elapsed());
        let answer = daemon.send(daemon.request("GET", "/provider").header("accept-encoding", "gzip")).await;
        assert_eq!(cache(&answer), "hit");
        through.push(answer.took);
    }
    println!("direct {direct:?}, through the daemon {through:?}");
    let (direct, through) = (direct.iter().min().unwrap(), through.iter().max().unwrap());
    assert!(*direct > *through * 20, "direct {direct:?}, through the daemon {through:?}");
}

#[tokio::test]
async fn what_a_client_has_just_changed_it_reads_at_once() {
    let store = Store::new().await;
    let server = OpenCode::start(&store, &store.project("project")).await;
    let daemon = Daemon::start([server.url()]).await;
    for n in 0..5 {
        daemon.wait_for_answer("/command", |answer| cache(answer) == "hit").await;
        let command = format!("hello-{n}");
        let change = json!({"command": {(&command): {"template": "say hello"}}});
        let written = daemon.send(daemon.request("PATCH", "/global/config").json(&change)).await;
        assert_eq!(written.status, 200, "{written:?}");
        let read = daemon.get("/command").await;
        assert!(read.text().contains(&command), "{command} is missing in a {}", cache(&read));
    }
    daemon.wait_for_answer("/provider", |answer| cache(answer) == "hit").await;
    let key = json!({"type": "api", "key": "x"});
    assert_eq!(daemon.send(daemon.request("PUT", "/auth/groq").json(&key)).await.status, 200);
    let connected = daemon.get("/provider").await.json()["connected"].to_string();
    assert!(connected.contains("groq"), "{connected}");
}
