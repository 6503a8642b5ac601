//! More than can be taken: memory is bounded, nobody else is delayed, and what is left out is counted and told.

use serde_json::json;

use crate::support::{
    crowd::{Crowd, Slow, many_files, numbered},
    daemon::Daemon,
    eventually::eventually,
    fake::{FakeServer, FakeStore, new_id},
    flood::Flood,
    shown::Shown,
    sse::EventStream,
    town::start,
};

const MIB: u64 = 1 << 20;

/// How much a server emits: thrice what the log holds.
const FLOOD: usize = 192 << 20;

/// The log, what is kept for those who come late, and as much as the log for what is read, parsed and written at any time
/// and for what the allocator does not give back.
const WITHIN: u64 = 64 * MIB + MIB + 64 * MIB;

const SMALL: &str =
    "[catch_up]\nbytes = \"1MiB\"\nlate = \"64KiB\"\nlag = \"1MiB\"\n[journal]\nbytes = \"32MiB\"\n";

#[tokio::test]
async fn a_server_that_emits_without_a_pause_costs_bounded_memory_and_delays_nobody() {
    let torrent = FakeServer::start(&FakeStore::new(), "/fake/torrent").await;
    let flood = Flood::of(&torrent);
    let calm = FakeServer::start(&FakeStore::new(), "/fake/calm").await;
    let daemon = start(Daemon::builder().config(SMALL), &[&torrent, &calm]).await;
    calm.wait_for_streams(1).await;
    daemon.wait_for_servers(2).await;
    let session = calm.create_session().id;
    daemon.wait_for_owner(&session, &calm, "emitted").await;
    let mut of_calm = daemon.events(&format!("/events?server={}", calm.port())).await;
    calm.emit(calm.directory(), "test.before", json!({}));
    let cursor = of_calm.expect_kind("test.before").await.id;
    let mut end = daemon.events("/events?type=flood.end").await;
    let mut deaf = daemon.events("/global/event?attention=all").await;
    let before = daemon.resident();

    flood.begin();
    eventually("the flood", || async { if flood.bytes() > 4 << 20 { Ok(()) } else { Err(flood.bytes()) } })
        .await;
    for number in 0..30 {
        calm.emit(calm.directory(), "test.calm", json!({"number": number}));
        let event = of_calm.expect_kind("test.calm").await;
        assert_eq!(event.properties()["number"], number);
        let answer = daemon.get(&format!("/session/{session}")).await;
        assert_eq!((answer.status, answer.fake()), (200, &*calm.address()));
    }
    eventually("all of the flood", || async {
        if flood.bytes() >= FLOOD { Ok(()) } else { Err(flood.bytes()) }
    })
    .await;
    flood.stop();
    end.expect_kind("flood.end").await;
    let grown = daemon.resident_at_most() - before;
    assert!(grown < WITHIN, "{} MiB more than before", grown / MIB);
    for what in ["log", "picture", "journal"] {
        let limit = daemon.metric(&format!("pointsman_{what}_limit_bytes")).await;
        let is = daemon.metric(&format!("pointsman_{what}_bytes")).await;
        assert!(0 < is && is <= limit, "{what}: {is} of {limit}");
    }

    assert_eq!(deaf.expect_kind("pointsman.reset").await.properties()["reason"], "too-old");
    calm.emit(calm.directory(), "test.after", json!({}));
    deaf.expect_kind("test.after").await;
    assert!(daemon.metric("pointsman_stream_conflations_total").await > 0);

    let request = daemon.request("GET", "/events").header("last-event-id", cursor);
    let hello = EventStream::open_with(request).await.next().await;
    assert_eq!(
        (&hello.properties()["resume"], &hello.properties()["reason"]),
        (&json!("gap"), &json!("too-old"))
    );
    assert_eq!(daemon.metric("pointsman_stream_resumes_total{outcome=\"too-old\"}").await, 1);
}

