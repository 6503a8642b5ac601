//! What an answer teaches, before its bytes reach the client.
//!
//! Clients use a new session, terminal or attempt at once, sooner than any event could be worked through. So the
//! answers that create one are read whole, claimed, and only then passed on; they are small. All others teach by
//! their status alone, if at all.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode, request::Parts};
use serde::Deserialize;

use crate::{
    domain::{evidence::Evidence, ids::SessionId, session::SessionRow},
    opencode::operations::{Act, Step, Subject},
    registry::{News, Registry, asked::Origin, server::Server},
};

/// What an answer will teach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lesson {
    /// Nothing.
    None,
    /// That a turn was accepted.
    Turn(SessionId),
    /// That a session is gone.
    Deleted(SessionId),
    /// The session in its body was created.
    Created,
    /// The terminal or attempt in its body was raised.
    Raised,
    /// The ticket in its body opens a terminal.
    Ticket,
}

/// An object that was created: a session of either shape, a terminal, an attempt, a ticket.
#[derive(Debug, Deserialize)]
struct Created {
    id: Option<String>,
    #[serde(rename = "attemptID")]
    attempt: Option<String>,
    ticket: Option<String>,
    directory: Option<Arc<str>>,
    location: Option<Location>,
    title: Option<Arc<str>>,
    #[serde(rename = "projectID")]
    project: Option<Arc<str>>,
    #[serde(rename = "parentID")]
    parent: Option<String>,
    time: Option<Time>,
    data: Option<Box<Self>>,
}

#[derive(Debug, Deserialize)]
struct Location {
    directory: Option<Arc<str>>,
}

#[derive(Debug, Deserialize)]
struct Time {
    created: Option<f64>,
    updated: Option<f64>,
}

impl Lesson {
    /// What the answer to `request` about `subject` will teach.
    pub fn of(request: &Parts, subject: Subject<'_>) -> Self {
        let session = |id| SessionId::try_new(id).map_or(Self::None, Self::Turn);
        match subject {
            Subject::Session { id, act: Act::Turn } => session(id),
            Subject::Session { id, act: Act::Delete } if request.method == Method::DELETE => {
                SessionId::try_new(id).map_or(Self::None, Self::Deleted)
            }
            Subject::Session { act: Act::Fork, .. } | Subject::NewSession => Self::Created,
            Subject::Terminal { .. } if gives_a_ticket(request) => Self::Ticket,
            Subject::NewTerminal | Subject::Flow { step: Step::First, .. } => Self::Raised,
            _ => Self::None,
        }
    }

    /// Whether the body must be read whole before it is passed on.
    pub fn needs_body(&self) -> bool {
        matches!(self, Self::Created | Self::Raised | Self::Ticket)
    }

    /// Takes in the answer of `server`. `directory` is the one that the request named.
    pub fn learn(
        &self,
        registry: &Registry,
        server: &Arc<Server>,
        status: StatusCode,
        body: Option<&Bytes>,
        directory: Option<&str>,
    ) -> News {
        if !status.is_success() {
            return News::default();
        }
        match (self, body) {
            (Self::Turn(session), _) => registry.claim(server, session, Evidence::Routed),
            (Self::Deleted(session), _) => {
                registry.delete(server.store, session);
                News::default()
            }
            (Self::Created, Some(body)) => match created_session(body) {
                Some(row) => {
                    registry.sessions.row(server.store, &row, 0);
                    registry.claim(server, &row.id, Evidence::Emitted)
                }
                None => News::default(),
            },
            (Self::Raised, Some(body)) => {
                if let Some(id) = raised_id(body) {
                    let directory = directory.map(Arc::from);
                    registry
                        .asked
                        .raised(&id, Origin { server: server.key, session: None, directory, ask: None });
                }
                News::default()
            }
            (Self::None | Self::Created | Self::Raised | Self::Ticket, _) => News::default(),
        }
    }
}

fn created(body: &Bytes) -> Option<Created> {
    let created: Created = serde_json::from_slice(body).ok()?;
    Some(match created.data {
        Some(data) => *data,
        None => created,
    })
}

fn created_session(body: &Bytes) -> Option<SessionRow> {
    let created = created(body)?;
    let id = SessionId::try_new(&created.id?).ok()?;
    // JSON numbers of milliseconds; whole and positive on every server seen.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, which orders right"
    )]
    let ms = |time: Option<f64>| time.map_or(0, |time| time as u64);
    Some(SessionRow {
        id,
        directory: created
            .directory
            .or(created.location.and_then(|location| location.directory))
            .unwrap_or_default(),
        title: created.title.unwrap_or_default(),
        project: created.project.unwrap_or_default(),
        parent: created.parent.and_then(|parent| SessionId::try_new(&parent).ok()),
        created_ms: ms(created.time.as_ref().and_then(|time| time.created)),
        updated_ms: ms(created.time.as_ref().and_then(|time| time.updated)),
    })
}

/// The ticket for a terminal in an answer of either shape.
pub(super) fn ticket(body: &Bytes) -> Option<String> {
    created(body)?.ticket
}

fn gives_a_ticket(request: &Parts) -> bool {
    request.method == Method::POST && request.uri.path().ends_with("/connect-token")
}

fn raised_id(body: &Bytes) -> Option<String> {
    let created = created(body)?;
    created.attempt.or(created.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_created_session_is_read_in_both_shapes() {
        let first = br#"{"id":"ses_1","directory":"/a","title":"t","projectID":"p","time":{"created":5,"updated":6}}"#;
        let row = created_session(&Bytes::from_static(first)).unwrap();
        assert_eq!((&*row.directory, row.updated_ms), ("/a", 6));
        let second =
            br#"{"data":{"id":"ses_2","location":{"directory":"/b"},"time":{"created":5,"updated":7}}}"#;
        let row = created_session(&Bytes::from_static(second)).unwrap();
        assert_eq!((row.id.as_str(), &*row.directory, row.updated_ms), ("ses_2", "/b", 7));
        assert_eq!(created_session(&Bytes::from_static(b"<html>")), None);
    }
}
