//! Asks servers what the router does not know.

use std::{sync::Arc, time::Duration};

use http::HeaderMap;
use tokio::time::timeout;

use crate::{
    discovery::Doubts,
    domain::ids::{SessionId, StoreKey},
    opencode::lists::List,
    proxy::{
        forward::Forwarder,
        merge::{self, Wanted, merge},
        router::{Asking, Scout},
    },
    registry::{Registry, asked::Origin, server::Server},
    sync::Sync,
};

/// How long a request waits to learn whether the server that refused it has gone. Asking the kernel takes
/// microseconds, a refused connection the same; half a second is for a machine under load.
const DOUBT: Duration = Duration::from_millis(500);

/// See the module.
pub(super) struct Rider {
    /// What is known.
    pub registry: Arc<Registry>,
    /// Knows the stores' lists.
    pub sync: Sync,
    /// Carries questions to servers.
    pub forwarder: Arc<Forwarder>,
    /// How their answers are merged.
    pub merging: merge::Settings,
    /// Finds out whether a server lives.
    pub doubts: Doubts,
}

impl Rider {
    pub(super) fn new(
        registry: &Arc<Registry>,
        sync: &Sync,
        forwarder: &Arc<Forwarder>,
        merging: merge::Settings,
        doubts: &Doubts,
    ) -> Self {
        let (registry, forwarder) = (Arc::clone(registry), Arc::clone(forwarder));
        Self { registry, sync: sync.clone(), forwarder, merging, doubts: doubts.clone() }
    }
}

impl Scout for Rider {
    fn look_up<'a>(
        &'a self,
        session: &'a SessionId,
        directory: Option<&'a str>,
    ) -> Asking<'a, Option<StoreKey>> {
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
                let wanted =
                    Wanted { list, query: "", headers: &HeaderMap::new(), directory: None, chosen: None };
                // Who raised what is learned as the lists are merged; the answer itself is for nobody.
                let _ = merge(&*self.forwarder, &self.registry, &wanted, self.merging).await;
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
        self.registry.unseen.suspected(session).map_or_else(Vec::new, |suspicion| suspicion.pids)
    }
}