/// How many events come one by one, as the words of a turn do, of which the log holds many times more.
const TRICKLE: usize = 4000;

/// Of these some come first: what is made once is not counted.
const WARM: usize = 300;

#[tokio::test]
async fn events_that_come_one_by_one_cost_about_what_they_are() {
    let server = FakeServer::start(&FakeStore::new(), "/fake/one").await;
    let daemon = start(Daemon::builder().config(SMALL), &[&server]).await;
    server.wait_for_streams(1).await;
    let mut stream = daemon.events("/events?type=test.word").await;
    stream.expect_kind("pointsman.hello").await;
    let mut before = 0;
    for number in 0..WARM + TRICKLE {
        if number == WARM {
            before = daemon.resident_data();
        }
        server.emit(server.directory(), "test.word", json!({"number": number}));
        assert_eq!(stream.expect_kind("test.word").await.properties()["number"], number);
    }
    let (grown, told) =
        (daemon.resident_data().saturating_sub(before), daemon.metric("pointsman_log_bytes").await);
    assert!(grown < 8 * MIB, "{} MiB more than before for {told} bytes of events", grown / MIB);
}

/// How many read at once.
const READERS: usize = 1000;

/// Of these, who hear of one session alone; the others hear everything.
const OF_ONE_SESSION: usize = READERS - 2;

const BATCHES: usize = 40;
const NUMBERS: usize = 10;

#[tokio::test]
async fn one_subscriber_of_a_thousand_that_reads_a_byte_at_a_time_delays_no_other_and_is_told_what_it_missed()
{
    many_files(3000);
    let server = FakeServer::start(&FakeStore::new(), "/fake/one").await;
    let daemon = start(Daemon::builder().config(SMALL), &[&server]).await;
    server.wait_for_streams(1).await;
    let [told, large] = [0; 2].map(|_| server.create_session().id);
    daemon.wait_for_owner(&large, &server, "emitted").await;
    let mut fast = daemon.events("/global/event?attention=all").await;
    let mut slow = Slow::open(daemon.address(), "/global/event?attention=all").await;
    let crowd =
        Crowd::gather(OF_ONE_SESSION, daemon.address(), &format!("/events?session={told}&lifecycle=false"))
            .await;
    let before = daemon.resident();

    let mut shown = Shown::default();
    let (message, part) = (new_id("msg"), new_id("prt"));
    let large_part = |text: String| {
        let part =
            json!({"id": part, "messageID": message, "sessionID": large, "type": "text", "text": text});
        server.emit(server.directory(), "message.part.updated", json!({"sessionID": large, "part": part}));
    };
    for batch in 0..BATCHES {
        for number in 0..NUMBERS {
            server.emit(server.directory(), "test.number", numbered(&told, batch * NUMBERS + number));
        }
        for copy in 0..4 {
            large_part(format!("{batch} {copy} {}", "x".repeat(64 << 10)));
        }
        server.emit(server.directory(), "test.batch", json!({"batch": batch}));
        // None of these waits for the one who has read a byte since the last time.
        crowd.have_heard((batch + 1) * NUMBERS).await;
        loop {
            let event = fast.next().await;
            shown.apply(&event);
            if event.kind() == "test.batch" {
                assert_eq!(event.properties()["batch"], batch);
                break;
            }
        }
        slow.sip().await;
    }
    let grown = daemon.resident_at_most() - before;
    assert!(grown < WITHIN, "{} MiB more than before", grown / MIB);

    let last = shown.parts.values().next().unwrap()["text"].clone();
    slow.drink(|event| event.properties()["part"]["text"] == last).await;
    server.emit(server.directory(), "test.end", json!({}));
    let heard = slow.drink(|event| event.kind() == "test.end").await;
    let mut shown_slowly = Shown::default();
    for event in &heard {
        shown_slowly.apply(event);
    }
    let sessions = [large];
    assert_eq!(shown_slowly.of(&sessions).parts, shown.of(&sessions).parts);
    let numbers: Vec<_> =
        heard.iter().filter_map(|event| event.properties()["number"].as_str().map(str::to_owned)).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    assert!(numbers.len() < BATCHES * NUMBERS, "it was told everything, and so read too much for this test");
    assert!(daemon.metric("pointsman_stream_conflations_total").await > 0);
    assert_eq!(daemon.metric("pointsman_subscribers").await, READERS as u64);
}

