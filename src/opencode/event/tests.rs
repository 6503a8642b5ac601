use super::*;

/// Events of a 1.18.33 server, renamed to another directory: a turn with a tool call and a permission.
const TURN: &str = include_str!("turn.jsonl");

const SESSION: &str = "ses_e0210d078ffe2x4EThAIbvO7mw";

fn decode(text: &str) -> Decoded {
    Decoder::new().decode(Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

fn signal_of(kind: &str, properties: &str) -> Signal {
    decode(&format!(
        r#"{{"directory":"/p","payload":{{"id":"evt_1","type":"{kind}","properties":{properties}}}}}"#
    ))
    .signal
}

fn events() -> Vec<Decoded> {
    let mut decoder = Decoder::new();
    TURN.lines().map(|line| decoder.decode(Bytes::from_static(line.as_bytes())).unwrap()).collect()
}

fn only(kind: &str) -> Vec<Signal> {
    events().into_iter().filter(|event| event.kind == kind).map(|event| event.signal).collect()
}

#[test]
fn a_real_turn_is_read_as_what_it_was() {
    let per = "per_1fdef3b720015x8LOeT1LqwXKe";
    let pty = "pty_1fdef4cd1001a3liwUEc78VAVY";
    let ask = Ask { kind: AskKind::Permission, interface: Interface::First };
    assert_eq!(only("session.status"), [Signal::Busy, Signal::Idle]);
    assert_eq!(only("session.idle"), [Signal::Idle]);
    // First the user's, then the assistant's.
    assert_eq!(only("message.updated"), [Signal::Nothing, Signal::Output]);
    // The user's text, a step's start, the tool, the step's end, the assistant's text.
    assert_eq!(
        only("message.part.updated"),
        [Signal::Nothing, Signal::Output, Signal::Output, Signal::Output, Signal::Nothing]
    );
    assert_eq!(only("message.part.delta"), [Signal::Output]);
    assert_eq!(only("permission.asked"), [Signal::Asked { ask, id: per.into() }]);
    assert_eq!(only("permission.replied"), [Signal::Answered { ask, id: per.into() }]);
    assert_eq!(only("pty.created"), [Signal::PtyCreated { id: pty.into() }]);
    assert_eq!(only("pty.deleted"), [Signal::PtyGone { id: pty.into() }]);
    assert_eq!(only("tui.toast.show"), [Signal::Tui]);
    assert_eq!(only("server.instance.disposed"), [Signal::Disposed]);
    assert_eq!(only("server.connected"), [Signal::Connected]);
    assert_eq!(only("server.heartbeat"), [Signal::Heartbeat]);
    assert_eq!(only("session.deleted"), [Signal::Deleted]);
    assert_eq!(only("sync"), [Signal::Sync { session: SessionId::try_new(SESSION).unwrap(), seq: 0 }]);
    assert_eq!(only("catalog.updated"), [Signal::CatalogueChanged]);
    assert_eq!(only("project.updated"), [Signal::Nothing]);
}

#[test]
fn a_created_session_comes_with_its_row() {
    let signals = only("session.created");
    let [Signal::Created(row)] = &signals[..] else { panic!("{signals:?}") };
    assert_eq!(row.id.as_str(), SESSION);
    assert_eq!(&*row.directory, "/home/u/proj");
    assert_eq!(&*row.title, "New session - 2026-11-21T11:47:53.351Z");
    assert_eq!(&*row.project, "08535395");
    assert_eq!((row.created_ms, row.updated_ms), (1_795_261_673_351, 1_795_261_673_351));
    assert_eq!(row.parent, None);
}

#[test]
fn every_event_of_a_session_names_it_and_no_other_event_does() {
    for event in events() {
        let of_session = event.frame.windows(SESSION.len()).any(|at| at == SESSION.as_bytes());
        assert_eq!(event.session.is_some(), of_session, "{}", event.kind);
    }
}

#[test]
fn the_payload_is_a_slice_of_the_frame_and_an_event_of_its_own() {
    for event in events() {
        let bare: serde_json::Value = serde_json::from_slice(&event.frame[event.payload.clone()]).unwrap();
        let whole: serde_json::Value = serde_json::from_slice(&event.frame).unwrap();
        assert_eq!(bare, whole["payload"]);
        assert_eq!(bare["type"], *event.kind);
    }
}

#[test]
fn an_event_of_the_whole_process_has_no_directory() {
    let kinds: Vec<_> =
        events().into_iter().filter(|event| event.directory.is_none()).map(|event| event.kind).collect();
    assert_eq!(kinds, ["server.connected", "project.updated", "server.heartbeat", "global.disposed"]);
}

#[test]
fn one_name_serves_all_events_of_a_directory() {
    let events = events();
    let mut names = events.iter().filter_map(|event| event.directory.as_ref());
    let first = names.next().unwrap();
    assert!(names.all(|name| Arc::ptr_eq(first, name)));
}

#[test]
fn more_directories_than_are_remembered_keep_their_names() {
    let mut decoder = Decoder::new();
    for n in (0..20).chain(0..20).chain([3, 3, 4]) {
        let text = format!(r#"{{"directory":"/p/{n}","payload":{{"type":"x"}}}}"#);
        let event = decoder.decode(text.into()).unwrap();
        assert_eq!(event.directory.as_deref(), Some(&*format!("/p/{n}")));
    }
}

#[test]
fn the_session_is_found_in_each_of_its_places() {
    for properties in [
        r#"{"sessionID":"ses_1"}"#,
        r#"{"info":{"sessionID":"ses_1","id":"msg_1"}}"#,
        r#"{"part":{"sessionID":"ses_1","id":"prt_1"}}"#,
        r#"{"info":{"id":"ses_1"}}"#,
    ] {
        let text = format!(r#"{{"payload":{{"properties":{properties},"type":"session.deleted"}}}}"#);
        assert_eq!(decode(&text).session, Some(SessionId::try_new("ses_1").unwrap()), "{properties}");
    }
}

#[test]
fn questions_are_asked_and_answered() {
    for (version, interface) in [("", Interface::First), ("v2.", Interface::Second)] {
        let ask = Ask { kind: AskKind::Question, interface };
        let asked = signal_of(&format!("question.{version}asked"), r#"{"id":"que_1"}"#);
        assert_eq!(asked, Signal::Asked { ask, id: "que_1".into() });
        for word in ["replied", "rejected"] {
            let answered = signal_of(&format!("question.{version}{word}"), r#"{"requestID":"que_1"}"#);
            assert_eq!(answered, Signal::Answered { ask, id: "que_1".into() });
        }
    }
    assert!(signal_of("permission.v2.asked", r#"{"id":"per_1"}"#).is_output());
}

#[test]
fn only_what_a_running_turn_emits_is_output_among_the_v2_events() {
    for kind in
        ["text.delta", "reasoning.started", "tool.input.delta", "tool.success", "step.failed", "retried"]
    {
        assert_eq!(signal_of(&format!("session.next.{kind}"), "{}"), Signal::Output, "{kind}");
    }
    for kind in ["agent.switched", "moved", "prompted", "prompt.admitted", "synthetic", "revert.staged"] {
        assert_eq!(signal_of(&format!("session.next.{kind}"), "{}"), Signal::Nothing, "{kind}");
    }
}

#[test]
fn a_field_of_an_unexpected_kind_is_as_good_as_absent() {
    for properties in [
        "null",
        "[1,{}]",
        "7",
        r#""text""#,
        r#"{"status":"connected","info":[1],"part":"x","sessionID":7,"id":null}"#,
        r#"{"info":{"id":{"a":1},"time":true,"role":1.5,"title":[[]]},"part":{"type":{}}}"#,
    ] {
        for kind in
            ["workspace.status", "session.status", "session.created", "message.part.updated", "pty.created"]
        {
            assert_eq!(signal_of(kind, properties), Signal::Nothing, "{kind} {properties}");
        }
    }
    assert_eq!(signal_of("session.updated", r#"{"info":{"id":"ses_1"}}"#), Signal::Nothing);
}

#[test]
fn times_with_a_fraction_and_escaped_texts_are_read() {
    let signal = signal_of(
        "session.updated",
        r#"{"info":{"id":"ses_1","directory":"C:\\p","title":"\u00e9","parentID":"ses_0","time":{"created":1.5,"updated":-1}}}"#,
    );
    let Signal::Updated(row) = signal else { panic!("{signal:?}") };
    assert_eq!((&*row.directory, &*row.title, row.created_ms, row.updated_ms), ("C:\\p", "é", 1, 1));
    assert_eq!(row.parent.unwrap().as_str(), "ses_0");
}

#[test]
fn what_is_not_an_event_is_an_error() {
    for text in [
        "",
        "{",
        "[]",
        "null",
        "<html>",
        "{}",
        r#"{"payload":7}"#,
        r#"{"payload":{}}"#,
        r#"{"payload":{"type":7}}"#,
    ] {
        let read = Decoder::new().decode(Bytes::from_static(text.as_bytes()));
        assert!(matches!(read, Err(Malformed::NotAnEvent(_))), "{text}");
    }
    let read = Decoder::new().decode(Bytes::from_static(b"{\"payload\":{\"type\":\"\xff\"}}"));
    assert!(matches!(read, Err(Malformed::NotText(_))));
}

#[test]
fn deep_nesting_is_skipped_or_refused_and_never_overflows() {
    let open = "[".repeat(200_000);
    let text = format!(r#"{{"payload":{{"type":"x","properties":{{"info":{open}"#);
    assert!(Decoder::new().decode(text.into()).is_err());
    let closed = format!("{open}{}", "]".repeat(200_000));
    for field in ["other", "info"] {
        let text = format!(r#"{{"payload":{{"type":"x","properties":{{"{field}":{closed}}}}}}}"#);
        let _ = Decoder::new().decode(text.into());
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_decoder_panic(text in ".{0,200}", line in 0_usize..25, at: u16, byte: u8) {
        let _ = Decoder::new().decode(text.into());
        let mut bent = TURN.lines().nth(line).unwrap().as_bytes().to_vec();
        let at = usize::from(at) % bent.len();
        bent[at] = byte;
        let _ = Decoder::new().decode(bent.into());
    }
}

#[test]
fn an_events_id_tells_when_it_was_emitted() {
    let at = |id: &str, now_ms| {
        let event = decode(&format!(r#"{{"payload":{{"id":"{id}","type":"session.idle"}}}}"#));
        event.stamp.map(|stamp| stamp.at_ms(now_ms))
    };
    // Seen on a real server, with a message made at 1795260954299.
    let seen = Some(1_795_260_954_307);
    assert_eq!(at("evt_1fde436c3001RBL8JfLVrwymoI", 1_795_260_954_400), seen);
    assert_eq!(at("evt_1fde436c3001RBL8JfLVrwymoI", 1_795_260_954_000), seen);
    assert_eq!(at("evt_no", 1), None);
    assert_eq!(at("evt_zzzzzzzzzzzzRBL8JfLVrwymoI", 1), None);
}

#[test]
fn an_event_of_the_second_interface_is_read_like_its_twin_of_the_first() {
    let api = |text: &str| Decoder::new().decode_api(text.to_owned().into());
    let text = r#"{"id":"evt_1fe4238b2002IomSCLgOBGzH5M","type":"permission.v2.asked","location":{"directory":"/a"},"data":{"id":"per_1","sessionID":"ses_1","action":"bash"}}"#;
    let asked = api(text).unwrap();
    assert_eq!((&asked.frame[..], &asked.payload), (text.as_bytes(), &(0..text.len())));
    let ask = Ask { kind: AskKind::Permission, interface: Interface::Second };
    assert_eq!(asked.signal, Signal::Asked { ask, id: "per_1".into() });
    assert_eq!((asked.directory.as_deref(), asked.session), (Some("/a"), SessionId::try_new("ses_1").ok()));
    assert!(asked.stamp.is_some());
    let greeting = api(r#"{"id":"evt_1","type":"server.connected","data":{}}"#).unwrap();
    assert_eq!((greeting.signal, greeting.directory), (Signal::Connected, None));
    let durable = r#"{"type":"session.created","durable":{"aggregateID":"ses_1","seq":0,"version":1},"location":{"directory":"/a"},"data":{"sessionID":"ses_1","info":{"id":"ses_1","directory":"/a","time":{"created":5}}}}"#;
    assert!(matches!(api(durable).unwrap().signal, Signal::Created(_)));
    let odd = r#"{"type":"tui.toast.show","location":"nowhere","data":[]}"#;
    assert_eq!(api(odd).unwrap().signal, Signal::Tui);
    for broken in ["{}", "[]", r#"{"type":1}"#, "<html>"] {
        assert!(api(broken).is_err(), "{broken}");
    }
}
