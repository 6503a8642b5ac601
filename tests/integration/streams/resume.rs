//! A client that lost its stream is told what it missed: all of it, once, in order, and nothing else.

use std::{fs, time::Duration};

use serde_json::json;

use crate::support::{
    daemon::Daemon,
    fake::{FakeServer, FakeStore},
    sse::{EventStream, Received},
    town::{acquainted, start},
};

struct Town {
    fake: FakeServer,
    daemon: Daemon,
}

impl Town {
    async fn start() -> Self {
        Self::with(Daemon::builder()).await
    }

    async fn with(builder: crate::support::daemon::Builder) -> Self {
        let store = FakeStore::new();
        let fake = FakeServer::serve(&store, &store.directory("here")).await;
        let daemon = start(builder, &[&fake]).await;
        acquainted(&[&fake]).await;
        Self { fake, daemon }
    }

    fn tell(&self, number: usize) {
        self.fake.emit(self.fake.directory(), "test.told", json!({"number": number}));
    }

    /// Opens `path` of this town's directory.
    async fn listen(&self, path: &str, cursor: Option<&str>) -> EventStream {
        let mut request = self.daemon.request("GET", path).query(&[("directory", self.fake.directory())]);
        if let Some(cursor) = cursor {
            request = request.header("last-event-id", cursor);
        }
        EventStream::open_with(request).await
    }

    /// Waits until nothing that was told would be lost by a kill.
    async fn kept(&self) {
        self.daemon
            .wait_for_answer("/metrics", |answer| answer.text().contains("\npointsman_journal_behind 0\n"))
            .await;
    }

    /// Ends and starts the daemon, and waits until it hears the server again.
    async fn restart(&mut self, orderly: bool) {
        if orderly {
            self.daemon.term().await;
        }
        self.daemon.restart().await;
        acquainted(&[&self.fake]).await;
        self.daemon.wait_for_servers(1).await;
    }
}

/// Reads until the event with this number; gives the numbers of all such events up to it, and the last id.
async fn numbers(stream: &mut EventStream, last: usize) -> (Vec<u64>, String) {
    let (mut numbers, mut id) = (Vec::new(), String::new());
    while numbers.last() != Some(&(last as u64)) {
        let event = stream.next().await;
        if event.kind() == "test.told" {
            numbers.push(event.properties()["number"].as_u64().unwrap());
            id.clone_from(&event.id);
        }
    }
    (numbers, id)
}

fn range(numbers: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    numbers.collect()
}

const STREAMS: [&str; 3] = ["/global/event", "/event", "/events"];

#[tokio::test]
async fn who_comes_back_is_told_what_it_missed_and_then_what_happens() {
    let town = Town::start().await;
    for path in STREAMS {
        let mut first = town.listen(path, None).await;
        for number in 0..100 {
            town.tell(number);
        }
        let (_, cursor) = numbers(&mut first, 40).await;
        drop(first);
        let mut back = town.listen(path, Some(&cursor)).await;
        let by_query = format!("{path}?last_event_id={cursor}");
        let mut by_query = town.listen(&by_query, None).await;
        for number in 100..110 {
            town.tell(number);
        }
        for back in [&mut back, &mut by_query] {
            assert_eq!(numbers(back, 109).await.0, range(41..=109), "{path}");
            assert!(back.seen().iter().all(|event| event.kind() != "pointsman.reset"));
        }
    }
}

#[tokio::test]
async fn who_comes_back_before_anything_happened_misses_nothing() {
    let town = Town::start().await;
    let greeting = town.listen("/global/event", None).await.next().await;
    assert!(!greeting.id.is_empty(), "who was greeted knows where it stands");
    town.tell(1);
    let mut back = town.listen("/global/event", Some(&greeting.id)).await;
    assert_eq!(numbers(&mut back, 1).await.0, [1]);
}