/// How many sessions are deleted at once, while as many permissions are open as are remembered.
const DELETED: usize = 100_000;
const ASKED: usize = 20_000;

#[tokio::test]
async fn a_hundred_thousand_sessions_deleted_at_once_are_forgotten_and_delay_nobody() {
    let large = FakeServer::start(&FakeStore::new(), "/fake/large").await;
    let calm = FakeServer::start(&FakeStore::new(), "/fake/calm").await;
    let daemon = start(Daemon::builder().config(SMALL), &[&large, &calm]).await;
    large.wait_for_streams(1).await;
    calm.wait_for_streams(1).await;
    daemon.wait_for_servers(2).await;
    let session = calm.create_session().id;
    daemon.wait_for_owner(&session, &calm, "emitted").await;
    let mut marks = daemon.events("/events?type=test.made,test.gone,test.calm&lifecycle=false").await;
    let tell = |kind: &str, count: usize, properties: &dyn Fn(usize) -> String| {
        let event = |number: usize| {
            let properties = properties(number);
            format!(
                "data: {{\"directory\":\"/fake/large\",\"project\":\"p\",\"payload\":\
                 {{\"id\":\"evt_1\",\"type\":\"{kind}\",\"properties\":{properties}}}}}\n\n"
            )
        };
        large.send_raw((0..count).map(event).collect::<String>());
    };
    let about = |number: usize| {
        format!(
            "{{\"sessionID\":\"ses_{number}\",\"info\":{{\"id\":\"ses_{number}\",\"directory\":\"/fake/large\",\
             \"time\":{{\"created\":1,\"updated\":1}}}}}}"
        )
    };
    // Open until the last sessions are deleted: whoever goes through them for each never gets there.
    let asks =
        |number: usize| format!("{{\"id\":\"per_{number}\",\"sessionID\":\"ses_{}\"}}", DELETED - 1 - number);
    tell("session.created", DELETED, &about);
    tell("permission.asked", ASKED, &asks);
    large.emit(large.directory(), "test.made", json!({}));
    marks.expect_kind("test.made").await;
    assert_eq!(daemon.metric("pointsman_sessions").await, DELETED as u64 + 1);
    assert_eq!(daemon.metric("pointsman_asked").await, ASKED as u64);
    let before = daemon.resident_at_most();

    tell("session.deleted", DELETED, &about);
    large.emit(large.directory(), "test.gone", json!({}));
    for number in 0..30 {
        calm.emit(calm.directory(), "test.calm", json!({"number": number}));
        marks.expect(|event| event.kind() == "test.calm" && event.properties()["number"] == number).await;
        let answer = daemon.get(&format!("/session/{session}")).await;
        assert_eq!((answer.status, answer.fake()), (200, &*calm.address()));
    }
    if !marks.seen().iter().any(|event| event.kind() == "test.gone") {
        marks.expect_kind("test.gone").await;
    }
    let grown = daemon.resident_at_most() - before;
    assert!(grown < WITHIN, "{} MiB more than before", grown / MIB);
    assert_eq!(daemon.metric("pointsman_sessions").await, 1);
    assert_eq!(daemon.metric("pointsman_asked").await, 0);
    for what in ["deleted", "erased"] {
        let remembered = daemon.metric(&format!("pointsman_{what}_sessions")).await;
        assert_eq!(remembered, DELETED as u64, "{what}");
    }
    assert_eq!(daemon.metric("pointsman_erased_forgotten_total").await, 0);
}
