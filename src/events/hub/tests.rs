use bytes::Bytes;
use tokio::task::JoinSet;

use super::*;
use crate::{
    events::{
        own::{ServerChange, ServerNotice, server},
        sse,
        view::{AttentionRule, Shape},
    },
    opencode::event::Decoder,
};

fn emitter(key: u32) -> Emitter {
    Emitter { key: ServerKey(key), id: format!("srv_{key}").into() }
}

fn one() -> Emitter {
    emitter(1)
}

fn two() -> Emitter {
    emitter(2)
}

fn global() -> View {
    View {
        shape: Shape::Global,
        directory: None,
        server: None,
        attention: AttentionRule::All,
        opened: None,
        filter: Arc::default(),
    }
}

fn decoded(kind: &str, directory: &str, n: usize) -> Decoded {
    let text = format!(
        r#"{{"directory":"{directory}","payload":{{"id":"evt_{n}","type":"{kind}","properties":{{"id":"x"}}}}}}"#
    );
    Decoder::new().decode(text.into()).unwrap()
}

fn delta(n: usize) -> Decoded {
    decoded("message.part.delta", "/a", n)
}

/// Reads until `count` events have come; their ids and types, in order.
/// The names of `count` events. Signs of life are left out: on a machine that is busy with other things one may come
/// in between.
async fn read(subscription: &mut Subscription, count: usize) -> Vec<String> {
    let (mut decoder, mut names) = (sse::Decoder::new(), Vec::new());
    while names.len() < count {
        let Some(text) = subscription.next().await else { break };
        decoder.push(text);
        names.extend(decoder.by_ref().map(|event| name(&event)).filter(|name| name != "server.heartbeat"));
    }
    names
}

fn name(event: &Bytes) -> String {
    let event: serde_json::Value = serde_json::from_slice(event).unwrap();
    let bare = event.get("payload").unwrap_or(&event);
    match bare["type"].as_str().unwrap() {
        "message.part.delta" => bare["id"].as_str().unwrap().to_owned(),
        kind => kind.to_owned(),
    }
}

