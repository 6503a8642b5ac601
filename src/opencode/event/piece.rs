//! Which piece of what a client shows an event changes.
//!
//! Clients keep sessions, messages and the parts of messages, and apply to them what events say: insert or replace by
//! id, append a delta, remove. Events that are not named here change nothing that stays.

use std::borrow::Cow;

use serde::Deserialize;

use super::wire::{Object, Text};

/// What an event does to what a client shows of its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The session itself, whole.
    Session,
    /// The session is gone.
    SessionDeleted,
    /// Whether it works.
    Status {
        /// It does not.
        idle: bool,
    },
    /// A thing of which a session has one: its list of things to do, its changes to files.
    Single,
    /// A message, without its parts.
    Message {
        /// Its id.
        id: Cow<'a, str>,
    },
    /// A message is gone, and its parts with it.
    MessageRemoved {
        /// Its id.
        id: Cow<'a, str>,
    },
    /// A part, whole.
    Part {
        /// The message it belongs to.
        message: Cow<'a, str>,
        /// Its id.
        id: Cow<'a, str>,
    },
    /// A part is gone.
    PartRemoved {
        /// The message it belonged to.
        message: Cow<'a, str>,
        /// Its id.
        id: Cow<'a, str>,
    },
    /// More text of a part.
    Delta {
        /// The message it belongs to.
        message: Cow<'a, str>,
        /// The part.
        part: Cow<'a, str>,
        /// Which of its fields grows.
        field: Cow<'a, str>,
        /// By what.
        text: Cow<'a, str>,
    },
    /// A permission or a question is open.
    Asked {
        /// Its id.
        id: Cow<'a, str>,
    },
    /// It is no more.
    Answered {
        /// Its id.
        id: Cow<'a, str>,
    },
}

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow, default)]
    properties: Object<Properties<'a>>,
}

#[derive(Deserialize)]
struct Properties<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow, default, rename = "requestID")]
    request: Text<'a>,
    #[serde(borrow, default, rename = "messageID")]
    message: Text<'a>,
    #[serde(borrow, default, rename = "partID")]
    part_id: Text<'a>,
    #[serde(borrow, default)]
    field: Text<'a>,
    #[serde(borrow, default)]
    delta: Text<'a>,
    #[serde(borrow, default)]
    info: Object<Named<'a>>,
    #[serde(borrow, default)]
    part: Object<Named<'a>>,
    #[serde(borrow, default)]
    status: Object<Status<'a>>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow, default, rename = "messageID")]
    message: Text<'a>,
}

#[derive(Deserialize)]
struct Status<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Text<'a>,
}

/// The piece that an event of type `kind` with this bare form changes; `None` for all that changes nothing that stays
/// (`session.idle` only rings: what stays is told by `session.status`), and for what lacks the ids that clients go by.
pub fn piece<'a>(kind: &str, payload: &'a str) -> Option<Piece<'a>> {
    match kind {
        "session.created" | "session.updated" => return Some(Piece::Session),
        "session.deleted" => return Some(Piece::SessionDeleted),
        "todo.updated" | "session.diff" => return Some(Piece::Single),
        "session.status"
        | "message.updated"
        | "message.removed"
        | "message.part.updated"
        | "message.part.removed"
        | "message.part.delta"
        | "permission.asked"
        | "permission.replied"
        | "question.asked"
        | "question.replied"
        | "question.rejected" => {}
        _ => return None,
    }
    let Payload { properties } = serde_json::from_str(payload).ok()?;
    let properties = properties.take()?;
    Some(match kind {
        "session.status" => Piece::Status {
            idle: properties.status.take().is_some_and(|status| status.kind.get() == Some("idle")),
        },
        "message.updated" => Piece::Message { id: properties.info.take()?.id.take()? },
        "message.removed" => Piece::MessageRemoved { id: properties.message.take()? },
        "message.part.updated" => {
            let part = properties.part.take()?;
            Piece::Part { message: part.message.take()?, id: part.id.take()? }
        }
        "message.part.removed" => {
            Piece::PartRemoved { message: properties.message.take()?, id: properties.part_id.take()? }
        }
        "message.part.delta" => Piece::Delta {
            message: properties.message.take()?,
            part: properties.part_id.take()?,
            field: properties.field.take()?,
            text: properties.delta.take()?,
        },
        "permission.asked" | "question.asked" => Piece::Asked { id: properties.id.take()? },
        _ => Piece::Answered { id: properties.request.take()? },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(kind: &str, properties: &str) -> String {
        format!(r#"{{"id":"evt_1","type":"{kind}","properties":{properties}}}"#)
    }

    #[test]
    fn each_event_changes_the_piece_that_its_ids_name() {
        let id = || Cow::Borrowed("per_1");
        let (message, part) = (Cow::Borrowed("msg_1"), Cow::Borrowed("prt_1"));
        for (kind, properties, expected) in [
            ("session.updated", r#"{"info":{"id":"ses_1"}}"#, Piece::Session),
            ("session.deleted", "{}", Piece::SessionDeleted),
            ("session.status", r#"{"status":{"type":"idle"}}"#, Piece::Status { idle: true }),
            ("session.status", r#"{"status":{"type":"busy"}}"#, Piece::Status { idle: false }),
            ("session.diff", r#"{"diff":[]}"#, Piece::Single),
            ("message.updated", r#"{"info":{"id":"msg_1"}}"#, Piece::Message { id: message.clone() }),
            ("message.removed", r#"{"messageID":"msg_1"}"#, Piece::MessageRemoved { id: message.clone() }),
            (
                "message.part.updated",
                r#"{"part":{"id":"prt_1","messageID":"msg_1","text":"a"}}"#,
                Piece::Part { message: message.clone(), id: part.clone() },
            ),
            (
                "message.part.removed",
                r#"{"messageID":"msg_1","partID":"prt_1"}"#,
                Piece::PartRemoved { message: message.clone(), id: part.clone() },
            ),
            (
                "message.part.delta",
                r#"{"messageID":"msg_1","partID":"prt_1","field":"text","delta":"a\nb"}"#,
                Piece::Delta { message, part, field: "text".into(), text: "a\nb".into() },
            ),
            ("permission.asked", r#"{"id":"per_1"}"#, Piece::Asked { id: id() }),
            ("question.rejected", r#"{"requestID":"per_1"}"#, Piece::Answered { id: id() }),
        ] {
            assert_eq!(piece(kind, &payload(kind, properties)), Some(expected), "{kind}");
        }
    }

    #[test]
    fn what_names_no_piece_changes_none() {
        for (kind, properties) in [
            ("session.error", "{}"),
            ("session.idle", r#"{"sessionID":"ses_1"}"#),
            ("message.updated", r#"{"info":7}"#),
            ("message.part.delta", r#"{"messageID":"msg_1","partID":"prt_1","field":"text"}"#),
            ("permission.replied", "[]"),
        ] {
            assert_eq!(piece(kind, &payload(kind, properties)), None, "{kind}");
        }
        assert_eq!(piece("message.removed", "no json"), None);
    }
}
