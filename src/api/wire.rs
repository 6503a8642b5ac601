//! The objects that our endpoints answer with and take, as they stand in JSON.
//!
//! All instants are milliseconds since 1970, as in the agents' own objects. The client commands read these types back,
//! so a field is added, never renamed.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::{
    domain::{evidence::Evidence, ids::SessionId, kind::Kind},
    registration::Viewing,
};

/// How a server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(example = "up")]
pub enum ServerState {
    /// It answers.
    Up,
    /// It has been silent for 25 seconds: it gets no new work, its own sessions still go to it.
    Stalled,
    /// It wants a password that the configuration does not give.
    Locked,
    /// It runs and opens no port. Listed only on request.
    Unreachable,
}

impl ServerState {
    /// The word used in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Stalled => "stalled",
            Self::Locked => "locked",
            Self::Unreachable => "unreachable",
        }
    }
}

/// Whether a session is being worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(example = "idle")]
pub enum Status {
    /// A running server says that it works on the session now.
    Busy,
    /// None does.
    Idle,
}

impl Status {
    /// The word used in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Idle => "idle",
        }
    }
}

/// One running agent process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "id": "srv_c92d9177f4ebe5f9", "port": 4302, "pid": 4242, "directory": "/home/ann/shop",
    "directories": ["/home/ann/shop"], "worktree": "/home/ann/shop", "project": "0c3f9f3d", "version": "1.18.33",
    "url": "http://127.0.0.1:4302", "state": "up", "kind": "tui", "store": "file:fd00:1a2b3c",
    "sources": ["socket"], "since": 1_793_620_000_000_u64, "sessionCount": 1,
    "sessions": ["ses_e021c7fa2ffe8VGOoFNM8lM5q9"], "viewing": null
}))]
pub struct ServerView {
    /// Its name, the same for as long as its process runs.
    pub id: String,
    /// The port it is reached at; null if it cannot be reached.
    pub port: Option<u16>,
    /// Its process, where it runs on this machine.
    pub pid: Option<u32>,
    /// The directory it serves when a request names none.
    pub directory: Option<String>,
    /// Every directory in use there.
    pub directories: Vec<String>,
    /// The root of the working tree around its own directory.
    pub worktree: Option<String>,
    /// The project of its own directory.
    pub project: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Where it is reached; null if it cannot be.
    pub url: Option<String>,
    /// How it is doing.
    pub state: ServerState,
    /// How it was started.
    pub kind: Kind,
    /// The store it reads and writes: servers with the same one list the same sessions.
    pub store: Option<String>,
    /// How we learned of it: `configured`, `socket`, `port`, `registration`.
    pub sources: Vec<String>,
    /// When we first reached it; null if we never did.
    pub since: Option<u64>,
    /// How many sessions it owns by `routed` or stronger evidence.
    pub session_count: u64,
    /// The latest updated 1,000 of them, newest first. Left out with `?sessions=false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub sessions: Option<Vec<SessionId>>,
    /// The session on its own screen; null if there is none, or if it does not tell.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub viewing: Option<SessionId>,
    /// What makes it reachable, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// One session and who owns it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "id": "ses_e021c7fa2ffe8VGOoFNM8lM5q9", "title": "Fix the parser", "directory": "/home/ann/shop",
    "ownerPort": 4302, "owner": "srv_c92d9177f4ebe5f9", "evidence": "busy", "status": "busy",
    "updated": 1_793_620_991_000_u64
}))]
pub struct SessionView {
    /// Its id.
    #[schema(value_type = String)]
    pub id: SessionId,
    /// What people call it.
    pub title: String,
    /// The directory it works in.
    pub directory: String,
    /// The port of its owner; null without one.
    pub owner_port: Option<u16>,
    /// The id of the server that its requests go to; null if nothing says which, or if a process that cannot be
    /// reached seems to run it.
    pub owner: Option<String>,
    /// Why that server; `listed` if none.
    pub evidence: Evidence,
    /// Whether it is being worked on.
    pub status: Status,
    /// When it last changed, by its server's clock.
    pub updated: u64,
    /// The screens that show it, as far as they tell.
    #[serde(default)]
    pub viewers: Vec<Viewer>,
}

/// A part of the list of sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({ "sessions": [], "next": null }))]
pub struct SessionPage {
    /// The sessions, latest updated first.
    pub sessions: Vec<SessionView>,
    /// The `cursor` of the next part; null if this is the last one.
    pub next: Option<String>,
}

