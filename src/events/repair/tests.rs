use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    domain::ids::{ServerKey, SessionId},
    events::{
        hub::{Emitter, Hub, Settings},
        journal::Journal,
        log::Limits,
        picture::tests::{Emitted, Screen, emitted, event},
        sse,
        subscriber::Subscription,
        view::{AttentionRule, Shape, View},
    },
    opencode::event::Decoder,
};

const SINCE: Since<'_> = Since { server: "srv_1", ms: 1000 };

fn emitter() -> Emitter {
    Emitter { key: ServerKey(1), id: "srv_1".into() }
}

fn hub() -> Hub {
    Hub::journalled(Limits::default(), Journal::in_memory(), Some(Settings::default()))
}

fn publish(hub: &Hub, session: u8, emitted: &Emitted) {
    hub.publish(&emitter(), Decoder::new().decode(event(session, emitted).frame).unwrap());
}

fn id(session: u8) -> SessionId {
    SessionId::try_new(&format!("ses_{session}")).unwrap()
}

/// One who reads all there is, at once.
struct Reader(Subscription, sse::Decoder, Screen);

impl Reader {
    fn new(hub: &Hub) -> Self {
        let view = View {
            shape: Shape::Directory,
            directory: Some("/a".into()),
            server: None,
            attention: AttentionRule::All,
            filter: Arc::default(),
            opened: None,
        };
        Self(hub.subscribe(view), sse::Decoder::new(), Screen::default())
    }

    fn read(&mut self) -> &mut Screen {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        while let std::task::Poll::Ready(Some(text)) = self.0.poll_next(&mut context) {
            self.1.push(text);
            for data in self.1.by_ref() {
                self.2.apply_bare(&serde_json::from_slice(&data).unwrap());
            }
        }
        &mut self.2
    }
}

/// Asks and tells as the daemon does; gives how many events that were.
fn repair(hub: &Hub, truth: &Screen, found_at: u64, ended: bool) -> usize {
    let mut told = 0;
    for session in 0..3 {
        let session = id(session);
        let shown = hub.shown(&session);
        let changes = match truth.found(session.as_str(), ended) {
            Some(found) => shown.differences(session.as_str(), found, SINCE),
            None => shown
                .info
                .is_some()
                .then(|| shown.end(session.as_str(), None))
                .flatten()
                .into_iter()
                .collect(),
        };
        for change in changes {
            let event = Decoder::new().decode(change.frame("/a", "p")).unwrap();
            told += usize::from(hub.publish_found(&emitter(), event, found_at));
        }
    }
    told
}

/// What of a story matters here: one that begins with the sessions and their messages.
fn story() -> impl Strategy<Value = Vec<(u8, Emitted)>> {
    prop::collection::vec((0u8..3, emitted()), 0..50)
}

proptest! {
    #[test]
    fn what_was_missed_is_told_and_then_nothing_is_missing(heard in story(), missed in story()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let _entered = runtime.enter();
        let (all, some) = (hub(), hub());
        let (mut knows_all, mut reader) = (Reader::new(&all), Reader::new(&some));
        for session in 0..3 {
            for hub in [&all, &some] {
                publish(hub, session, &Emitted::Created);
                (0..3).for_each(|message| publish(hub, session, &Emitted::Message(message, 0)));
            }
        }
        // Ids are asked under once.
        let mut answered = Vec::new();
        let mut is_true_to_life = |(session, emitted): &&(u8, Emitted)| match emitted {
            Emitted::Answered(ask) => {
                answered.push((*session, *ask));
                true
            }
            Emitted::Asked(ask) => !answered.contains(&(*session, *ask)),
            _ => true,
        };
        for (session, emitted) in heard.iter().filter(&mut is_true_to_life) {
            publish(&all, *session, emitted);
            publish(&some, *session, emitted);
        }
        for (session, emitted) in missed.iter().filter(is_true_to_life) {
            publish(&all, *session, emitted);
        }
        some.missed("srv_1");
        repair(&some, knows_all.read(), some.position(), true);
        prop_assert_eq!(reader.read().settled(), knows_all.read().settled());
        prop_assert_eq!(repair(&some, knows_all.read(), some.position(), true), 0, "once told it is told");
    }
}

#[tokio::test(start_paused = true)]
async fn where_nothing_was_missed_nothing_is_told() {
    let hub = hub();
    let mut reader = Reader::new(&hub);
    for emitted in [
        Emitted::Created,
        Emitted::Status(false),
        Emitted::Message(1, 1),
        Emitted::Part(1, 0, "a".into()),
        Emitted::Asked(1),
    ] {
        publish(&hub, 1, &emitted);
    }
    let truth = reader.read().clone();
    assert_eq!(repair(&hub, &truth, hub.position(), false), 0);
}

