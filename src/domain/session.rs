//! What is known of a session apart from who owns it.

use std::sync::Arc;

use super::ids::SessionId;

/// One row of a store's session list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// The session.
    pub id: SessionId,
    /// The directory it works in, as its server wrote it.
    pub directory: Arc<str>,
    /// What people call it.
    pub title: Arc<str>,
    /// The project it belongs to, as its server wrote it.
    pub project: Arc<str>,
    /// The session that started it as a sub-agent.
    pub parent: Option<SessionId>,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// When it last changed, in milliseconds since 1970, by its server's clock.
    pub updated_ms: u64,
}
