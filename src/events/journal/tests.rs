use std::{fs, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::{
    domain::ids::ServerKey,
    events::{
        hub::{Emitter, Hub, Joining},
        log::Limits,
        view::{Attention, AttentionRule, Shape, View},
    },
    opencode::event::Decoder,
};

const BOUNDS: Bounds = Bounds { bytes: 1 << 30, age: Duration::from_hours(24) };

pub(in crate::events) fn event(seq: u64, session: Option<&str>, kind: &'static str, size: usize) -> Event {
    let frame = format!(r#"{{"payload":{{"type":"{kind}","filler":"{}"}}}}"#, "x".repeat(size));
    Event {
        seq,
        server: Some("srv_1".into()),
        directory: Some("/a \"b\"/ü".into()),
        attention: Attention::Directory,
        session: session.map(|id| SessionId::try_new(id).unwrap()),
        kind: kind.into(),
        payload: 11..frame.len() - 1,
        frame: frame.into(),
        global_only: true,
    }
}

fn view() -> View {
    View {
        shape: Shape::Global,
        directory: None,
        server: None,
        attention: AttentionRule::All,
        opened: None,
        filter: Arc::default(),
    }
}

/// One run of a daemon, as far as events go. Dropped, it was killed.
struct Run {
    hub: Hub,
    keeper: Keeper,
}

impl Run {
    fn begin(directory: &Path, bounds: Bounds) -> Self {
        let (journal, keeper) = Journal::open(directory, bounds).unwrap();
        // Hardly anything stays in memory, so that the files are read.
        Self { hub: Hub::journalled(Limits { bytes: 1 << 20, events: 4 }, journal, None), keeper }
    }

    /// Publishes an event of a session that says `text`; gives its number.
    fn tell(&mut self, kind: &str, session: &str, text: &str) -> u64 {
        let number = self.hub.position();
        let text = format!(
            r#"{{"directory":"/a","payload":{{"type":"{kind}","properties":{{"sessionID":"{session}","text":"{text}"}}}}}}"#
        );
        let emitter = Emitter { key: ServerKey(1), id: "srv_1".into() };
        self.hub.publish(&emitter, Decoder::new().decode(text.into()).unwrap());
        number
    }

    /// Keeps what was told.
    fn keep(&mut self) {
        loop {
            let batch = self.hub.gather(self.keeper.position, 100);
            if batch.is_empty() {
                return;
            }
            self.keeper.keep(&batch).unwrap();
        }
    }

    /// Does whatever there is to do beside.
    fn tidy(&mut self) {
        while self.keeper.is_behind() {
            self.keeper.keep(&self.hub.gather(self.keeper.position, 100)).unwrap();
        }
    }

    fn end(self) {
        self.keeper.end().unwrap();
    }

    fn cursor(&self, seq: u64) -> String {
        format!("{}.{seq}", self.hub.journal().unwrap().epoch())
    }

    /// All that is in the files: number and text.
    fn kept(&self) -> Vec<(u64, String)> {
        let index = &self.hub.journal().unwrap().inner.index;
        let (mut at, mut kept) = (index.read().first, Vec::new());
        while at < index.read().end {
            let page = index::page(index, at, None, 1).unwrap();
            let event = |event: &Event| (event.seq, text(&serde_json::from_slice(&event.frame).unwrap()));
            kept.extend(page.events.iter().map(event));
            at = page.to;
        }
        kept
    }

    /// What a subscriber with this cursor is told until it is live: the number and the text of each event; or the
    /// reason why it is not told.
    async fn resume(&self, cursor: String) -> Result<Vec<(u64, String)>, String> {
        let mut stream = self.hub.join(view(), Joining { cursor: Some(cursor), servers: vec![] });
        let greeting = stream.next().await.unwrap();
        if let [_, reset] = &events(&greeting)[..] {
            return Err(reset.1["payload"]["properties"]["reason"].as_str().unwrap().to_owned());
        }
        let last = self.hub.position() - 1;
        let mut told: Vec<(u64, String)> = Vec::new();
        while told.last().is_none_or(|(seq, _)| *seq < last) {
            for (id, event) in events(&stream.next().await.unwrap()) {
                if event["payload"]["type"] == "pointsman.reset" {
                    return Err(event["payload"]["properties"]["reason"].as_str().unwrap().to_owned());
                }
                let seq = id.split_once('.').unwrap().1.parse().unwrap();
                told.push((seq, text(&event)));
            }
        }
        Ok(told)
    }
}

fn text(event: &serde_json::Value) -> String {
    event["payload"]["properties"]["text"].as_str().unwrap().to_owned()
}

/// The id and the data of each event in a piece of a stream.
fn events(text: &Bytes) -> Vec<(String, serde_json::Value)> {
    let text = String::from_utf8(text.to_vec()).unwrap();
    let event = |text: &str| {
        let (id, data) = text.strip_prefix("id: ").unwrap().split_once("\ndata: ").unwrap();
        (id.to_owned(), serde_json::from_str(data).unwrap())
    };
    text.split_terminator("\n\n").map(event).collect()
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Everything that lies in the files, as one text.
fn on_disk(directory: &Path) -> String {
    let files = fs::read_dir(directory).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    String::from_utf8_lossy(&files.collect::<Vec<_>>().concat()).into_owned()
}

/// What one run does, and how it ends.
#[derive(Clone, Debug)]
struct Life {
    /// How many events it tells, by whether they are kept before the next.
    told: Vec<bool>,
    end: End,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Orderly,
    Killed,
    /// With its machine: so many bytes of the last file are gone.
    Torn(u64),
}

fn life() -> impl Strategy<Value = Life> {
    let end = prop_oneof![Just(End::Orderly), Just(End::Killed), (0_u64..300).prop_map(End::Torn)];
    // A log of four events never loses one that is not kept yet.
    let told = prop::collection::vec(prop::bool::weighted(0.6), 0..12);
    (told, end).prop_map(|(told, end)| Life { told, end })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn over_any_ends_no_number_is_used_twice_and_each_cursor_yields_what_was_kept_behind_it(
        lives in prop::collection::vec(life(), 1..6),
    ) {
        let home = tempfile::tempdir().unwrap();
        // All that was ever told: number, text, whether it must be kept, whether it cannot be.
        let mut told: Vec<(u64, String)> = Vec::new();
        let mut surely: Vec<u64> = Vec::new();
        for (n, life) in lives.iter().enumerate() {
            let mut run = Run::begin(home.path(), BOUNDS);
            let (mut kept, mut unkept) = (Vec::new(), Vec::new());
            for (at, keep) in life.told.iter().enumerate() {
                let text = format!("{n}.{at}");
                unkept.push(run.tell("x", "ses_1", &text));
                told.push((*unkept.last().unwrap(), text));
                if *keep || unkept.len() == 4 {
                    run.keep();
                    kept.append(&mut unkept);
                }
            }
            match life.end {
                End::Orderly => {
                    run.keep();
                    kept.append(&mut unkept);
                    run.end();
                    surely.append(&mut kept);
                }
                End::Killed => surely.append(&mut kept),
                End::Torn(bytes) => {
                    let mut files: Vec<_> = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
                    files.retain(|path| path.extension().is_some_and(|is| is == "events"));
                    files.sort();
                    drop(run);
                    if let Some(last) = files.last() {
                        let file = fs::File::options().write(true).open(last).unwrap();
                        let length = file.metadata().unwrap().len();
                        file.set_len(length.saturating_sub(bytes)).unwrap();
                    }
                    // What an earlier run has kept may be torn too, where this one has kept nothing.
                    let begun: u64 = files.last().and_then(|path| path.file_stem()?.to_str()?.parse().ok()).unwrap_or(0);
                    surely.retain(|seq| *seq < begun);
                }
            }
        }
        let numbers: Vec<u64> = told.iter().map(|(seq, _)| *seq).collect();
        prop_assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");

        let mut run = Run::begin(home.path(), BOUNDS);
        let last = run.tell("x", "ses_1", "last");
        run.keep();
        told.push((last, "last".to_owned()));
        surely.push(last);
        runtime().block_on(async {
            let whole = run.kept();
            prop_assert!(whole.iter().all(|event| told.contains(event)));
            let is_kept = |seq: &u64| whole.iter().any(|(kept, _)| kept == seq);
            prop_assert!(surely.iter().all(is_kept), "{surely:?} {whole:?}");
            for (seq, _) in told.iter().filter(|(seq, _)| *seq < last) {
                let behind: Vec<_> = whole.iter().filter(|(kept, _)| kept > seq).cloned().collect();
                match run.resume(run.cursor(*seq)).await {
                    Ok(told) => prop_assert_eq!(told, behind),
                    Err(reason) => prop_assert!(!is_kept(seq) && reason != "malformed", "{} {}", seq, reason),
                }
            }
            Ok(())
        })?;
    }
}

#[test]
fn a_number_that_was_told_and_not_kept_is_a_crash_and_one_never_told_is_malformed() {
    let home = tempfile::tempdir().unwrap();
    let mut run = Run::begin(home.path(), BOUNDS);
    let kept = run.tell("x", "ses_1", "kept");
    run.keep();
    let lost = run.tell("x", "ses_1", "lost");
    let (kept, lost) = (run.cursor(kept), run.cursor(lost));
    drop(run);
    let mut run = Run::begin(home.path(), BOUNDS);
    assert_eq!(run.hub.journal().unwrap().before(), Some(false));
    run.tell("x", "ses_1", "later");
    let later = run.cursor(run.hub.position());
    runtime().block_on(async {
        assert_eq!(run.resume(lost).await, Err("crash".to_owned()));
        assert_eq!(run.resume(later).await, Err("malformed".to_owned()));
        assert_eq!(run.resume("x".to_owned()).await, Err("malformed".to_owned()));
        assert_eq!(run.resume("aaaaaaaa.1".to_owned()).await, Err("epoch".to_owned()));
        assert_eq!(run.resume(kept).await.unwrap()[0].1, "later");
    });
    let status = run.hub.journal().unwrap().status();
    assert_eq!((status.resumed, status.resets), (1, [2, 1, 0, 1]));
}

#[test]
fn what_is_deleted_is_told_no_more_at_once_and_leaves_the_files_soon() {
    let home = tempfile::tempdir().unwrap();
    let mut run = Run::begin(home.path(), BOUNDS);
    for n in 0..20 {
        run.tell("x", "ses_gone", &format!("secret {n}"));
        run.tell("x", "ses_stays", &format!("plain {n}"));
        run.keep();
    }
    let texts = |told: Result<Vec<(u64, String)>, String>| {
        told.unwrap().into_iter().map(|(_, text)| text).collect::<Vec<_>>()
    };
    let mut expected: Vec<String> = (0..20).map(|n| format!("plain {n}")).collect();
    expected.push("it is".to_owned());
    run.tell("session.deleted", "ses_gone", "it is");
    assert_eq!(texts(runtime().block_on(run.resume(run.cursor(0)))), expected);
    run.keep();
    assert!(on_disk(home.path()).contains("secret 7"), "not yet");
    // Killed before it came to that: the next run takes it out.
    drop(run);
    let mut run = Run::begin(home.path(), BOUNDS);
    run.tidy();
    assert!(!on_disk(home.path()).contains("secret"));
    // A server that does not know it goes on to speak of the session.
    run.tell("x", "ses_gone", "secret again");
    run.tell("x", "ses_stays", "last");
    run.keep();
    expected.push("last".to_owned());
    assert!(!on_disk(home.path()).contains("secret"));
    assert_eq!(texts(runtime().block_on(run.resume(run.cursor(0)))), expected);
}

#[tokio::test(start_paused = true)]
async fn the_task_keeps_what_is_told_and_frees_the_files_of_what_is_deleted() {
    let home = tempfile::tempdir().unwrap();
    let mut run = Run::begin(home.path(), BOUNDS);
    for n in 0..3 {
        run.tell("x", "ses_1", &format!("secret {n}"));
    }
    run.keep();
    let (hub, journal) = (run.hub.clone(), run.hub.journal().unwrap().clone());
    run.tell("session.deleted", "ses_1", "it is");
    let stop = tokio_util::sync::CancellationToken::new();
    let keeping = tokio::spawn(run.keeper.run(hub.clone(), stop.clone()));
    while on_disk(home.path()).contains("secret") {
        tokio::time::sleep(keeper::SETTLE).await;
    }
    stop.cancel();
    keeping.await.unwrap();
    assert_eq!(journal.status().end, hub.position());
    drop((hub, journal));
    assert_eq!(Run::begin(home.path(), BOUNDS).hub.journal().unwrap().before(), Some(true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_files_while_more_is_told_comes_to_be_live_and_misses_nothing() {
    const BEFORE: usize = 3000;
    const DURING: usize = 1500;
    let home = tempfile::tempdir().unwrap();
    let (journal, keeper) = Journal::open(home.path(), BOUNDS).unwrap();
    let hub = Hub::journalled(Limits { bytes: 1 << 30, events: 2000 }, journal.clone(), None);
    let stop = tokio_util::sync::CancellationToken::new();
    let keeping = tokio::spawn(keeper.run(hub.clone(), stop.clone()));
    let emitter = Emitter { key: ServerKey(1), id: "srv_1".into() };
    let tell = |n: usize| {
        // Large enough for many pages.
        let text = format!(
            r#"{{"payload":{{"type":"x","properties":{{"text":"{n}","filler":"{}"}}}}}}"#,
            "x".repeat(1000)
        );
        hub.publish(&emitter, Decoder::new().decode(text.into()).unwrap());
    };
    for n in 0..BEFORE {
        tell(n);
        while hub.position() - journal.status().end > 1000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let resume = || {
        let (hub, cursor) = (hub.clone(), format!("{}.0", journal.epoch()));
        tokio::spawn(async move {
            let mut stream = hub.join(view(), Joining { cursor: Some(cursor), servers: vec![] });
            stream.next().await.unwrap();
            let mut told = Vec::new();
            while told.len() < BEFORE + DURING {
                told.extend(events(&stream.next().await.unwrap()).iter().map(|(_, event)| text(event)));
            }
            told
        })
    };
    let readers: Vec<_> = (0..4).map(|_| resume()).collect();
    for n in BEFORE..BEFORE + DURING {
        tell(n);
        if n % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let expected: Vec<String> = (0..BEFORE + DURING).map(|n| n.to_string()).collect();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), expected);
    }
    stop.cancel();
    keeping.await.unwrap();
}

#[test]
fn a_disk_that_is_too_slow_costs_the_past_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let mut run = Run::begin(home.path(), BOUNDS);
    let first = run.tell("x", "ses_1", "0");
    run.keep();
    for n in 1..10 {
        run.tell("x", "ses_1", &n.to_string());
    }
    runtime().block_on(async {
        // The log has the last four, the files the first.
        assert_eq!(run.resume(run.cursor(first)).await, Err("too-old".to_owned()));
        run.keep();
        assert_eq!(run.resume(run.cursor(first)).await, Err("too-old".to_owned()));
        let told = run.resume(run.cursor(first + 5)).await.unwrap();
        assert_eq!(told.iter().map(|(_, text)| &**text).collect::<Vec<_>>(), ["6", "7", "8", "9"]);
    });
}

#[test]
fn a_damaged_file_is_told_and_not_passed_over() {
    let home = tempfile::tempdir().unwrap();
    let mut run = Run::begin(home.path(), BOUNDS);
    for n in 0..10 {
        run.tell("x", "ses_1", &n.to_string());
        run.keep();
    }
    let file = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().path());
    let file = file.into_iter().find(|path| path.extension().is_some_and(|is| is == "events")).unwrap();
    let mut bytes = fs::read(&file).unwrap();
    let half = bytes.len() / 2;
    bytes[half] ^= 1;
    fs::write(&file, bytes).unwrap();
    assert_eq!(runtime().block_on(run.resume(run.cursor(0))), Err("too-old".to_owned()));
}

#[cfg(unix)]
#[test]
fn the_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("journal");
    let mut run = Run::begin(&directory, BOUNDS);
    run.tell("x", "ses_1", "secret");
    run.tell("session.deleted", "ses_1", "");
    run.keep();
    run.end();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let files: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 3, "{files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600));
    Journal::remove(&directory).unwrap();
    assert!(!directory.exists());
    Journal::remove(&directory).unwrap();
}

#[test]
fn without_files_what_is_in_memory_can_be_resumed_until_the_process_ends() {
    let hub = Hub::journalled(Limits::default(), Journal::in_memory(), None);
    let other = Journal::in_memory();
    assert_ne!(hub.journal().unwrap().epoch(), other.epoch());
    assert_eq!(hub.journal().unwrap().judge(&format!("{}.0", hub.journal().unwrap().epoch()), 1, 1), Ok(1));
    assert_eq!(hub.journal().unwrap().status().limit, 0);
}
