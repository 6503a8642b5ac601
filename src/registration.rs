//! How an agent that nobody could find makes itself known: a plugin inside it registers, and says what is on screen.
//!
//! A registration is a lease: it is renewed by heartbeats and ends by itself. What it brings (an address that a scan
//! did not find or could not open, the session on the screen) goes into the registry by the same way as what
//! discovery finds, so that one process is one server, whoever told of it first. That a lease has ended proves nothing
//! about the process: its screen counts no longer, and discovery looks whether it still lives.
//!
//! Both sides prove themselves: whoever registers by a secret that stands in a file for this user alone, the daemon by
//! a proof made of it, before a plugin hands over the token of its own listener.
//!
//! Left to others: HTTP (`crate::api`), who is let in (`crate::guard`), taking servers in and out
//! (`crate::discovery`), what a viewed session means (`crate::registry`).

pub mod admission;
pub mod challenge;
mod desk;
mod inspection;
pub mod lease;
mod machine_facts;
pub mod notice;
mod screen;

pub use self::{
    admission::{Refused, Rules},
    desk::{Desk, Granted, Parts},
};

use std::time::Duration;

use crate::domain::{ids::SessionId, kind::Kind};

/// The protocol that plugins and this daemon speak with each other.
pub const PROTOCOL: u64 = 1;

/// The protocols that are served: the current one and the one before. There has been none before the first.
pub const SERVED: &[u64] = &[1];

/// How often a plugin is to send a heartbeat: soon enough for a restart of ours to be over before anybody wonders,
/// seldom enough to cost nothing with a hundred terminals.
pub const HEARTBEAT: Duration = Duration::from_secs(3);

/// How long a registration lives without one: four of them may be late or lost.
pub const LEASE: Duration = Duration::from_secs(15);

/// How many registrations are held at once. A person has tens of terminals; more than this is a mistake.
pub const MOST: usize = 1000;

/// What an instance says of itself when it registers.
#[derive(Clone, Debug)]
pub struct Applicant {
    /// The protocol it speaks.
    pub protocol: u64,
    /// Its name for itself, drawn once for each process.
    pub instance: String,
    /// Its process.
    pub pid: u32,
    /// Where it is reached; for a terminal attached by URL, where it is attached.
    pub url: String,
    /// How it was started.
    pub kind: Kind,
    /// What its listener wants to be told.
    pub token: Option<crate::config::Secret>,
    /// Whether that listener is the plugin's own.
    pub plugin: bool,
    /// The path of its store's file.
    pub store: Option<String>,
    /// What may change while it runs.
    pub report: Report,
}

/// What is said of a screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Viewing {
    /// Nothing: it is as it was.
    #[default]
    Unsaid,
    /// It shows no session.
    NoSession,
    /// It shows this one.
    Session(SessionId),
}

/// What an instance says again and again. `None` leaves what was said before.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What is on its screen.
    pub viewing: Viewing,
    /// Since when, in milliseconds since 1970: the move there, or what the user last sent from it.
    pub viewing_since: Option<u64>,
    /// Its directory.
    pub directory: Option<String>,
    /// The root of the working tree around it.
    pub worktree: Option<String>,
    /// Its version.
    pub version: Option<String>,
}
