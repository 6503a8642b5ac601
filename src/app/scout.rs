//! Asks servers what the router does not know.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Method, Request};
use tokio::time::timeout;

use crate::{
    discovery::Doubts,
    domain::ids::{SessionId, StoreKey},
    opencode::lists::List,
    proxy::{
        merge::Merger,
        router::{Asking, Scout},
    },
    registry::{Registry, asked::Origin, server::Server},
    sync::SessionSync,
};

/// How long a request waits to learn whether the server that refused it has gone. Asking the kernel takes
/// microseconds, a refused connection the same; a second is for a machine under load.
const DOUBT: Duration = Duration::from_millis(500);

/// See the module.
pub struct Rider {
    /// What is known.
    pub registry: Arc<Registry>,
    /// Knows the stores' lists.
    pub sync: SessionSync,
    /// Asks all servers at once.
    pub merger: Arc<Merger>,
    /// Finds out whether a server lives.
    pub doubts: Doubts,
}

impl Scout for Rider {
    fn look_up<'a>(&'a self, session: &'a SessionId, directory: Option<&'a str>) -> Asking<'a, Option<StoreKey>> {
        Box::pin(self.sync.look_up(session, directory))
    }

    fn who_raised<'a>(&'a self, id: &'a str) -> Asking<'a, Option<Origin>> {
        Box::pin(async move {
            let lists: &[List] = match id.get(..4) {
                Some("per_") => &[List::Permissions, List::ApiPermissions],
                Some("que_") => &[List::Questions, List::ApiQuestions],
                _ => &[List::Terminals, List::ApiTerminals],
            };
            for &list in lists {
                // Who raised what is learned from the lists as they are merged.
                let (parts, ()) = Request::new(()).into_parts();
                debug_assert!(parts.method == Method::GET && parts.headers == HeaderMap::new());
                let _ = self.merger.merge(list, &parts).await;
                if let Some(origin) = self.registry.asked.origin(id) {
                    return Some(origin);
                }
            }
            None
        })
    }

    fn doubt<'a>(&'a self, server: &'a Arc<Server>) -> Asking<'a, ()> {
        Box::pin(async move {
            let mut changes = self.registry.servers.changes();
            self.doubts.doubt(server.key);
            let gone = async {
                while self.registry.servers.get(server.key).is_some() {
                    if changes.changed().await.is_err() {
                        return;
                    }
                }
            };
            // Not gone by then: it lives, or nobody can tell.
            let _ = timeout(DOUBT, gone).await;
        })
    }

    fn unreachable_writers(&self, session: &SessionId) -> Vec<u32> {
        self.registry.unseen.writers(session)
    }
}