// Paused: a slow machine would need long enough for a heartbeat.
#[tokio::test(start_paused = true)]
async fn a_thousand_subscribers_get_every_event_once_and_in_order() {
    const EVENTS: usize = 300;
    let hub = Hub::new(Limits::default());
    let mut readers = JoinSet::new();
    for n in 0..1000 {
        // Some share a view and some have their own.
        let directory = (n % 10 == 0).then(|| format!("/{n}").into());
        let mut subscription = hub.subscribe(View { directory, ..global() });
        readers.spawn(async move { read(&mut subscription, EVENTS + 1).await });
    }
    assert_eq!(hub.subscribers(), 1000);
    for n in 0..EVENTS {
        hub.publish(&one(), delta(n));
        if n % 7 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let expected: Vec<_> = std::iter::once("server.connected".to_owned())
        .chain((0..EVENTS).map(|n| format!("evt_{n}")))
        .collect();
    while let Some(read) = readers.join_next().await {
        assert_eq!(read.unwrap(), expected);
    }
    assert_eq!(hub.subscribers(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_and_readers_on_several_threads_miss_nothing() {
    const EACH: usize = 3000;
    let hub = Hub::new(Limits::default());
    let mut readers = JoinSet::new();
    for _ in 0..8 {
        let mut subscription = hub.subscribe(global());
        readers.spawn(async move { read(&mut subscription, 2 * EACH + 1).await });
    }
    let publish = |server: Emitter, first: usize| {
        let hub = hub.clone();
        tokio::spawn(async move {
            for n in first..first + EACH {
                hub.publish(&server, delta(n));
                if n % 50 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        })
    };
    let (one, two) = (publish(one(), 0), publish(two(), EACH));
    one.await.unwrap();
    two.await.unwrap();
    let mut orders = Vec::new();
    while let Some(read) = readers.join_next().await {
        let read = read.unwrap();
        for first in [0, EACH] {
            let of_server = read.iter().filter_map(|id| id.strip_prefix("evt_")?.parse::<usize>().ok());
            let of_server: Vec<_> = of_server.filter(|n| (first..first + EACH).contains(n)).collect();
            assert_eq!(of_server, (first..first + EACH).collect::<Vec<_>>());
        }
        orders.push(read);
    }
    assert!(orders.windows(2).all(|pair| pair[0] == pair[1]), "all see one order");
}

#[tokio::test]
async fn a_subscriber_that_never_reads_costs_nothing_and_is_ended_when_it_does() {
    let hub = Hub::new(Limits { bytes: 10_000, events: 100 });
    let mut stuck = hub.subscribe(global());
    assert_eq!(read(&mut stuck, 1).await, ["server.connected"]);
    let mut brisk = hub.subscribe(global());
    read(&mut brisk, 1).await;
    for n in 0..1000 {
        hub.publish(&one(), delta(n));
        assert_eq!(read(&mut brisk, 1).await, [format!("evt_{n}")]);
    }
    let kept = hub.shared.log.read().read(900, u64::MAX, |_| true);
    assert_eq!(kept.map_err(|_| ()), Ok(1000), "the log kept its newest hundred");
    assert_eq!(stuck.next().await, None);
    assert_eq!(stuck.next().await, None);
}

#[tokio::test]
async fn what_was_not_for_a_subscriber_does_not_put_it_behind() {
    let hub = Hub::new(Limits { bytes: 10_000, events: 100 });
    let view = View { shape: Shape::Directory, directory: Some("/b".into()), ..global() };
    let mut subscription = hub.subscribe(view);
    let reader = tokio::spawn(async move { read(&mut subscription, 2).await });
    for n in 0..1000 {
        hub.publish(&one(), delta(n));
        tokio::task::yield_now().await;
    }
    hub.publish(&one(), decoded("session.idle", "/b/", 0));
    assert_eq!(reader.await.unwrap(), ["server.connected", "session.idle"]);
}

#[tokio::test]
async fn the_streams_own_events_of_a_server_go_nowhere() {
    let hub = Hub::new(Limits::default());
    for kind in ["server.connected", "server.heartbeat"] {
        hub.publish(&one(), decoded(kind, "global", 0));
    }
    assert_eq!(hub.position(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_disposal_told_by_several_servers_at_once_is_told_once() {
    let hub = Hub::new(Limits::default());
    let disposed = || decoded("server.instance.disposed", "/a", 0);
    hub.publish(&one(), disposed());
    hub.publish(&two(), disposed());
    assert_eq!(hub.position(), 1);
    tokio::time::advance(std::time::Duration::from_secs(2)).await;
    hub.publish(&two(), disposed());
    assert_eq!(hub.position(), 2);
}

#[tokio::test]
async fn a_permission_of_another_directory_does_not_reach_an_attached_screen() {
    let hub = Hub::new(Limits::default());
    hub.set_default_directory(Some("/b".into()));
    let named = View { directory: Some("/a".into()), attention: AttentionRule::Own, ..global() };
    let nameless = View { directory: None, ..named.clone() };
    let (mut named, mut nameless, mut browser) =
        (hub.subscribe(named), hub.subscribe(nameless), hub.subscribe(global()));
    hub.publish(&one(), decoded("permission.asked", "/a", 0));
    hub.publish(&one(), decoded("question.asked", "/b", 0));
    hub.publish(&one(), decoded("tui.toast.show", "/a", 0));
    hub.publish(&one(), delta(0));
    assert_eq!(read(&mut named, 3).await, ["server.connected", "permission.asked", "evt_0"]);
    assert_eq!(read(&mut nameless, 3).await, ["server.connected", "question.asked", "evt_0"]);
    assert_eq!(
        read(&mut browser, 4).await,
        ["server.connected", "permission.asked", "question.asked", "evt_0"]
    );
}

#[tokio::test]
async fn own_events_reach_global_streams_alone() {
    let hub = Hub::new(Limits::default());
    let mut everyone = hub.subscribe(global());
    let view = View { shape: Shape::Directory, directory: Some("/a".into()), ..global() };
    let mut directory = hub.subscribe(view);
    let notice = ServerNotice { id: "s", url: "http://127.0.0.1:1", directory: Some("/a"), pid: Some(7) };
    hub.announce(server(ServerChange::Up, &notice));
    hub.publish(&one(), delta(0));
    assert_eq!(read(&mut everyone, 3).await, ["server.connected", "pointsman.server.up", "evt_0"]);
    assert_eq!(read(&mut directory, 2).await, ["server.connected", "evt_0"]);
}

#[tokio::test]
async fn lanes_end_with_their_last_subscriber() {
    let hub = Hub::new(Limits::default());
    for n in 0..100 {
        drop(hub.subscribe(View { directory: Some(format!("/{n}").into()), ..global() }));
    }
    let _last = hub.subscribe(global());
    assert_eq!(hub.shared.lanes.lock().len(), 1);
}

#[tokio::test]
async fn closing_ends_every_stream_after_what_was_published() {
    let hub = Hub::new(Limits::default());
    let mut early = hub.subscribe(global());
    read(&mut early, 1).await;
    let waiting = tokio::spawn(async move {
        let read = read(&mut early, 1).await;
        let retry = early.next().await.unwrap();
        (read, retry.starts_with(b"retry: "), early.next().await)
    });
    tokio::task::yield_now().await;
    hub.publish(&one(), delta(0));
    hub.close();
    assert_eq!(waiting.await.unwrap(), (vec!["evt_0".to_owned()], true, None));
    let mut late = hub.subscribe(global());
    assert_eq!(read(&mut late, 2).await, ["server.connected"]);
}

#[tokio::test]
async fn what_is_kept_for_long_does_not_keep_all_that_was_read_with_it() {
    let limits = Limits { bytes: 1 << 20, events: 1 };
    let hub = Hub::journalled(limits, Journal::in_memory(), Some(Settings::default()));
    let told = r#"{"directory":"/a","payload":{"id":"evt_1","type":"session.updated","properties":{"sessionID":"ses_1","info":{"id":"ses_1"}}}}"#;
    let chunk = bytes::Bytes::from([told.as_bytes(), &vec![b'x'; 100_000]].concat());
    hub.publish(&one(), Decoder::new().decode(chunk.slice(..told.len())).unwrap());
    hub.publish(&one(), delta(2));
    assert_eq!(hub.held().0.events, 1, "the log holds it no more");
    assert!(hub.picture().bytes > 0, "it is kept");
    assert!(chunk.is_unique(), "and the rest of what was read is not");
}

/// How many sessions of which each event is too large to be copied.
const LARGE: usize = 8;

fn large(session: usize, round: usize) -> bytes::Bytes {
    let text = "x".repeat(300 << 10);
    format!(
        r#"{{"directory":"/a","payload":{{"id":"evt_{round}","type":"session.updated","properties":{{"sessionID":"ses_{session}","info":{{"id":"ses_{session}","title":"{text}"}}}}}}}}"#
    )
    .into()
}

#[tokio::test]
async fn for_one_who_stops_reading_no_more_is_held_than_a_piece() {
    let settings = Settings { lag: 1, ..Settings::default() };
    let hub = Hub::journalled(Limits { bytes: 1 << 30, events: 1 }, Journal::in_memory(), Some(settings));
    let mut slow = hub.subscribe(global());
    slow.next().await;
    let first: Vec<_> = (0..LARGE).map(|session| large(session, 1)).collect();
    for frame in &first {
        hub.publish(&one(), Decoder::new().decode(frame.clone()).unwrap());
    }
    let piece = slow.next().await.unwrap();
    assert_eq!(piece.windows(9).filter(|bytes| bytes == b"sessionID").count(), 1);
    drop(piece);
    for session in 0..LARGE {
        hub.publish(&one(), Decoder::new().decode(large(session, 2)).unwrap());
    }
    assert_eq!(first.iter().filter(|frame| !frame.is_unique()).count(), 0, "held for one that does not read");
    let mut told = 0;
    while told < LARGE {
        told += usize::from(slow.next().await.unwrap().len() > 300 << 10);
    }
}