fn part(text: &str, ended: bool) -> Value {
    let time = if ended { json!({"start": 1, "end": 2}) } else { json!({"start": 1}) };
    json!({"id": "prt_0", "messageID": "msg_1_1", "sessionID": "ses_1", "text": text, "time": time})
}

fn with_part(part: &Value) -> Found {
    let info = json!({"id": "msg_1_1", "sessionID": "ses_1", "n": 0});
    let list = vec![json!({"info": info, "parts": [part]})];
    Found { messages: Some(Messages { list, is_whole: true }), ..Found::default() }
}

#[tokio::test(start_paused = true)]
async fn a_text_is_replaced_by_what_goes_on_from_it_or_has_ended() {
    for (found, ended, is_told) in [
        ("", false, false),
        ("abc", false, true),
        ("abd", false, true),
        ("ac", false, false),
        ("a", true, true),
    ] {
        let hub = hub();
        publish(&hub, 1, &Emitted::Message(1, 0));
        publish(&hub, 1, &Emitted::Part(1, 0, "a".into()));
        publish(&hub, 1, &Emitted::Delta(1, 0, true, "b".into()));
        let changes = hub.shown(&id(1)).differences("ses_1", with_part(&part(found, ended)), SINCE);
        assert_eq!(changes.len(), usize::from(is_told), "{found}: {changes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_that_was_found_grows_only_after_it_was_told_whole() {
    let hub = hub();
    let mut reader = Reader::new(&hub);
    publish(&hub, 1, &Emitted::Message(1, 0));
    let changes =
        hub.shown(&id(1)).differences("ses_1", with_part(&part("ab", false)), Since { ms: 0, ..SINCE });
    let [change] = &changes[..] else { panic!("{changes:?}") };
    let event = Decoder::new().decode(change.frame("/a", "p")).unwrap();
    assert!(hub.publish_found(&emitter(), event, hub.position()));
    // It may be in what was found already.
    publish(&hub, 1, &Emitted::Delta(1, 0, true, "b".into()));
    assert_eq!(reader.read().text("msg_1_1", "prt_0"), "ab");
    publish(&hub, 1, &Emitted::Part(1, 0, "abb".into()));
    publish(&hub, 1, &Emitted::Delta(1, 0, true, "c".into()));
    assert_eq!(reader.read().text("msg_1_1", "prt_0"), "abbc");
}

#[tokio::test(start_paused = true)]
async fn what_was_told_since_the_question_is_newer_than_the_answer() {
    let hub = hub();
    let mut reader = Reader::new(&hub);
    publish(&hub, 1, &Emitted::Message(1, 0));
    let found_at = hub.position();
    publish(&hub, 1, &Emitted::Part(1, 0, "newer".into()));
    let change = Change {
        kind: "message.part.updated",
        properties: json!({"sessionID": "ses_1", "part": part("older", true)}),
    };
    let event = || Decoder::new().decode(change.frame("/a", "p")).unwrap();
    assert!(!hub.publish_found(&emitter(), event(), found_at));
    assert_eq!(reader.read().text("msg_1_1", "prt_0"), "newer");
    publish(&hub, 1, &Emitted::PartRemoved(1, 0));
    assert!(!hub.publish_found(&emitter(), event(), hub.position()), "it is gone");
}

#[test]
fn only_a_list_that_would_hold_a_message_proves_it_gone() {
    let shown = |ids: &[&str]| {
        let mut shown = Shown::default();
        for id in ids {
            shown.messages.entry((*id).to_owned()).or_default().info = Some(json!({"id": id}));
        }
        shown
    };
    let list = |ids: &[&str]| ids.iter().map(|id| json!({"info": {"id": id}, "parts": []})).collect();
    for (is_whole, gone) in [(true, vec!["msg_1", "msg_4"]), (false, vec!["msg_4"])] {
        let messages = Some(Messages { list: list(&["msg_3", "msg_5"]), is_whole });
        let found = Found { messages, ..Found::default() };
        let changes = shown(&["msg_1", "msg_3", "msg_4", "msg_5"]).differences("ses_1", found, SINCE);
        let removed: Vec<_> =
            changes.iter().map(|change| change.properties["messageID"].as_str().unwrap()).collect();
        assert_eq!(removed, gone);
    }
}

#[test]
fn a_message_of_which_only_a_part_was_told_is_taken_away_as_well() {
    let mut shown = Shown::default();
    let parts = [("prt_1".to_owned(), Some(json!({"id": "prt_1"})))].into();
    shown.messages.insert("msg_1".to_owned(), ShownMessage { parts, ..ShownMessage::default() });
    let found = Found { messages: Some(Messages { list: Vec::new(), is_whole: true }), ..Found::default() };
    let changes = shown.differences("ses_1", found, SINCE);
    assert_eq!(changes.iter().map(|change| change.kind).collect::<Vec<_>>(), ["message.removed"]);
}

#[test]
fn of_messages_that_nobody_remembers_only_those_of_late_are_told() {
    let message = |id: &str, time: Value, part: Value| json!({"info": {"id": id, "role": "user", "time": time}, "parts": [part]});
    let list = vec![
        message("msg_1", json!({"created": 1}), json!({"id": "prt_1"})),
        message("msg_2", json!({"created": 1000}), json!({"id": "prt_2"})),
        message("msg_3", json!({"created": 1}), json!({"id": "prt_3", "state": {"time": {"end": 1001}}})),
    ];
    let found = Found { messages: Some(Messages { list, is_whole: true }), ..Found::default() };
    let changes = Shown::default().differences("ses_1", found, SINCE);
    let told = changes.iter().filter_map(|change| change.properties["info"]["id"].as_str());
    assert_eq!(told.collect::<Vec<_>>(), ["msg_2", "msg_3"]);
}

#[test]
fn the_word_of_another_server_is_not_taken_back() {
    let told =
        |server: &str, what: Value| Told { kind: "question.asked".into(), what, server: Some(server.into()) };
    for (server, changes) in [("srv_1", 2), ("srv_2", 0)] {
        let mut shown = Shown { status: Some(told(server, json!({"type": "busy"}))), ..Shown::default() };
        shown.asks.insert("que_1".into(), Some(told(server, Value::Null)));
        let found = Found { status: Some(None), asks: Some(Vec::new()), ..Found::default() };
        assert_eq!(shown.differences("ses_1", found, SINCE).len(), changes);
    }
}

impl Screen {
    /// What a server would say of a session; nothing if it is gone.
    fn found(&self, session: &str, ended: bool) -> Option<Found> {
        let info = self.sessions.get(session)?.clone();
        let of_session = |text: &str| text.starts_with(&format!("msg_{}", &session[4..]));
        let messages = self.messages.iter().filter(|(id, _)| of_session(id)).map(|(id, info)| {
            let parts = self.parts.iter().filter(|((message, _), _)| message == id);
            let mut parts: Vec<Value> = parts.map(|(_, part)| part.clone()).collect();
            // Once written down as ended, a text is what it is.
            parts.iter_mut().filter(|_| ended).for_each(|part| part["time"] = json!({"end": 1}));
            json!({"info": info, "parts": parts})
        });
        let asks = self.asks.iter().filter(|ask| ask.starts_with(session));
        let asks = asks.map(|ask| (AskKind::Permission, json!({"id": ask, "sessionID": session})));
        Some(Found {
            info: Some(info),
            messages: Some(Messages { list: messages.collect(), is_whole: true }),
            status: Some(self.status.get(session).filter(|status| status["type"] != "idle").cloned()),
            asks: Some(asks.collect()),
            todo: Some(self.todos.get(session).cloned().unwrap_or_else(|| json!([]))),
            ..Found::default()
        })
    }

    /// Without what differs by design.
    fn settled(&self) -> Self {
        let mut settled = self.clone();
        settled.status.retain(|_, status| status["type"] != "idle");
        for part in settled.parts.values_mut().filter_map(Value::as_object_mut) {
            part.remove("time");
        }
        settled
    }

    fn text(&self, message: &str, part: &str) -> &str {
        self.parts[&(message.to_owned(), part.to_owned())]["text"].as_str().unwrap()
    }
}

#[test]
fn a_session_is_told_to_be_made_if_nobody_was_told_and_it_was_made_since() {
    let info = |created: u64| json!({"id": "ses_1", "time": {"created": created}});
    let hub = hub();
    let told = |shown: &Shown, is_new, created| {
        let found = Found { info: Some(info(created)), is_new, ..Found::default() };
        let changes = shown.differences("ses_1", found, SINCE);
        changes.first().map(|change| change.kind)
    };
    let shown = hub.shown(&id(1));
    assert_eq!(told(&shown, true, 1000), Some("session.created"));
    assert_eq!(told(&shown, true, 999), Some("session.updated"), "before anything was missed");
    assert_eq!(told(&shown, false, 1000), Some("session.updated"));
    // Changed by a server that is heard, made by one that is not.
    let change =
        Change { kind: "session.updated", properties: json!({"sessionID": "ses_1", "info": info(1000)}) };
    hub.publish(&emitter(), Decoder::new().decode(change.frame("/a", "p")).unwrap());
    let shown = hub.shown(&id(1));
    assert_eq!(told(&shown, true, 1000), Some("session.created"));
    assert_eq!(told(&shown, false, 1000), None);
}
