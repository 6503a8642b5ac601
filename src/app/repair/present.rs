//! What a server says now, but for messages.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use serde_json::Value;

use super::SESSIONS;
use crate::{
    domain::{ask::AskKind, ids::SessionId},
    opencode::client::{Agent, AskError},
};

/// What a server says of one directory.
pub(super) struct InDirectory {
    pub(super) directory: Arc<str>,
    pub(super) statuses: serde_json::Map<String, Value>,
    pub(super) asks: Vec<(AskKind, Value)>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Present {
    pub(super) rows: HashMap<SessionId, Value>,
    pub(super) directories: Vec<InDirectory>,
}

impl Present {
    /// Asks for the sessions that changed at `since_ms` or later, and for what goes on in these directories.
    pub(super) async fn ask(
        agent: &Agent,
        since_ms: u64,
        directories: Vec<Arc<str>>,
    ) -> Result<Self, AskError> {
        let mut present = Self::default();
        for mut row in agent.rows_since(since_ms, SESSIONS).await? {
            let id = row["id"].as_str().and_then(|id| SessionId::try_new(id).ok());
            if let (Some(id), Some(fields)) = (id, row.as_object_mut()) {
                // Only the list tells it.
                fields.remove("project");
                present.rows.insert(id, row);
            }
        }
        for directory in directories {
            let statuses = agent.statuses(&directory).await?;
            let mut asks = Vec::new();
            for kind in [AskKind::Permission, AskKind::Question] {
                let waiting = agent.waiting(kind, &directory).await?;
                asks.extend(waiting.into_iter().map(|ask| (kind, ask)));
            }
            present.directories.push(InDirectory { directory, statuses, asks });
        }
        Ok(present)
    }

    /// The sessions to look at: those that changed, that do something, and that clients show.
    pub(super) fn sessions(&self, shown: Vec<SessionId>) -> BTreeSet<SessionId> {
        let named = |id: &str| SessionId::try_new(id).ok();
        let busy = self.directories.iter().flat_map(|there| there.statuses.keys());
        let asks = self.directories.iter().flat_map(|there| &there.asks);
        let asking = asks.filter_map(|(_, ask)| ask["sessionID"].as_str());
        let at_work = busy.map(String::as_str).chain(asking).filter_map(named);
        at_work.chain(self.rows.keys().cloned()).chain(shown).take(2 * SESSIONS).collect()
    }
}