#[tokio::test]
async fn a_client_whose_stream_is_cut_again_and_again_hears_each_event_once() {
    const TOLD: usize = 4000;
    let town = Town::start().await;
    let mut witness = town.listen("/global/event", None).await;
    let mut cursor = witness.next().await.id;
    let teller = async {
        for number in 0..TOLD {
            town.tell(number);
            if number % 20 == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    };
    let client = async {
        let (mut heard, mut visits) = (Vec::new(), 0);
        while heard.last() != Some(&(TOLD as u64 - 1)) {
            let mut stream = town.listen("/global/event", Some(&cursor)).await;
            visits += 1;
            for _ in 0..visits * 7 {
                let event = stream.next().await;
                assert_ne!(event.kind(), "pointsman.reset");
                if event.kind() == "test.told" {
                    heard.push(event.properties()["number"].as_u64().unwrap());
                }
                cursor.clone_from(&event.id);
                if heard.last() == Some(&(TOLD as u64 - 1)) {
                    break;
                }
            }
        }
        assert!(visits > 10, "{visits}");
        heard
    };
    let ((), heard) = tokio::join!(teller, client);
    assert_eq!(heard, range(0..=TOLD as u64 - 1));
    assert_eq!(numbers(&mut witness, TOLD - 1).await.0, heard);
}

#[tokio::test]
async fn what_was_told_before_a_restart_is_told_after_it_however_the_daemon_ended() {
    let mut town = Town::start().await;
    for (round, orderly) in [true, false, false].into_iter().enumerate() {
        let first = round * 100;
        let mut early = town.listen("/global/event", None).await;
        for number in first..first + 50 {
            town.tell(number);
        }
        let (_, cursor) = numbers(&mut early, first + 20).await;
        town.kept().await;
        town.restart(orderly).await;
        for number in first + 50..first + 60 {
            town.tell(number);
        }
        for path in STREAMS {
            let mut back = town.listen(path, Some(&cursor)).await;
            let told = numbers(&mut back, first + 59).await.0;
            assert_eq!(told, range(first as u64 + 21..=first as u64 + 59), "{path}");
            if path == "/event" {
                continue;
            }
            let restarted: Vec<&Received> =
                back.seen().iter().filter(|event| event.kind() == "pointsman.restarted").collect();
            let [restarted] = restarted[..] else { panic!("{restarted:?}") };
            assert_eq!(restarted.properties()["clean"], orderly);
        }
    }
}

#[tokio::test]
async fn a_cursor_that_cannot_be_honoured_is_answered_by_a_reset_that_says_why() {
    let mut town = Town::start().await;
    let mut first = town.listen("/global/event", None).await;
    town.tell(0);
    let (_, cursor) = numbers(&mut first, 0).await;
    town.kept().await;
    town.restart(false).await;
    let (epoch, number) = cursor.split_once('.').unwrap();
    // Such a number may have been told in the moment of the kill.
    let lost = format!("{epoch}.{}", number.parse::<u64>().unwrap() + 100_000);
    let mut cursors =
        vec![("nonsense".to_owned(), "malformed"), ("abcdefgh.1".to_owned(), "epoch"), (lost, "crash")];
    expect_resets(&town, &cursors).await;
    town.daemon.term().await;
    for file in fs::read_dir(town.daemon.state_directory().join("journal")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "events") {
            fs::remove_file(path).unwrap();
        }
    }
    town.restart(false).await;
    cursors.push((cursor, "too-old"));
    expect_resets(&town, &cursors).await;
    let metrics = town.daemon.get("/metrics").await.text();
    assert!(metrics.contains("pointsman_stream_resumes_total{outcome=\"too-old\"} 3"), "{metrics}");
}

async fn expect_resets(town: &Town, cursors: &[(String, &str)]) {
    for (cursor, reason) in cursors {
        for path in STREAMS {
            let mut stream = town.listen(path, Some(cursor)).await;
            let greeting = stream.next().await;
            if path == "/events" {
                let told = greeting.properties();
                assert_eq!((&told["resume"], &told["reason"]), (&json!("gap"), &json!(reason)));
            } else {
                assert_eq!(greeting.kind(), "server.connected");
                let reset = stream.next().await;
                assert_eq!(
                    (reset.kind(), &reset.properties()["reason"]),
                    ("pointsman.reset", &json!(reason))
                );
            }
            // From here on it is a good stream, with a good cursor.
            town.tell(7);
            let cursor = stream.seen().last().unwrap().id.clone();
            stream.expect_kind("test.told").await;
            numbers(&mut town.listen(path, Some(&cursor)).await, 7).await;
        }
    }
}

#[tokio::test]
async fn without_files_the_past_ends_with_the_process() {
    let mut town = Town::with(Daemon::builder().config("[journal]\npersist = false\n")).await;
    let mut first = town.listen("/global/event", None).await;
    for number in 0..10 {
        town.tell(number);
    }
    let (_, cursor) = numbers(&mut first, 5).await;
    let mut back = town.listen("/global/event", Some(&cursor)).await;
    assert_eq!(numbers(&mut back, 9).await.0, range(6..=9));
    assert!(!town.daemon.state_directory().join("journal").exists());
    town.restart(true).await;
    let mut back = town.listen("/global/event", Some(&cursor)).await;
    back.next().await;
    assert_eq!(back.next().await.properties()["reason"], "epoch");
}

