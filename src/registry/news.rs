//! What everybody should hear of: sessions that changed hands, or that two servers run at once.

use std::sync::Arc;

use super::{asked::Orphan, server::ServerId};
use crate::domain::{
    evidence::Evidence,
    ids::{ServerKey, SessionId},
    kind::Kind,
};

/// A session that another server owns now.
#[derive(Clone, Debug)]
pub struct Move {
    /// The session.
    pub session: SessionId,
    /// Who owned it before; it may have gone.
    pub from: Option<ServerId>,
    /// Who owns it now.
    pub to: Option<ServerId>,
    /// By what evidence.
    pub evidence: Option<Evidence>,
}

/// A server that runs a turn of a session with which another is busy.
#[derive(Clone, Debug)]
pub struct Conflict {
    /// The session.
    pub session: SessionId,
    /// Who was busy with it first.
    pub busy: ServerKey,
    /// Who runs a turn as well.
    pub other: ServerKey,
}

/// A screen that came to show a session, or went away from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The session.
    pub session: SessionId,
    /// The screen.
    pub viewer: Arc<str>,
    /// The server whose screen it is, or that it is attached to.
    pub server: Option<ServerId>,
    /// How its process was started.
    pub kind: Kind,
    /// Whether it shows the session now.
    pub viewing: bool,
}

/// What an observation changed that everybody should hear of.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// Sessions that changed hands.
    pub moves: Vec<Move>,
    /// Sessions run by two servers at once.
    pub conflicts: Vec<Conflict>,
    /// Questions whose asker has gone.
    pub orphans: Vec<Orphan>,
    /// Screens that moved.
    pub views: Vec<View>,
}

impl News {
    /// Adds what another observation changed.
    pub fn add(&mut self, other: Self) {
        self.moves.extend(other.moves);
        self.conflicts.extend(other.conflicts);
        self.orphans.extend(other.orphans);
        self.views.extend(other.views);
    }
}

/// Who tells everybody.
pub trait Crier: Send + Sync {
    /// Publishes what changed.
    fn cry(&self, news: News);
}
