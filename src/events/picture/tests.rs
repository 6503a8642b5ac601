//! Whoever is told the picture shows what whoever was told everything shows.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{events::view::Attention, opencode::event::piece::piece};

/// What a client shows: it inserts what it does not know, appends deltas to what it knows, and removes what it is told
/// to remove, as `OpenCode`'s own clients do.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::events) struct Screen {
    pub(in crate::events) sessions: BTreeMap<String, Value>,
    pub(in crate::events) status: BTreeMap<String, Value>,
    pub(in crate::events) todos: BTreeMap<String, Value>,
    pub(in crate::events) messages: BTreeMap<String, Value>,
    pub(in crate::events) parts: BTreeMap<(String, String), Value>,
    pub(in crate::events) asks: BTreeSet<String>,
}

impl Screen {
    fn apply(&mut self, event: &Event) {
        self.apply_bare(&serde_json::from_slice(&event.frame[event.payload.clone()]).unwrap());
    }

    pub(in crate::events) fn apply_bare(&mut self, payload: &Value) {
        let properties = &payload["properties"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let session = text(&properties["sessionID"]);
        match payload["type"].as_str().unwrap() {
            "session.created" | "session.updated" => {
                self.sessions.insert(session, properties["info"].clone());
            }
            "session.deleted" => {
                self.sessions.remove(&session);
                self.status.remove(&session);
                self.todos.remove(&session);
                self.messages.retain(|_, message| message["sessionID"] != *session);
                self.parts.retain(|_, part| part["sessionID"] != *session);
                self.asks.retain(|ask| !ask.starts_with(&session));
            }
            "session.status" => drop(self.status.insert(session, properties["status"].clone())),
            "todo.updated" => drop(self.todos.insert(session, properties["todos"].clone())),
            "message.updated" => {
                self.messages.insert(text(&properties["info"]["id"]), properties["info"].clone());
            }
            "message.removed" => {
                let message = text(&properties["messageID"]);
                self.messages.remove(&message);
                self.parts.retain(|(of, _), _| *of != message);
            }
            "message.part.updated" => {
                let part = &properties["part"];
                self.parts.insert((text(&part["messageID"]), text(&part["id"])), part.clone());
            }
            "message.part.removed" => {
                self.parts.remove(&(text(&properties["messageID"]), text(&properties["partID"])));
            }
            "message.part.delta" => {
                let key = (text(&properties["messageID"]), text(&properties["partID"]));
                if let Some(part) = self.parts.get_mut(&key) {
                    let field = &mut part[properties["field"].as_str().unwrap()];
                    *field = format!("{}{}", text(field), text(&properties["delta"])).into();
                }
            }
            "permission.asked" => drop(self.asks.insert(text(&properties["id"]))),
            "permission.replied" => drop(self.asks.remove(&text(&properties["requestID"]))),
            _ => {}
        }
    }
}

/// What a server may emit, in any order: also what comes too late, for something that is gone.
#[derive(Clone, Debug)]
pub(in crate::events) enum Emitted {
    Created,
    Updated(u8),
    Deleted,
    Status(bool),
    Todo(u8),
    Message(u8, u8),
    MessageRemoved(u8),
    Part(u8, u8, String),
    PartRemoved(u8, u8),
    Delta(u8, u8, bool, String),
    Asked(u8),
    Answered(u8),
}

pub(in crate::events) fn emitted() -> impl Strategy<Value = Emitted> {
    use Emitted::*;
    let text = || "[a-c\"\\\\\n\u{e9}]{0,3}";
    prop_oneof![
        2 => Just(Created),
        2 => any::<u8>().prop_map(Updated),
        1 => Just(Deleted),
        2 => any::<bool>().prop_map(Status),
        1 => any::<u8>().prop_map(Todo),
        4 => (0u8..3, any::<u8>()).prop_map(|(message, n)| Message(message, n)),
        1 => (0u8..3).prop_map(MessageRemoved),
        6 => (0u8..3, 0u8..2, text()).prop_map(|(message, part, text)| Part(message, part, text)),
        1 => (0u8..3, 0u8..2).prop_map(|(message, part)| PartRemoved(message, part)),
        12 => (0u8..3, 0u8..2, any::<bool>(), text()).prop_map(|(m, p, field, text)| Delta(m, p, field, text)),
        2 => (0u8..2).prop_map(Asked),
        2 => (0u8..2).prop_map(Answered),
    ]
}

pub(in crate::events) fn event(session: u8, emitted: &Emitted) -> Event {
    let id = format!("ses_{session}");
    let message = |message: &u8| format!("msg_{session}_{message}");
    let part = |part: &u8| format!("prt_{part}");
    let ask = |ask: &u8| format!("{id}_per_{ask}");
    let (kind, mut properties) = match emitted {
        Emitted::Created => ("session.created", json!({"info": {"id": id, "n": 0}})),
        Emitted::Updated(n) => ("session.updated", json!({"info": {"id": id, "n": n}})),
        Emitted::Deleted => ("session.deleted", json!({"info": {"id": id}})),
        Emitted::Status(idle) => {
            ("session.status", json!({"status": {"type": if *idle { "idle" } else { "busy" }}}))
        }
        Emitted::Todo(n) => ("todo.updated", json!({"todos": [n]})),
        Emitted::Message(m, n) => {
            ("message.updated", json!({"info": {"id": message(m), "sessionID": id, "n": n}}))
        }
        Emitted::MessageRemoved(m) => ("message.removed", json!({"messageID": message(m)})),
        Emitted::Part(m, p, text) => (
            "message.part.updated",
            json!({"part": {"id": part(p), "messageID": message(m), "sessionID": id, "text": text}}),
        ),
        Emitted::PartRemoved(m, p) => {
            ("message.part.removed", json!({"messageID": message(m), "partID": part(p)}))
        }
        Emitted::Delta(m, p, field, text) => (
            "message.part.delta",
            json!({
                "messageID": message(m), "partID": part(p), "delta": text,
                "field": if *field { "text" } else { "other" },
            }),
        ),
        Emitted::Asked(n) => ("permission.asked", json!({"id": ask(n)})),
        Emitted::Answered(n) => ("permission.replied", json!({"requestID": ask(n)})),
    };
    properties["sessionID"] = id.as_str().into();
    let payload = json!({"id": "evt_1", "type": kind, "properties": properties}).to_string();
    let open = r#"{"directory":"/a","project":"p","payload":"#;
    Event {
        seq: 0,
        server: Some("srv_1".into()),
        directory: Some("/a".into()),
        attention: Attention::Everyone,
        session: SessionId::try_new(&id).ok(),
        kind: kind.into(),
        payload: open.len()..open.len() + payload.len(),
        frame: format!("{open}{payload}}}").into(),
        global_only: false,
    }
}

/// A picture, and all that was told so far.
struct Told {
    picture: Picture,
    events: Vec<Arc<Event>>,
}

impl Told {
    fn new(bytes: usize) -> Self {
        let extent = Extent { bytes, window: Duration::from_secs(10) };
        Self { picture: Picture::new(extent, 0), events: Vec::new() }
    }

