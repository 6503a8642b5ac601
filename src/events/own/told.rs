//! What our own events say: the very types that are written, and that `/openapi.json` describes.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::{evidence::Evidence, ids::SessionId, kind::Kind},
    events::cursor::Reset,
};

/// An event that pointsman itself tells, as the payload of an envelope.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "evt_1fdef41de0012TjaEYQtQ9h1pI", "type": "pointsman.server.down",
    "properties": {
        "id": "srv_c92d9177f4ebe5f9", "url": "http://127.0.0.1:4302", "directory": "/home/ann/shop", "pid": 4242
    }
}))]
pub struct PointsmanEvent<'a> {
    /// Its id, of the form that OpenCode's events have.
    pub id: String,
    /// What it tells.
    #[serde(flatten)]
    pub told: Told<'a>,
}

/// What such an event tells: its type, and the properties that events of this type have.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "type", content = "properties")]
#[schema(example = json!({ "type": "pointsman.restarted", "properties": { "clean": true } }))]
pub enum Told<'a> {
    /// A server answers for the first time.
    #[serde(rename = "pointsman.server.up")]
    ServerUp(ServerNotice<'a>),
    /// Something became known of a server, or it answers again.
    #[serde(rename = "pointsman.server.changed")]
    ServerChanged(ServerNotice<'a>),
    /// Nothing has been heard from a server for 25 s: it gets no new work, but keeps its sessions.
    #[serde(rename = "pointsman.server.stalled")]
    ServerStalled(ServerNotice<'a>),
    /// A server has gone.
    #[serde(rename = "pointsman.server.down")]
    ServerDown(ServerNotice<'a>),
    /// Another server owns a session now.
    #[serde(rename = "pointsman.session.moved")]
    SessionMoved(SessionMoved<'a>),
    /// A screen came to show a session or went away from it.
    #[serde(rename = "pointsman.session.viewed")]
    SessionViewed(SessionViewed<'a>),
    /// A second server runs a turn of a session while its owner is busy with it.
    #[serde(rename = "pointsman.session.conflict")]
    SessionConflict(SessionConflict<'a>),
    /// What was missed of a server's events has been found and told.
    #[serde(rename = "pointsman.repaired")]
    Repaired(Repaired<'a>),
    /// pointsman was away; told to who comes back.
    #[serde(rename = "pointsman.restarted")]
    Restarted(Restarted),
    /// What happened while it was away has been told.
    #[serde(rename = "pointsman.complete")]
    Complete(Complete),
    /// What one client missed cannot be told: it must read the present state.
    #[serde(rename = "pointsman.reset")]
    Reset(ResetNotice),
    /// The beginning of a stream of `/events` or `/ws`.
    #[serde(rename = "pointsman.hello")]
    Hello(Hello<'a>),
}

impl Told<'_> {
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::ServerUp(_) => "pointsman.server.up",
            Self::ServerChanged(_) => "pointsman.server.changed",
            Self::ServerStalled(_) => "pointsman.server.stalled",
            Self::ServerDown(_) => "pointsman.server.down",
            Self::SessionMoved(_) => "pointsman.session.moved",
            Self::SessionViewed(_) => "pointsman.session.viewed",
            Self::SessionConflict(_) => "pointsman.session.conflict",
            Self::Repaired(_) => "pointsman.repaired",
            Self::Restarted(_) => "pointsman.restarted",
            Self::Complete(_) => "pointsman.complete",
            Self::Reset(_) => "pointsman.reset",
            Self::Hello(_) => "pointsman.hello",
        }
    }

    /// The one session it speaks of.
    pub(super) fn session(&self) -> Option<&SessionId> {
        match self {
            Self::SessionMoved(SessionMoved { session, .. })
            | Self::SessionViewed(SessionViewed { session, .. })
            | Self::SessionConflict(SessionConflict { session, .. }) => Some(session),
            Self::ServerUp(_)
            | Self::ServerChanged(_)
            | Self::ServerStalled(_)
            | Self::ServerDown(_)
            | Self::Repaired(_)
            | Self::Restarted(_)
            | Self::Complete(_)
            | Self::Reset(_)
            | Self::Hello(_) => None,
        }
    }
}

/// What is told of a server when something happens to it.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "srv_c92d9177f4ebe5f9", "url": "http://127.0.0.1:4302", "directory": "/home/ann/shop", "pid": 4242
}))]
pub struct ServerNotice<'a> {
    /// Its id, as in `GET /servers`.
    pub id: &'a str,
    /// Where it is reached.
    pub url: &'a str,
    /// Its own directory, once known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub directory: Option<&'a str>,
    /// Its process, where there is one on this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub pid: Option<u32>,
}