#[tokio::test]
async fn what_is_withheld_from_a_live_client_is_withheld_from_one_that_comes_back() {
    let mut town = Town::start().await;
    let mut here = town.listen("/global/event", None).await;
    let cursor = here.next().await.id;
    let elsewhere = "/elsewhere";
    let acting = ["permission.asked", "question.asked", "server.instance.disposed", "tui.toast.show"];
    for kind in acting {
        town.fake.emit(elsewhere, kind, json!({"id": "per_1", "sessionID": "ses_1", "directory": elsewhere}));
    }
    town.fake.emit(town.fake.directory(), "permission.asked", json!({"id": "per_2", "sessionID": "ses_2"}));
    town.tell(1);
    // Out of memory first, then out of files.
    for restarted in [false, true] {
        if restarted {
            town.kept().await;
            town.restart(false).await;
        }
        let mut back = town.listen("/global/event", Some(&cursor)).await;
        let is_foreign = |event: &Received| acting.contains(&event.kind()) && event.directory() == elsewhere;
        back.until(|event| event.kind() == "test.told", is_foreign).await;
        assert_eq!(back.seen().iter().filter(|event| event.kind() == "permission.asked").count(), 1);
        let all = town.daemon.request("GET", "/global/event?attention=all").header("last-event-id", &cursor);
        let mut all = EventStream::open_with(all).await;
        all.expect(|event| event.kind() == "question.asked" && is_foreign(event)).await;
        all.expect(|event| event.kind() == "server.instance.disposed" && is_foreign(event)).await;
        all.until(|event| event.kind() == "test.told", |event| event.kind() == "tui.toast.show").await;
    }
}

#[tokio::test]
async fn nothing_of_a_deleted_session_is_told_again_or_left_in_the_files() {
    let town = Town::start().await;
    let mut stream = town.listen("/global/event", None).await;
    let cursor = stream.next().await.id;
    let [gone, stays] = [town.fake.create_session().id, town.fake.create_session().id];
    for session in [&gone, &stays] {
        town.fake.begin_turn(session, "SLOW");
        town.fake.delta(session, &format!("secret of {session}"));
        town.fake.finish(session);
    }
    town.kept().await;
    let on_disk = |text: &str| {
        fs::read_dir(town.daemon.state_directory().join("journal")).unwrap().any(|file| {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            memchr::memmem::find(&bytes, text.as_bytes()).is_some()
        })
    };
    crate::support::eventually::eventually("the files having it", || async {
        if on_disk(&format!("secret of {gone}")) { Ok(()) } else { Err("it is not there") }
    })
    .await;
    assert_eq!(town.daemon.delete(&format!("/session/{gone}")).await.status, 200);
    stream.expect(|event| event.kind() == "session.deleted" && event.session() == gone).await;
    let mut back = town.listen("/global/event", Some(&cursor)).await;
    back.until(
        |event| event.kind() == "session.deleted" && event.session() == gone,
        |event| event.session() == gone && event.kind() != "session.deleted",
    )
    .await;
    assert!(back.seen().iter().any(|event| event.session() == stays));
    crate::support::eventually::eventually("the files being free of it", || async {
        if on_disk(&format!("secret of {gone}")) { Err("it is there") } else { Ok(()) }
    })
    .await;
    assert!(on_disk(&format!("secret of {stays}")));
}

#[tokio::test]
async fn streams_end_with_a_hint_that_brings_clients_back_one_by_one() {
    use futures_util::StreamExt as _;
    let mut town = Town::start().await;
    let mut streams = Vec::new();
    for number in 0..24 {
        let path = ["/global/event", "/event", "/events", "/api/event"][number % 4];
        streams.push(town.daemon.request("GET", path).send().await.unwrap().bytes_stream());
    }
    for stream in &mut streams {
        stream.next().await.unwrap().unwrap();
    }
    town.daemon.term().await;
    let mut hints = std::collections::BTreeSet::new();
    for stream in streams {
        let pieces: Vec<_> = stream.map(|piece| piece.unwrap()).collect().await;
        let text = String::from_utf8(pieces.concat()).unwrap();
        let (_, hint) = text.rsplit_once("retry: ").unwrap_or_else(|| panic!("no hint in {text:?}"));
        hints.insert(hint.trim_end().parse::<u32>().unwrap());
    }
    assert!(hints.iter().all(|hint| (1_000..4_000).contains(hint)), "{hints:?}");
    assert!(hints.len() > 18, "{hints:?}");
}