/// One reason to believe that a server owns a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "server": "srv_c92d9177f4ebe5f9", "address": "127.0.0.1:4302", "pid": 4242, "kind": "tui", "evidence": "busy",
    "since": 1_793_620_991_000_u64, "gone": false
}))]
pub struct ClaimView {
    /// The server; null if it is gone.
    pub server: Option<String>,
    /// Its address; null if it is gone.
    pub address: Option<String>,
    /// Its process, where it runs on this machine.
    pub pid: Option<u32>,
    /// How it was started; null if it is gone.
    pub kind: Option<Kind>,
    /// What speaks for it.
    pub evidence: Evidence,
    /// Since when; null where it follows from something else (`listed`, `inherited`).
    pub since: Option<u64>,
    /// Whether the server has gone, so that the claim counts for nothing.
    pub gone: bool,
}

/// Everything known of one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "ses_e021c7fa2ffe8VGOoFNM8lM5q9", "title": "Fix the parser", "directory": "/home/ann/shop",
    "ownerPort": 4302, "owner": "srv_c92d9177f4ebe5f9", "evidence": "busy", "status": "busy",
    "updated": 1_793_620_991_000_u64, "project": "0c3f9f3d", "parent": null, "store": "file:fd00:1a2b3c",
    "claims": [], "suspected": [], "unseenWriter": null,
    "reason": "127.0.0.1:4302 owns this session: it is working on it now (busy since 12:03:11).",
    "until": "It stays there until that server says that the turn has ended; then the next claim decides."
}))]
pub struct SessionDetail {
    /// What lists show too.
    #[serde(flatten)]
    pub session: SessionView,
    /// The project it belongs to.
    pub project: String,
    /// The session that started it as a sub-agent.
    #[schema(value_type = Option<String>)]
    pub parent: Option<SessionId>,
    /// The store it stands in.
    pub store: String,
    /// Every claim, from strong to weak; those of servers that have gone last.
    pub claims: Vec<ClaimView>,
    /// Processes that open no port and seem to write it.
    pub suspected: Vec<u32>,
    /// Whether somebody has written it of whom nobody hears.
    #[serde(rename = "unseenWriter")]
    pub unseen_writer: Option<UnseenWriter>,
    /// Why its requests go where they go, for people.
    pub reason: String,
    /// What would change that, for people.
    pub until: String,
}

/// A process that wrote a session and tells nobody: streams left out changes that are in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({ "at": 1_793_620_991_000_u64, "pids": [12886] }))]
pub struct UnseenWriter {
    /// When that was noticed last, in milliseconds since 1970.
    pub at: u64,
    /// The processes that it may have been; none if it has ended since.
    pub pids: Vec<u32>,
}

/// Where a session is to go from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "server": "127.0.0.1:4302" }))]
pub struct Pin {
    /// A server's id, its `host:port`, or its port where only one server has it.
    pub server: String,
}

/// A question whether this daemon knows the secret of its `registration.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({ "nonce": "00112233445566778899aabbccddeeff" }))]
pub struct Challenge {
    /// 16 to 128 random hexadecimal digits.
    pub nonce: String,
}

/// The answer to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({ "protocol": 1, "proof": "ebf3b9bafdf0d0fdc0b0f15263e5f6ea24d6e4d06ceeeedc65eae62ee4c1f278" }))]
pub struct Proof {
    /// The protocol of registrations that is spoken here.
    pub protocol: u64,
    /// HMAC-SHA256 in hexadecimal digits. The key is the secret's text; the message is `pointsman challenge`, the nonce
    /// and the `url` of `registration.json`, separated by line feeds.
    pub proof: String,
}

/// Where a server is to be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({ "directory": "/home/ann/shop" }))]
pub struct Spawn {
    /// The directory, as an absolute path.
    pub directory: String,
}

/// A server that was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "srv_c92d9177f4ebe5f9", "url": "http://127.0.0.1:40123", "pid": 4242, "directory": "/home/ann/shop"
}))]
pub struct SpawnedServer {
    /// Its id.
    pub id: String,
    /// Its address. It wants a password that only this daemon knows.
    pub url: String,
    /// Its process.
    pub pid: Option<u32>,
    /// Its directory, without links.
    pub directory: String,
}

