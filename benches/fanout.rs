//! Fan-out within one process on one thread: how many deliveries a second, ours beside the usual way (a broadcast
//! channel, one frame for each event and subscriber), and what reading an event costs.
//!
//! `cargo bench --bench fanout`. Items are deliveries (events × subscribers); every subscriber counts what it got.
//! Events are published in bursts of `BURST`, as one read from a server's socket brings them.

#![allow(missing_docs, clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use divan::{Bencher, counter::ItemsCount};
use pointsman::{
    domain::ids::ServerKey,
    events::{
        hub::{Emitter, Hub, Settings},
        journal::{Bounds, Journal, Keeper},
        log::Limits,
        sse,
        view::{AttentionRule, Shape, View},
    },
    opencode::event::{Decoded, Decoder},
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::broadcast,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

const EVENTS: usize = 10_000;
const BURST: usize = 16;

fn main() {
    divan::main();
}

/// A delta of 300 bytes.
fn frame() -> Bytes {
    let before = r#"{"directory":"/home/u/project","project":"53c707c26f15cc251ac822457f039bee5bf62cbd","payload":{"id":"evt_1fdef41de0012TjaEYQtQ9h1pI","type":"message.part.delta","properties":{"sessionID":"ses_e0210d078ffe2x4EThAIbvO7mw","messageID":"msg_1fdef4175001k9ubI8","partID":"prt_1fdef41","field":"text","delta":""#;
    let after = r#""}}}"#;
    let filler = "w".repeat(300_usize.saturating_sub(before.len() + after.len()));
    format!("{before}{filler}{after}").into()
}

fn event() -> Decoded {
    Decoder::new().decode(frame()).unwrap()
}

/// The part that the deltas add to.
fn whole() -> Decoded {
    let text = r#"{"directory":"/home/u/project","project":"p","payload":{"id":"evt_1fdef41de0011TjaEYQtQ9h1pI","type":"message.part.updated","properties":{"sessionID":"ses_e0210d078ffe2x4EThAIbvO7mw","part":{"id":"prt_1fdef41","messageID":"msg_1fdef4175001k9ubI8","sessionID":"ses_e0210d078ffe2x4EThAIbvO7mw","type":"text","text":""}}}}"#;
    Decoder::new().decode(text.into()).unwrap()
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

fn view(directory: Option<String>) -> View {
    View {
        shape: Shape::Global,
        directory: directory.map(Into::into),
        server: None,
        attention: AttentionRule::All,
        opened: None,
        filter: Arc::default(),
    }
}

const LIMITS: Limits = Limits { bytes: 64 << 20, events: 1 << 16 };

/// Publishes all events to subscribers that count the bytes they read, which must be those of all events and their ids.
async fn fan_out(subscribers: usize, events: usize, view_of: impl Fn(usize) -> View) {
    fan_out_of(
        Hub::journalled(LIMITS, Journal::in_memory(), Some(Settings::default())),
        subscribers,
        events,
        view_of,
    )
    .await;
}

async fn fan_out_of(hub: Hub, subscribers: usize, events: usize, view_of: impl Fn(usize) -> View) {
    let event = event();
    let server = Emitter { key: ServerKey(1), id: "srv_1".into() };
    // So that the text of the deltas is folded, as that of any part is.
    hub.publish(&server, whole());
    let first = hub.position();
    let ids: usize = (first..first + events as u64).map(|n| format!("id: abcdefgh.{n}\n").len()).sum();
    let expected = ids + events * (event.frame.len() + "data: \n\n".len());
    let mut readers = JoinSet::new();
    for n in 0..subscribers {
        let mut subscription = hub.subscribe(view_of(n));
        readers.spawn(async move {
            // The greeting, and the part.
            subscription.next().await.unwrap();
            subscription.next().await.unwrap();
            let mut bytes = 0;
            while let Some(text) = subscription.next().await {
                // What stands at the end is for each subscriber alone.
                if !text.starts_with(b"retry: ") {
                    bytes += divan::black_box(text).len();
                }
            }
            bytes
        });
    }
    for n in 0..events {
        hub.publish(&server, event.clone());
        if n % BURST == 0 {
            tokio::task::yield_now().await;
        }
    }
    hub.close();
    while let Some(bytes) = readers.join_next().await {
        assert_eq!(bytes.unwrap(), expected);
    }
}

/// All subscribers have one view, as clients of `/global/event` do.
#[divan::bench(sample_count = 20, args = [1, 100, 1000])]
fn hub_one_view(bencher: Bencher<'_, '_>, subscribers: usize) {
    let runtime = runtime();
    bencher
        .counter(ItemsCount::new(subscribers * EVENTS))
        .bench_local(|| runtime.block_on(fan_out(subscribers, EVENTS, |_| view(None))));
}

/// The same while a task on another thread keeps all of it in files.
#[divan::bench(sample_count = 20, args = [1, 100, 1000])]
fn hub_one_view_kept(bencher: Bencher<'_, '_>, subscribers: usize) {
    let runtime = runtime();
    let keeping = Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    bencher
        .counter(ItemsCount::new(subscribers * EVENTS))
        .with_inputs(|| {
            let home = tempfile::tempdir().unwrap();
            let bounds = Bounds { bytes: 1 << 30, age: Duration::from_hours(1) };
            let (journal, keeper) = Journal::open(home.path(), bounds).unwrap();
            let hub = Hub::journalled(LIMITS, journal, Some(Settings::default()));
            let stop = CancellationToken::new();
            let kept = keeping.spawn(Keeper::run(keeper, hub.clone(), stop.clone()));
            (home, hub, stop, kept)
        })
        .bench_local_values(|(home, hub, stop, kept)| {
            runtime.block_on(fan_out_of(hub, subscribers, EVENTS, |_| view(None)));
            (home, stop.drop_guard(), kept)
        });
}

/// Each subscriber has a view of its own, so that each text is copied for each subscriber.
#[divan::bench(sample_count = 20, args = [100, 1000])]
fn hub_a_view_each(bencher: Bencher<'_, '_>, subscribers: usize) {
    let runtime = runtime();
    bencher
        .counter(ItemsCount::new(subscribers * EVENTS))
        .bench_local(|| runtime.block_on(fan_out(subscribers, EVENTS, |n| view(Some(format!("/{n}"))))));
}

/// The usual way: a broadcast channel that is deep enough, a frame for each event.
#[divan::bench(sample_count = 20, args = [1, 100, 1000])]
fn broadcast_frame_each(bencher: Bencher<'_, '_>, subscribers: usize) {
    let runtime = runtime();
    bencher.counter(ItemsCount::new(subscribers * EVENTS)).bench_local(|| {
        runtime.block_on(async {
            let (publish, _) = broadcast::channel::<Bytes>(EVENTS);
            let frame = frame();
            let mut readers = JoinSet::new();
            for _ in 0..subscribers {
                let mut channel = publish.subscribe();
                readers.spawn(async move {
                    let mut events = 0;
                    while let Ok(frame) = channel.recv().await {
                        let mut text = BytesMut::with_capacity(frame.len() + 8);
                        text.put_slice(b"data: ");
                        text.put_slice(&frame);
                        text.put_slice(b"\n\n");
                        divan::black_box(text.freeze());
                        events += 1;
                    }
                    events
                });
            }
            for n in 0..EVENTS {
                publish.send(frame.clone()).unwrap();
                if n % BURST == 0 {
                    tokio::task::yield_now().await;
                }
            }
            drop(publish);
            while let Some(events) = readers.join_next().await {
                assert_eq!(events.unwrap(), EVENTS);
            }
        });
    });
}

/// Reading a stream of deltas that comes in reads of 16 KiB: lines, JSON, meaning.
#[divan::bench]
fn decode_deltas(bencher: Bencher<'_, '_>) {
    let one = [b"data: ", &*frame(), b"\n\n"].concat();
    let stream = Bytes::from(one.repeat(EVENTS));
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        let (mut lines, mut events, mut count) = (sse::Decoder::new(), Decoder::new(), 0);
        for at in (0..stream.len()).step_by(16 << 10) {
            lines.push(stream.slice(at..stream.len().min(at + (16 << 10))));
            for data in lines.by_ref() {
                divan::black_box(events.decode(data).unwrap());
                count += 1;
            }
        }
        assert_eq!(count, EVENTS);
    });
}