/// A session has another owner.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "sessionID": "ses_e021c7fa2ffe8VGOoFNM8lM5q9", "from": null, "to": "srv_c92d9177f4ebe5f9", "evidence": "busy"
}))]
pub struct SessionMoved<'a> {
    /// The session.
    #[serde(rename = "sessionID")]
    #[schema(value_type = String)]
    pub session: &'a SessionId,
    /// The id of the server that owned it; null if none did.
    #[schema(required)]
    pub from: Option<&'a str>,
    /// The id of the server that owns it now; null if none does.
    #[schema(required)]
    pub to: Option<&'a str>,
    /// Why it does; null if none does.
    #[schema(required)]
    pub evidence: Option<Evidence>,
}

/// A second server runs a turn of a session while its owner is busy with it.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "sessionID": "ses_e021c7fa2ffe8VGOoFNM8lM5q9", "owner": "srv_c92d9177f4ebe5f9", "other": "srv_2c2630e1fd4468cc"
}))]
pub struct SessionConflict<'a> {
    /// The session.
    #[serde(rename = "sessionID")]
    #[schema(value_type = String)]
    pub session: &'a SessionId,
    /// The id of the server that owns it.
    pub owner: &'a str,
    /// The id of the other one.
    pub other: &'a str,
}

/// A screen came to show a session, or went away from it.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "sessionID": "ses_e021c7fa2ffe8VGOoFNM8lM5q9", "viewer": "srv_c92d9177f4ebe5f9",
    "server": "srv_c92d9177f4ebe5f9", "kind": "tui", "viewing": true
}))]
pub struct SessionViewed<'a> {
    /// The session.
    #[serde(rename = "sessionID")]
    #[schema(value_type = String)]
    pub session: &'a SessionId,
    /// The id of the screen's registration.
    pub viewer: &'a str,
    /// The id of the server whose screen it is, or that it is attached to; null for one attached to pointsman.
    #[schema(required)]
    pub server: Option<&'a str>,
    /// How its process was started.
    pub kind: Kind,
    /// Whether it shows the session now.
    pub viewing: bool,
}

/// What was missed of a server's events has been found and told.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "server": "srv_c92d9177f4ebe5f9", "reason": "reconnect", "sessions": ["ses_e021c7fa2ffe8VGOoFNM8lM5q9"], "events": 3
}))]
pub struct Repaired<'a> {
    /// The id of the server that was asked.
    pub server: &'a str,
    /// Why it was asked: `restart`, `reconnect`, `list`, `gap` or `order`.
    pub reason: &'a str,
    /// The sessions of which something was missed.
    #[schema(value_type = Vec<String>)]
    pub sessions: &'a [SessionId],
    /// How many events were told.
    pub events: usize,
}

/// pointsman was started anew: what happened meanwhile is not in the journal.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(example = json!({ "clean": true }))]
pub struct Restarted {
    /// Whether it had ended in order, so that everything told before is kept.
    pub clean: bool,
}

/// Everything that happened while pointsman was away has been told.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(example = json!({}))]
pub struct Complete {}

/// What was missed cannot be told: whoever receives this must ask for the present state.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(example = json!({ "reason": "too-old" }))]
pub struct ResetNotice {
    /// Why.
    pub reason: Reset,
}

/// What our own stream says at its beginning.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "cursor": "k3VbQx0a.4711", "resume": "ok",
    "servers": [{
        "id": "srv_c92d9177f4ebe5f9", "url": "http://127.0.0.1:4302", "directory": "/home/ann/shop", "state": "up"
    }]
}))]
pub struct Hello<'a> {
    /// Where the stream begins.
    #[schema(required)]
    pub cursor: Option<String>,
    /// Whether all that was missed follows; null for who named no cursor.
    #[schema(required)]
    pub resume: Option<Resume>,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<Reset>,
    /// What runs.
    #[schema(value_type = Vec<Present>)]
    pub servers: &'a [Present],
}

/// What became of the cursor of who comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(example = "ok")]
pub enum Resume {
    /// All that was missed follows.
    Ok,
    /// It follows up to `pointsman.complete`.
    Repairing,
    /// It cannot be told.
    Gap,
}

/// A server as the beginning of our own stream names it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "id": "srv_c92d9177f4ebe5f9", "url": "http://127.0.0.1:4302", "directory": "/home/ann/shop", "state": "up"
}))]
pub struct Present {
    /// Its id, as in `GET /servers`.
    #[schema(value_type = String)]
    pub id: Arc<str>,
    /// Where it is reached.
    pub url: String,
    /// Its own directory; null until it is known.
    #[schema(required, value_type = Option<String>)]
    pub directory: Option<Arc<str>>,
    /// As in `GET /servers`.
    #[schema(pattern = "^(up|stalled|locked)$")]
    pub state: &'static str,
}