/// An agent that makes itself known. Unknown fields are passed over, so that a newer plugin may say more.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(example = json!({
    "protocol": 1, "instance": "b1946ac92492d234", "pid": 4242, "url": "http://127.0.0.1:40123", "kind": "tui",
    "plugin": true, "token": "a-long-random-text", "directory": "/home/ann/shop", "worktree": "/home/ann/shop",
    "version": "1.18.33", "viewing": "ses_e021c7fa2ffe8VGOoFNM8lM5q9", "viewing_since": 1_793_620_000_000_u64
}))]
pub struct Registration {
    /// The protocol it speaks.
    pub protocol: u64,
    /// Its name for itself, drawn once for each process.
    pub instance: String,
    /// Its process.
    pub pid: u32,
    /// Where it is reached; for `attach`, where it is attached.
    pub url: String,
    /// `tui`, `serve`, `web` or `run`; `attach` for a terminal attached by URL, which is a screen and no server.
    pub kind: Kind,
    /// The bearer token that its listener wants to be told. Kept in memory only, and shown to nobody.
    #[serde(default)]
    pub token: Option<String>,
    /// Whether that listener is a plugin's, in front of the agent's own.
    #[serde(default)]
    pub plugin: bool,
    /// The path of its `opencode.db`, for systems that do not show it.
    #[serde(default)]
    pub store: Option<String>,
    /// Its directory.
    #[serde(default)]
    pub directory: Option<String>,
    /// The root of the working tree around it.
    #[serde(default)]
    pub worktree: Option<String>,
    /// Its version.
    #[serde(default)]
    pub version: Option<String>,
    /// The session on its screen; null: none.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<String>)]
    pub viewing: Viewing,
    /// Since when: the move there, or what the user last sent from it.
    #[serde(default)]
    pub viewing_since: Option<u64>,
}

/// A sign of life of a registered agent. What is left out stays as it was.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[schema(example = json!({ "viewing": "ses_e021c7fa2ffe8VGOoFNM8lM5q9", "viewing_since": 1_793_620_000_000_u64 }))]
pub struct Heartbeat {
    /// The session on its screen; null: none.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<String>)]
    pub viewing: Viewing,
    /// Since when: the move there, or what the user last sent from it. Never the time of the heartbeat.
    #[serde(default)]
    pub viewing_since: Option<u64>,
    /// Its directory.
    #[serde(default)]
    pub directory: Option<String>,
    /// The root of the working tree around it.
    #[serde(default)]
    pub worktree: Option<String>,
    /// Its version.
    #[serde(default)]
    pub version: Option<String>,
}

/// A registration that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({ "id": "srv_c92d9177f4ebe5f9", "protocol": 1, "heartbeat_ms": 3000, "lease_ms": 15_000 }))]
pub struct Lease {
    /// By what it is renewed: the server's id, or one of the screen's own.
    pub id: String,
    /// The protocol of registrations that is spoken here.
    pub protocol: u64,
    /// How often a sign of life is wanted.
    pub heartbeat_ms: u64,
    /// After how long without one it ends.
    pub lease_ms: u64,
}

/// Tells null, which says that there is none, from a field that is not there.
fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Viewing, D::Error> {
    Option::deserialize(deserializer).map(|session| session.map_or(Viewing::NoSession, Viewing::Session))
}

/// A screen that shows a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "srv_c92d9177f4ebe5f9", "server": "srv_c92d9177f4ebe5f9", "kind": "tui", "pid": 4242,
    "since": 1_793_620_000_000_u64
}))]
pub struct Viewer {
    /// The id of its registration.
    pub id: String,
    /// The server whose screen it is, or that it is attached to; null for one attached to us or to nobody known.
    pub server: Option<String>,
    /// How its process was started: `attach` for one attached by URL.
    pub kind: Kind,
    /// Its process.
    pub pid: u32,
    /// Since when: the move there, or what the user last sent from it.
    pub since: u64,
}

/// Every error of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({ "name": "NotFoundError", "data": { "message": "Session not found: ses_1" } }))]
pub struct ErrorView {
    /// What happened, in one stable word. The header `X-Pointsman-Error` repeats it.
    pub name: String,
    /// More about it.
    pub data: ErrorData,
}

/// What an error says besides its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({ "message": "Session not found: ses_1" }))]
pub struct ErrorData {
    /// A sentence for people.
    pub message: String,
    /// Where several servers can be meant: those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidates: Option<Vec<String>>,
    /// Where a session stands in several stores: a server of each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servers: Option<Vec<String>>,
    /// Where a server gave no answer: whether any of the request was sent to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<bool>,
}
