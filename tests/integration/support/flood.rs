//! A server that emits as fast as it is read.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use tokio::sync::{mpsc, watch};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::fake::{FakeServer, now_ms};

/// How many events of one block change nothing that stays, and how long each is.
const NOISE: usize = 3;
const LONG: usize = 32 << 10;

/// The stream of one server. It greets, and then says nothing until it begins.
pub struct Flood {
    goes: watch::Sender<bool>,
    bytes: Arc<AtomicUsize>,
    stops: Arc<AtomicBool>,
}

impl Flood {
    /// Of this server, to which no daemon listens yet.
    pub fn of(server: &FakeServer) -> Self {
        let goes = watch::Sender::new(false);
        let (bytes, stops) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let directory = server.directory().to_owned();
        server.script("GET /global/event", {
            let (goes, bytes, stops) = (goes.clone(), bytes.clone(), stops.clone());
            move |_| {
                let (sender, receiver) = mpsc::channel(1);
                let told = tell(sender, goes.subscribe(), bytes.clone(), stops.clone(), directory.clone());
                tokio::spawn(told);
                async {
                    let body = Body::from_stream(ReceiverStream::new(receiver).map(std::io::Result::Ok));
                    Response::builder().header("content-type", "text/event-stream").body(body).unwrap()
                }
            }
        });
        Self { goes, bytes, stops }
    }

    pub fn begin(&self) {
        self.goes.send_replace(true);
    }

    /// How much of it has been taken.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Ends it with a `flood.end`; the stream stays open.
    pub fn stop(&self) {
        self.stops.store(true, Ordering::Relaxed);
    }
}

async fn tell(
    stream: mpsc::Sender<Bytes>,
    mut goes: watch::Receiver<bool>,
    bytes: Arc<AtomicUsize>,
    stops: Arc<AtomicBool>,
    directory: String,
) {
    let greeting =
        "data: {\"payload\":{\"id\":\"evt_1\",\"type\":\"server.connected\",\"properties\":{}}}\n\n";
    let _ = stream.send(greeting.into()).await;
    let _ = goes.wait_for(|goes| *goes).await;
    let event = |kind: &str, properties: &str| {
        format!(
            "data: {{\"directory\":\"{directory}\",\"project\":\"flood\",\"payload\":\
             {{\"id\":\"evt_1\",\"type\":\"{kind}\",\"properties\":{properties}}}}}\n\n"
        )
    };
    let noise = event("flood.noise", &format!("{{\"text\":\"{}\"}}", "x".repeat(LONG))).repeat(NOISE);
    for number in 0.. {
        if stops.load(Ordering::Relaxed) {
            break;
        }
        let (id, now_ms) = (format!("ses_flood{number:06}"), now_ms());
        let info = format!(
            "{{\"id\":\"{id}\",\"directory\":\"{directory}\",\"projectID\":\"flood\",\"title\":\"\",\
             \"time\":{{\"created\":{now_ms},\"updated\":{now_ms}}}}}"
        );
        let updated = format!("{{\"sessionID\":\"{id}\",\"info\":{info}}}");
        let block = [&event("session.updated", &updated), &*noise].concat();
        let length = block.len();
        if stream.send(block.into()).await.is_err() {
            return;
        }
        bytes.fetch_add(length, Ordering::Relaxed);
    }
    let _ = stream.send(event("flood.end", "{}").into()).await;
    stream.closed().await;
}
