//! Events of our own making, in the form of `/global/event`: what happens to servers and sessions, and the two
//! that every stream holds, `server.connected` and `server.heartbeat`.

mod told;

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use rand::Rng;
use serde::Serialize;

use self::told::{Complete, ResetNotice, Restarted, Told};
pub(super) use self::told::{Hello, Resume};
pub use self::told::{
    PointsmanEvent, Present, Repaired, ServerNotice, SessionConflict, SessionMoved, SessionViewed,
};
use crate::{
    domain::{
        ask::{Ask, AskKind, Interface},
        ids::SessionId,
    },
    events::{cursor::Reset, view::Shape},
};

/// An event ready to be published.
#[derive(Clone, Debug)]
pub struct Own {
    /// Its type.
    pub kind: &'static str,
    /// The `/global/event` form; the whole event, if it is one of the second interface.
    pub frame: Bytes,
    /// Where the `/event` form lies in it.
    pub payload: Range<usize>,
    /// The session it speaks of.
    pub session: Option<SessionId>,
    /// The directory it is about; `None` for what concerns everybody.
    pub directory: Option<Arc<str>>,
}

/// What happened to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerChange {
    /// It can be reached.
    Up,
    /// Something that is told of it became known or another.
    Changed,
    /// It has been silent for longer than a living server is.
    Stalled,
    /// It has gone.
    Down,
}

/// `pointsman.server.up`, `.changed`, `.stalled` or `.down`.
pub fn server(change: ServerChange, notice: &ServerNotice<'_>) -> Own {
    tell(match change {
        ServerChange::Up => Told::ServerUp(*notice),
        ServerChange::Changed => Told::ServerChanged(*notice),
        ServerChange::Stalled => Told::ServerStalled(*notice),
        ServerChange::Down => Told::ServerDown(*notice),
    })
}

/// `pointsman.session.moved`.
pub fn session_moved(moved: &SessionMoved<'_>) -> Own {
    tell(Told::SessionMoved(*moved))
}

/// `pointsman.session.conflict`.
pub fn session_conflict(conflict: &SessionConflict<'_>) -> Own {
    tell(Told::SessionConflict(*conflict))
}

/// `pointsman.session.viewed`.
pub fn session_viewed(viewed: &SessionViewed<'_>) -> Own {
    tell(Told::SessionViewed(*viewed))
}

/// What an agent asked for and nobody can answer any more, its server having gone.
#[derive(Clone, Debug)]
pub struct Orphaned<'a> {
    /// What was asked for.
    pub ask: Ask,
    /// The id it was asked under.
    pub id: &'a str,
    /// The session that asked.
    pub session: &'a SessionId,
    /// The directory it asked in.
    pub directory: Option<&'a Arc<str>>,
    /// The project of that session, where it is known.
    pub project: Option<&'a str>,
}

