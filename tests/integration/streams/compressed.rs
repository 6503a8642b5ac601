//! Streams in gzip, for whoever asks: each event can be read the moment it has come.

use flate2::{Decompress, FlushDecompress};
use futures_util::StreamExt as _;
use serde_json::json;
use tokio::process::Command;

use crate::support::{
    eventually::patiently,
    fake::{FakeServer, FakeStore},
    process::Process,
    town::daemon_before,
};

#[tokio::test]
async fn each_event_is_readable_when_it_has_come() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    for path in ["/global/event", "/event", "/events", "/api/event"] {
        let request = daemon.request("GET", path).query(&[("directory", fake.directory())]);
        let plain = request.try_clone().unwrap().send().await.unwrap();
        assert!(plain.headers().get("content-encoding").is_none());
        let refused =
            request.try_clone().unwrap().header("accept-encoding", "gzip;q=0, br").send().await.unwrap();
        assert!(refused.headers().get("content-encoding").is_none());

        let response = request.header("accept-encoding", "gzip, deflate, br, zstd").send().await.unwrap();
        assert_eq!(response.headers()["content-encoding"], "gzip");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let (mut pieces, mut inflate) = (response.bytes_stream(), Decompress::new_gzip(15));
        let (mut text, mut buffer) = (String::new(), vec![0; 1 << 16]);
        for number in 0..20 {
            let wanted = if number == 0 { "\n\n".to_owned() } else { format!("\"number\":{number}") };
            if number > 0 && path == "/api/event" {
                fake.send_raw_api(format!(
                    "data: {{\"type\":\"test.told\",\"data\":{{\"number\":{number}}}}}\n\n"
                ));
            } else if number > 0 {
                fake.emit(fake.directory(), "test.told", json!({"number": number}));
            }
            // The next is emitted only when this one has been read.
            while !(text.contains(&wanted) && text.ends_with("\n\n")) {
                let piece = patiently("the next piece", pieces.next()).await.unwrap().unwrap();
                let before = inflate.total_out();
                inflate.decompress(&piece, &mut buffer, FlushDecompress::Sync).unwrap();
                let read = usize::try_from(inflate.total_out() - before).unwrap();
                text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
            }
        }
    }
}

/// The runtime that the agent and its terminal are built on, which asks for gzip by itself.
#[tokio::test]
async fn the_fetch_of_the_agents_runtime_reads_each_event_when_it_has_come() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    let script = r#"
        const response = await fetch(process.argv.at(-1));
        console.log("encoding", response.headers.get("content-encoding"));
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        for (;;) {
            const { value, done } = await reader.read();
            if (done) break;
            for (const [, number] of value.matchAll(/"number":(\d+)/g)) console.log(`number ${number}.`);
            if (value.includes("server.connected")) console.log("greeted");
        }
    "#;
    let file = tempfile::Builder::new().suffix(".mjs").tempfile().unwrap();
    std::fs::write(file.path(), script).unwrap();
    let mut command = Command::new(crate::support::opencode::binary());
    command.env("BUN_BE_BUN", "1").arg(file.path()).arg(format!("{}/global/event", daemon.url()));
    let mut reader = Process::start("bun", &command);
    // Bun decodes what it asked for, and says what came.
    assert_eq!(reader.line_after("encoding ").await.trim(), "gzip");
    reader.line_after("greeted").await;
    for number in 0..20 {
        fake.emit(fake.directory(), "test.told", json!({"number": number}));
        reader.line_after(&format!("number {number}.")).await;
    }
}