    fn tell(&mut self, mut event: Event, now_ms: u64) -> bool {
        event.seq = self.events.len() as u64;
        let bare = event.frame.slice(event.payload.clone());
        let Some(piece) = piece(&event.kind, std::str::from_utf8(&bare).unwrap()) else { return true };
        if self.picture.hides(&event, &piece) {
            return false;
        }
        let event = Arc::new(event);
        self.picture.apply(&event, &piece, now_ms);
        self.events.push(event);
        true
    }

    /// What a client shows that was told all from the beginning up to `position`.
    fn screen(&self, position: usize) -> Screen {
        let mut screen = Screen::default();
        for event in &self.events[..position] {
            screen.apply(event);
        }
        screen
    }
}

fn story() -> impl Strategy<Value = Vec<(u8, Emitted)>> {
    prop::collection::vec((0u8..3, emitted()), 0..60)
}

fn after(mut screen: Screen, events: &[Arc<Event>]) -> Screen {
    for event in events {
        screen.apply(event);
    }
    screen
}

/// All that changed since, taken in pieces.
fn since(picture: &mut Picture, from: u64, piece: usize) -> Result<Vec<Arc<Event>>, Forgotten> {
    let (mut events, mut left) = (Vec::new(), Some(Stretch { from, began: u64::MAX, behind: from }));
    while let Some(stretch) = left {
        let (next, rest) = picture.since(stretch, piece, |_| true)?;
        events.extend(next);
        left = rest;
    }
    Ok(events)
}

proptest! {
    #[test]
    fn whoever_is_told_the_picture_shows_what_whoever_was_told_everything_shows(
        before in story(), later in story(), seen in any::<prop::sample::Index>(), piece in 1usize..2000,
    ) {
        let mut told = Told::new(1 << 20);
        for (session, emitted) in &before {
            told.tell(event(*session, emitted), 0);
        }
        let cut = told.events.len();
        let seen = seen.index(cut + 1);
        let all = |_: &Event| true;
        let now = told.picture.now(usize::MAX, all);
        let since = since(&mut told.picture, seen as u64, piece);
        prop_assert!(!now.iter().any(|event| event.kind == "session.created"));
        for (session, emitted) in &later {
            told.tell(event(*session, emitted), 0);
        }
        let expected = told.screen(told.events.len());
        let rest = &told.events[cut..];
        prop_assert_eq!(&after(after(Screen::default(), &now), rest), &expected, "who comes late");
        match since {
            Ok(since) => {
                prop_assert_eq!(&after(after(told.screen(seen), &since), rest), &expected, "who read slowly");
            }
            // Only because of more text for a part that was never told whole.
            Err(Forgotten) => prop_assert!(told.picture.floor > seen as u64),
        }
        // To apply it twice does no harm.
        prop_assert_eq!(&after(after(after(Screen::default(), &now), &now), rest), &expected);
    }

    #[test]
    fn a_picture_stays_within_its_bounds_and_says_what_it_forgot(
        story in story(), bytes in 500usize..4000, seen in any::<prop::sample::Index>(), tidy in any::<bool>(),
    ) {
        let mut told = Told::new(bytes);
        for (n, (session, emitted)) in story.iter().enumerate() {
            let now_ms = n as u64 * 1000;
            told.tell(event(*session, emitted), now_ms);
            if tidy {
                told.picture.tidy(now_ms);
            }
            prop_assert!(told.picture.bytes() <= bytes);
            let counted: usize = told.picture.sessions.values().map(Session::bytes).sum();
            prop_assert_eq!(told.picture.bytes(), counted);
            let order: Vec<_> = told.picture.order.iter().map(|(newest, id)| (*newest, id.clone())).collect();
            let mut sessions: Vec<_> =
                told.picture.sessions.iter().map(|(id, session)| (session.newest(), id.clone())).collect();
            sessions.sort();
            prop_assert_eq!(order, sessions);
        }
        let end = told.events.len();
        let seen = seen.index(end + 1);
        if let Ok(since) = since(&mut told.picture, seen as u64, usize::MAX) {
            prop_assert_eq!(after(told.screen(seen), &since), told.screen(end));
        }
        prop_assert!(since(&mut told.picture, end as u64, usize::MAX).is_ok());
    }
}

#[test]
fn what_is_gone_stays_gone_and_what_is_told_once_is_told_once() {
    let mut told = Told::new(1 << 20);
    let part = || Emitted::Part(1, 0, "a".into());
    let delta = || Emitted::Delta(1, 0, true, "b".into());
    for (emitted, is_told) in [
        (Emitted::Created, true),
        (Emitted::Created, false),
        (Emitted::Message(1, 0), true),
        (part(), true),
        (Emitted::PartRemoved(1, 0), true),
        (delta(), false),
        (part(), false),
        (Emitted::MessageRemoved(1), true),
        (Emitted::Message(1, 1), false),
        (Emitted::Part(1, 1, String::new()), false),
        (Emitted::Deleted, true),
        (Emitted::Updated(1), false),
        (Emitted::Status(false), false),
        (Emitted::Deleted, false),
        (Emitted::Created, false),
    ] {
        assert_eq!(told.tell(event(1, &emitted), 0), is_told, "{emitted:?}");
    }
}

#[test]
fn text_of_which_a_piece_was_missed_grows_again_once_it_was_told_whole() {
    let mut told = Told::new(1 << 20);
    let part = |text: &str| event(1, &Emitted::Part(1, 0, text.into()));
    let delta = || event(1, &Emitted::Delta(1, 0, true, "b".into()));
    assert!(told.tell(delta(), 0), "of a part that was never told whole all is passed on");
    assert!(told.tell(part("a"), 0) && told.tell(delta(), 0));
    told.picture.missed("srv_2");
    assert!(told.tell(delta(), 0), "it was another server's");
    told.picture.missed("srv_1");
    assert!(!told.tell(delta(), 0));
    let now = told.picture.now(usize::MAX, |_| true);
    let screen = after(Screen::default(), &now);
    assert_eq!(screen.parts.values().next().unwrap()["text"], "abb", "what is known so far is true");
    assert!(told.tell(part("abbbb"), 0) && told.tell(delta(), 0));
}

#[test]
fn the_sessions_that_changed_last_are_told_first_and_no_more_than_there_is_room_for() {
    let mut told = Told::new(1 << 20);
    for session in [1, 2, 3, 1] {
        told.tell(event(session, &Emitted::Updated(session)), 0);
    }
    let sessions = |events: &[Arc<Event>]| -> Vec<_> {
        events.iter().map(|event| event.session.clone().unwrap().as_str().to_owned()).collect()
    };
    let all = told.picture.now(usize::MAX, |_| true);
    assert_eq!(sessions(&all), ["ses_1", "ses_3", "ses_2"]);
    let most = all[0].frame.len() * 2;
    assert_eq!(sessions(&told.picture.now(most, |_| true)), ["ses_1", "ses_3"]);
}

#[test]
fn work_and_open_questions_are_shown_however_long_they_last() {
    let mut told = Told::new(1 << 20);
    for emitted in [
        Emitted::Updated(1),
        Emitted::Status(false),
        Emitted::Asked(1),
        Emitted::Asked(0),
        Emitted::Answered(0),
    ] {
        told.tell(event(1, &emitted), 0);
    }
    told.picture.tidy(60_000);
    let kinds = |picture: &mut Picture| -> Vec<_> {
        picture.now(usize::MAX, |_| true).iter().map(|event| event.kind.to_string()).collect()
    };
    assert_eq!(kinds(&mut told.picture), ["session.status", "permission.asked"]);
    assert_eq!(since(&mut told.picture, 0, usize::MAX).unwrap_err(), Forgotten);
    told.tell(event(1, &Emitted::Status(true)), 60_000);
    told.tell(event(1, &Emitted::Answered(1)), 60_000);
    told.picture.tidy(120_000);
    assert_eq!(kinds(&mut told.picture), Vec::<String>::new());
    assert_eq!(told.picture.bytes(), 0);
}
