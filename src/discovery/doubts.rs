//! Doubts that a server still lives.

use std::{collections::BTreeSet, mem, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::domain::ids::ServerKey;

/// Where anybody reports that a server may have gone: its stream ended, a connection was refused. Cheap to clone.
///
/// Discovery then looks at once and for about a second: a process that was killed is out within that time. Many
/// doubts about one server are one; a wrong one costs a connection.
#[derive(Clone, Debug, Default)]
pub struct Doubts(Arc<Pending>);

#[derive(Debug, Default)]
struct Pending {
    servers: Mutex<BTreeSet<ServerKey>>,
    raised: Notify,
}

impl Doubts {
    /// Asks for a look at `server`. Returns at once.
    pub fn doubt(&self, server: ServerKey) {
        if self.0.servers.lock().insert(server) {
            self.0.raised.notify_one();
        }
    }

    /// Waits for doubts and takes them.
    pub(super) async fn next(&self) -> BTreeSet<ServerKey> {
        loop {
            let raised = self.0.raised.notified();
            let servers = mem::take(&mut *self.0.servers.lock());
            if !servers.is_empty() {
                return servers;
            }
            raised.await;
        }
    }
}
