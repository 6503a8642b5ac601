//! Asking a store's servers for pages of its list.

use std::sync::{Arc, atomic::Ordering};

use super::StoreTask;
use crate::{
    discovery::agent,
    opencode::{
        client::{AskError, Unread},
        wire::Page,
    },
    registry::server::Server,
    sync::{preference, walk::Ask},
};

/// What a server said, when asked when.
pub(super) struct Answer {
    server: Arc<Server>,
    asked_ms: u64,
    pub(super) page: Unread,
}

impl StoreTask {
    /// One page from one server; `None`, and in the log, if there is none.
    pub(super) async fn ask(&mut self, ask: Ask) -> Option<Answer> {
        let server = self.server()?;
        let asked_ms = self.shared.registry.clock.now_ms();
        let agent = agent(&self.shared.client, &server);
        match agent.sessions_unread(ask.limit, ask.before_ms, ask.start_ms).await {
            Ok(page) => Some(Answer { server, asked_ms, page }),
            Err(error) => self.no_list(&server, &error),
        }
    }

    /// What an answer says, and when it was asked for; `None`, and in the log, if it is none.
    pub(super) async fn read(&mut self, Answer { server, asked_ms, page }: Answer) -> Option<(u64, Page)> {
        match page.read().await {
            Ok(page) => {
                if page.malformed > 0 && self.malformed == 0 {
                    tracing::warn!(server = %server.id, rows = page.malformed, "sessions of a list cannot be read and are left out");
                }
                self.malformed = page.malformed;
                self.shared.rows.fetch_add(page.rows.len() as u64, Ordering::Relaxed);
                Some((asked_ms, page))
            }
            Err(error) => self.no_list(&server, &error),
        }
    }

    fn no_list<T>(&mut self, server: &Server, error: &AskError) -> Option<T> {
        tracing::debug!(server = %server.id, %error, "no session list");
        self.failed = Some(server.key);
        None
    }

    /// The server to ask: the best one that has not just failed.
    pub(super) fn server(&self) -> Option<Arc<Server>> {
        let servers = self.shared.registry.servers.now();
        let answering = servers.of_store(self.store).filter(|server| server.answering());
        answering.min_by_key(|server| (Some(server.key) == self.failed, preference(server))).cloned()
    }
}