/// The event that takes a question off every screen: `permission.replied` or `question.rejected`, as a server would
/// have told it, in the form of the streams of `interface`. A question of either interface stands on the streams of
/// both, under its own type.
pub fn orphaned(orphan: &Orphaned<'_>, interface: Interface) -> Own {
    #[derive(Serialize)]
    struct Answer<'a> {
        #[serde(rename = "sessionID")]
        session: &'a SessionId,
        #[serde(rename = "requestID")]
        id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reply: Option<&'static str>,
    }
    #[derive(Serialize)]
    struct Location<'a> {
        directory: &'a str,
    }
    let (kind, reply) = match (orphan.ask.kind, orphan.ask.interface) {
        (AskKind::Permission, Interface::First) => ("permission.replied", Some("reject")),
        (AskKind::Permission, Interface::Second) => ("permission.v2.replied", Some("reject")),
        (AskKind::Question, Interface::First) => ("question.rejected", None),
        (AskKind::Question, Interface::Second) => ("question.v2.rejected", None),
    };
    let answer = json(&Answer { session: orphan.session, id: orphan.id, reply });
    let session = Some(orphan.session.clone());
    let directory = orphan.directory.cloned();
    match interface {
        Interface::First => {
            let before = before(directory.as_deref(), orphan.project);
            Own { session, directory, ..wrap(&before, kind, &answer) }
        }
        Interface::Second => {
            let location = directory.as_deref().map_or_else(String::new, |directory| {
                format!(r#""location":{},"#, json(&Location { directory }))
            });
            let frame = format!(r#"{{"id":"{}","type":"{kind}",{location}"data":{answer}}}"#, id());
            Own { kind, payload: 0..frame.len(), frame: frame.into(), session, directory }
        }
    }
}

/// What stands before the payload of an event of a directory.
fn before(directory: Option<&str>, project: Option<&str>) -> String {
    let named = |key: &str, value: Option<&str>| {
        value.map_or_else(String::new, |value| format!(r#""{key}":{},"#, json(value)))
    };
    format!(r#"{{{}{}"payload":"#, named("directory", directory), named("project", project))
}

/// `session.status` idle of a session whose server has gone, as that would have told it.
pub fn idle(session: &SessionId, directory: Option<&Arc<str>>, project: Option<&str>) -> Own {
    let properties = format!(r#"{{"sessionID":{},"status":{{"type":"idle"}}}}"#, json(session));
    let before = before(directory.map(|directory| &**directory), project);
    let (session, directory) = (Some(session.clone()), directory.cloned());
    Own { session, directory, ..wrap(&before, "session.status", &properties) }
}

/// `pointsman.complete`.
pub fn complete() -> Own {
    tell(Told::Complete(Complete {}))
}

/// `pointsman.restarted`. `clean` says whether everything told before is in the journal.
pub fn restarted(clean: bool) -> Own {
    tell(Told::Restarted(Restarted { clean }))
}

/// `pointsman.repaired`.
pub fn repaired(repaired: &Repaired<'_>) -> Own {
    tell(Told::Repaired(*repaired))
}

/// The first event of our own stream.
pub(super) fn hello(hello: Hello<'_>) -> Bytes {
    tell(Told::Hello(hello)).frame
}

/// The first event of a stream.
pub(super) fn connected(shape: Shape) -> Bytes {
    plain("server.connected", shape)
}

/// What was missed cannot be told: whoever receives this must ask for the present state. Only those are told who can
/// have a cursor, which on `/api/event` nobody has.
pub(super) fn reset(shape: Shape, reason: Reset) -> Bytes {
    let own = tell(Told::Reset(ResetNotice { reason }));
    match shape {
        Shape::Directory => own.frame.slice(own.payload),
        Shape::Global | Shape::Own | Shape::Api => own.frame,
    }
}

/// The sign of life of a stream; `None` where that is not an event but a comment.
pub(super) fn heartbeat(shape: Shape) -> Option<Bytes> {
    match shape {
        Shape::Global | Shape::Directory | Shape::Own => Some(plain("server.heartbeat", shape)),
        Shape::Api => None,
    }
}

/// What our own event tells, in its envelope.
fn tell(told: Told<'_>) -> Own {
    let (kind, session) = (told.kind(), told.session().cloned());
    let payload = json(&PointsmanEvent { id: id(), told });
    let frame = format!("{BARE}{payload}}}");
    Own { kind, payload: BARE.len()..frame.len() - 1, frame: frame.into(), session, directory: None }
}

/// An event without properties, which `OpenCode`'s own streams hold too.
fn plain(kind: &'static str, shape: Shape) -> Bytes {
    let own = wrap(BARE, kind, "{}");
    match shape {
        Shape::Global | Shape::Own => own.frame,
        Shape::Directory => own.frame.slice(own.payload),
        Shape::Api => format!(r#"{{"id":"{}","type":"{kind}","data":{{}}}}"#, id()).into(),
    }
}

/// What stands before the payload of an event that concerns no directory.
const BARE: &str = r#"{"payload":"#;

fn wrap(before: &str, kind: &'static str, properties: &str) -> Own {
    let frame = format!(r#"{before}{{"id":"{}","type":"{kind}","properties":{properties}}}}}"#, id());
    Own { kind, payload: before.len()..frame.len() - 1, frame: frame.into(), session: None, directory: None }
}

/// Texts and numbers always become JSON; were one not to, the event would still tell that something happened.
fn json(properties: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(properties).unwrap_or_else(|_| "{}".to_owned())
}

/// A new event id of `OpenCode`'s form: `evt_`, 12 hexadecimal digits of (milliseconds × 4096 + counter) cut to 48
/// bits, 14 random characters. Later ids sort behind earlier ones of this process, but for the cut every 2.2 years.
pub(super) fn id() -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    static LAST: AtomicU64 = AtomicU64::new(0);
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let now = u64::try_from(millis).unwrap_or_default() << 12;
    // A clock set back, or more than 4096 events in a millisecond, go on counting from the last id.
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(now.max(last + 1)));
    let stamp = now.max(last.unwrap_or_default() + 1) & 0xffff_ffff_ffff;
    let mut rng = rand::rng();
    let random: String = (0..14).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect();
    format!("evt_{stamp:012x}{random}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{evidence::Evidence, kind::Kind},
        opencode::event::Decoder,
    };

    #[test]
    fn an_id_has_the_form_of_opencodes_and_sorts_behind_the_one_before() {
        let ids: Vec<_> = (0..10_000).map(|_| id()).collect();
        assert!(ids.iter().all(|id| id.len() == 30 && id.starts_with("evt_")));
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_question_whose_asker_has_gone_is_cleared_in_the_forms_of_both_interfaces() {
        let session = SessionId::try_new("ses_1").unwrap();
        let directory: Arc<str> = "/a \"b\"".into();
        for (kind, interface, named, reply) in [
            (AskKind::Permission, Interface::First, "permission.replied", true),
            (AskKind::Permission, Interface::Second, "permission.v2.replied", true),
            (AskKind::Question, Interface::First, "question.rejected", false),
            (AskKind::Question, Interface::Second, "question.v2.rejected", false),
        ] {
            let ask = Ask { kind, interface };
            let orphan = Orphaned {
                ask,
                id: "per_1",
                session: &session,
                directory: Some(&directory),
                project: Some("p"),
            };
            let mut expected = serde_json::json!({"sessionID": "ses_1", "requestID": "per_1"});
            if reply {
                expected["reply"] = "reject".into();
            }
            let first = orphaned(&orphan, Interface::First);
            let read = Decoder::new().decode(first.frame.clone()).unwrap();
            assert_eq!(
                (&*read.kind, &read.payload, &read.directory),
                (named, &first.payload, &first.directory)
            );
            let whole: serde_json::Value = serde_json::from_slice(&first.frame).unwrap();
            assert_eq!((&whole["directory"], &whole["project"]), (&(*directory).into(), &"p".into()));
            assert_eq!(whole["payload"]["properties"], expected);
            let second = orphaned(&orphan, Interface::Second);
            let read = Decoder::new().decode_api(second.frame.clone()).unwrap();
            assert_eq!(
                (&*read.kind, &read.payload, &read.directory),
                (named, &second.payload, &second.directory)
            );
            let whole: serde_json::Value = serde_json::from_slice(&second.frame).unwrap();
            assert_eq!(whole["location"], serde_json::json!({"directory": &*directory}));
            assert_eq!(whole["data"], expected);
        }
    }

    #[test]
    fn own_events_are_read_like_any_servers() {
        let session = SessionId::try_new("ses_1").unwrap();
        let notice = ServerNotice {
            id: "srv_1",
            url: "http://127.0.0.1:4302",
            directory: Some("/a \"b\""),
            pid: None,
        };
        let evidence = Some(Evidence::StartedWith);
        let moved = SessionMoved { session: &session, from: None, to: Some("srv_1"), evidence };
        for (own, kind, properties) in [
            (
                server(ServerChange::Stalled, &notice),
                "pointsman.server.stalled",
                r#"{"id":"srv_1","url":"http://127.0.0.1:4302","directory":"/a \"b\""}"#,
            ),
            (
                session_moved(&moved),
                "pointsman.session.moved",
                r#"{"sessionID":"ses_1","from":null,"to":"srv_1","evidence":"started-with"}"#,
            ),
            (
                session_conflict(&SessionConflict { session: &session, owner: "srv_1", other: "srv_2" }),
                "pointsman.session.conflict",
                r#"{"sessionID":"ses_1","owner":"srv_1","other":"srv_2"}"#,
            ),
            (
                session_viewed(&SessionViewed {
                    session: &session,
                    viewer: "scr_1",
                    server: None,
                    kind: Kind::Attach,
                    viewing: true,
                }),
                "pointsman.session.viewed",
                r#"{"sessionID":"ses_1","viewer":"scr_1","server":null,"kind":"attach","viewing":true}"#,
            ),
        ] {
            let read = Decoder::new().decode(own.frame.clone()).unwrap();
            assert_eq!((&*read.kind, &read.payload, &read.session), (kind, &own.payload, &own.session));
            let payload: serde_json::Value = serde_json::from_slice(&own.frame[own.payload]).unwrap();
            assert_eq!(payload["properties"], serde_json::from_str::<serde_json::Value>(properties).unwrap());
        }
    }
}
