//! However slowly a subscriber reads and whenever it comes, it ends up showing what is so.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::{
    events::{
        picture::tests::{Emitted, Screen, emitted, event},
        sse,
        view::{AttentionRule, Shape},
    },
    opencode::event::Decoder,
};

/// One who reads whenever it is told to, and applies what it reads.
struct Reader {
    subscription: Subscription,
    decoder: sse::Decoder,
    screen: Screen,
    /// How often each session's beginning was told.
    created: BTreeMap<String, usize>,
    resets: usize,
}

impl Reader {
    fn new(hub: &Hub) -> Self {
        Self {
            subscription: hub.subscribe(view(Shape::Directory)),
            decoder: sse::Decoder::new(),
            screen: Screen::default(),
            created: BTreeMap::new(),
            resets: 0,
        }
    }

    /// Takes the next piece of its stream; false if there is none.
    fn read(&mut self) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(Some(text)) = self.subscription.poll_next(&mut context) else {
            return false;
        };
        self.decoder.push(text);
        for data in self.decoder.by_ref() {
            let event: Value = serde_json::from_slice(&data).unwrap();
            match event["type"].as_str().unwrap() {
                "pointsman.reset" => self.resets += 1,
                "session.created" => {
                    let session = event["properties"]["sessionID"].as_str().unwrap();
                    *self.created.entry(session.to_owned()).or_default() += 1;
                }
                _ => {}
            }
            self.screen.apply_bare(&event);
        }
        true
    }
}

fn view(shape: Shape) -> View {
    View {
        shape,
        directory: Some("/a".into()),
        server: None,
        attention: AttentionRule::All,
        filter: Arc::default(),
        opened: None,
    }
}

#[derive(Clone, Debug)]
enum Step {
    Emit(u8, Emitted),
    Read(usize),
    Join,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0u8..3, emitted()).prop_map(|(session, emitted)| Step::Emit(session, emitted)),
        6 => (0usize..4).prop_map(Step::Read),
        1 => Just(Step::Join),
    ]
}

fn small_hub(lag: u64, piece: usize) -> Hub {
    let settings = Settings { lag, piece, ..Settings::default() };
    // The log itself loses what the slowest still needs.
    Hub::journalled(Limits { bytes: 3000, events: 20 }, Journal::in_memory(), Some(settings))
}

/// Where whoever reads at the very end is still given every event.
fn roomy_hub() -> Hub {
    let settings = Settings { lag: u64::MAX, ..Settings::default() };
    Hub::journalled(Limits::default(), Journal::in_memory(), Some(settings))
}

fn publish(hub: &Hub, session: u8, emitted: &Emitted) {
    let event = Decoder::new().decode(event(session, emitted).frame).unwrap();
    hub.publish(&Emitter { key: ServerKey(1), id: "srv_1".into() }, event);
}

proptest! {
    #[test]
    fn every_subscriber_shows_what_is_so_once_it_has_read(
        steps in prop::collection::vec(step(), 1..120),
        lag in prop_oneof![Just(1u64), 200u64..4000],
        piece in prop_oneof![Just(1usize), 200usize..4000],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let _entered = runtime.enter();
        let (hub, roomy) = (small_hub(lag, piece), roomy_hub());
        let (mut told_all, mut readers) = (Reader::new(&roomy), vec![Reader::new(&hub)]);
        for step in &steps {
            match step {
                Step::Emit(session, emitted) => {
                    publish(&hub, *session, emitted);
                    publish(&roomy, *session, emitted);
                }
                Step::Read(which) => {
                    let which = which % readers.len();
                    readers[which].read();
                }
                Step::Join => readers.push(Reader::new(&hub)),
            }
        }
        while told_all.read() {}
        prop_assert_eq!(told_all.resets, 0);
        for reader in &mut readers {
            while reader.read() {}
            // One that missed more of a text than can be told again is told so.
            if reader.resets == 0 {
                prop_assert_eq!(&reader.screen, &told_all.screen);
            }
            prop_assert!(reader.created.values().all(|times| *times <= 1), "{:?}", reader.created);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_late_and_is_cut_off_before_it_has_read_the_past_is_told_it_again() {
    let hub = small_hub(1 << 20, 1);
    for n in 0..3 {
        publish(&hub, n, &Emitted::Updated(n));
    }
    let mut subscription = hub.subscribe(view(Shape::Global));
    let greeting = String::from_utf8(subscription.next().await.unwrap().into()).unwrap();
    assert!(greeting.contains("server.connected") && !greeting.contains("id: "), "{greeting}");
    let past = String::from_utf8(subscription.next().await.unwrap().into()).unwrap();
    let events: Vec<_> = past.split_terminator("\n\n").collect();
    assert_eq!(events.len(), 3, "{past}");
    let numbered: Vec<_> = events.iter().map(|event| event.contains("id: ")).collect();
    assert_eq!(numbered, [false, false, true]);
    let cursor = events[2].lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
    publish(&hub, 1, &Emitted::Updated(7));
    let live = String::from_utf8(subscription.next().await.unwrap().into()).unwrap();
    assert!(live.starts_with("id: "), "{live}");
    // With that cursor one goes on behind the past.
    let mut back =
        hub.join(view(Shape::Directory), Joining { cursor: Some(cursor.to_owned()), ..Joining::default() });
    back.next().await.unwrap();
    let missed = String::from_utf8(back.next().await.unwrap().into()).unwrap();
    assert_eq!(missed.matches("session.updated").count(), 1, "{missed}");
}
