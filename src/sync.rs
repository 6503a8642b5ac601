//! The session lists of the stores: who exists where, in which directory, changed when.
//!
//! One task for each store that has an answering server, never one for each server: servers of one store list the
//! same. The task pages through everything once, then asks for what changed, and goes through the whole list again
//! page by page to find what was deleted. A list that is slow, huge, failing or a lie delays nobody else: routing
//! never waits for it, and other stores have their own task. Nothing here makes a server open any directory but its
//! own.
//!
//! Also here: the look-up of a session that nobody has listed yet ([`Sync::look_up`]), what lists show and no stream
//! tells ([`Listener`]), and the suspicion that an agent we cannot hear writes a session (kept in
//! [`crate::registry::unseen`]).
//!
//! Left to others: whose a session is. A list proves that a session exists, never who runs it.

use std::{
    collections::HashSet,
    convert::Infallible,
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{
        ids::{ServerKey, SessionId, StoreKey},
        kind::Kind,
    },
    machine::Machine,
    opencode::client::AgentClient,
    registry::{Registry, server::Server},
};

pub use self::unheard::{Listener, Unheard};

mod beat;
mod changes;
mod look_up;
mod settled;
mod store;
#[cfg(test)]
mod tests;
mod unheard;
mod walk;

/// How long the first lists may take before we count as ready without them: a server may have to open its directory
/// for its list, which took 8.3 s when cold.
const FIRST_ROUND: Duration = Duration::from_secs(10);

/// How often things are done.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// How often a store's files are looked at, and its list asked for changes when they were written.
    tick: Duration,
    /// How often the list is asked for changes without a sign of any, and how often one page of the whole list is
    /// gone through. Streams tell of most changes at once; this finds what none told.
    unasked: Duration,
    /// How often one page is gone through while the store is being written: what is deleted leaves no other trace.
    written: Duration,
    /// How long streams may take to tell what a list has shown already.
    heard_within: Duration,
}

const PACE: Pace = Pace {
    tick: Duration::from_secs(1),
    unasked: Duration::from_mins(1),
    written: Duration::from_secs(10),
    heard_within: Duration::from_secs(2),
};

/// A handle to the session lists. Cheap to clone.
#[derive(Clone)]
pub struct Sync {
    shared: Arc<Shared>,
}

/// What all store tasks and look-ups share.
struct Shared {
    registry: Arc<Registry>,
    machine: Arc<dyn Machine>,
    client: AgentClient,
    pace: Pace,
    /// From when on ticks are counted.
    epoch: Instant,
    /// The last round begun, by any store: rounds of one store never repeat, however often its task starts.
    rounds: std::sync::atomic::AtomicU32,
    first_round: watch::Sender<bool>,
    /// Rows read since somebody last asked.
    rows: std::sync::atomic::AtomicU64,
    look_ups: look_up::LookUps,
    /// Stores whose list was read to its end once: what comes later is new.
    read: Mutex<HashSet<StoreKey>>,
    listener: OnceLock<Box<dyn Listener>>,
}

impl std::fmt::Debug for Sync {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sync").finish_non_exhaustive()
    }
}

impl Sync {
    /// Asks nobody before [`Sync::run`] or [`Sync::look_up`].
    pub fn new(registry: Arc<Registry>, machine: Arc<dyn Machine>, client: AgentClient) -> Self {
        Self::paced(registry, machine, client, PACE)
    }

    fn paced(registry: Arc<Registry>, machine: Arc<dyn Machine>, client: AgentClient, pace: Pace) -> Self {
        Self {
            shared: Arc::new(Shared {
                registry,
                machine,
                client,
                pace,
                epoch: Instant::now(),
                rounds: std::sync::atomic::AtomicU32::new(0),
                first_round: watch::Sender::new(false),
                rows: std::sync::atomic::AtomicU64::new(0),
                look_ups: look_up::LookUps::default(),
                read: Mutex::default(),
                listener: OnceLock::new(),
            }),
        }
    }

    /// From now on `listener` is told what no stream tells. To be called once.
    pub fn tell(&self, listener: Box<dyn Listener>) {
        let _ = self.shared.listener.set(listener);
    }

    /// Becomes true once the list of every store that the first look of discovery found has been read or has failed,
    /// or ten seconds have passed since.
    pub fn first_round(&self) -> watch::Receiver<bool> {
        self.shared.first_round.subscribe()
    }

    /// How many rows of lists have been read since the last call.
    pub fn take_rows(&self) -> u64 {
        self.shared.rows.swap(0, std::sync::atomic::Ordering::Relaxed)
    }

    /// Keeps the registry's sessions true until `stop`. `discovered` is [`crate::discovery::Discovery::first_round`].
    pub async fn run(&self, mut discovered: watch::Receiver<bool>, stop: CancellationToken) {
        let mut changes = self.shared.registry.servers.changes();
        let mut tasks = JoinSet::new();
        let mut running = HashSet::new();
        let (held, mut first_lists) = mpsc::channel::<Infallible>(1);
        let mut held = Some(held);
        let mut first_round = std::pin::pin!(async move {
            let _ = timeout(FIRST_ROUND, first_lists.recv()).await;
        });
        loop {
            changes.mark_unchanged();
            let is_discovered = *discovered.borrow_and_update();
            for store in self.shared.stores() {
                if running.insert(store) {
                    let first_list = held.clone();
                    tasks.spawn(store::StoreTask::new(Arc::clone(&self.shared), store).run(first_list));
                }
            }
            if is_discovered {
                held = None;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                alive = changes.changed() => if alive.is_err() { return },
                alive = discovered.changed(), if held.is_some() => {
                    // Without discovery there is nothing to wait for.
                    if alive.is_err() {
                        held = None;
                    }
                }
                Some(ended) = tasks.join_next() => match ended {
                    Ok(store) => { running.remove(&store); }
                    Err(error) => {
                        tracing::error!(%error, "the sync of a store failed; it starts anew");
                        tasks.abort_all();
                        tasks = JoinSet::new();
                        running.clear();
                    }
                },
                () = &mut first_round, if held.is_none() && !*self.shared.first_round.borrow() => {
                    self.shared.first_round.send_replace(true);
                }
            }
        }
    }
}

impl Shared {
    fn tell(&self, store: StoreKey, session: &SessionId, what: Unheard) {
        if let Some(listener) = self.listener.get() {
            listener.unheard(store, session, what);
        }
    }

    /// The stores that can be asked.
    fn stores(&self) -> HashSet<StoreKey> {
        let servers = self.registry.servers.now();
        servers.iter().filter(|server| server.answering()).map(|server| server.store).collect()
    }

    /// The answering servers of a store, the best to be asked for a list first: one that is made to serve has nobody
    /// waiting at its screen.
    fn servers_of(&self, store: StoreKey) -> Vec<Arc<Server>> {
        let servers = self.registry.servers.now();
        let mut of_store: Vec<Arc<Server>> =
            servers.of_store(store).filter(|server| server.answering()).cloned().collect();
        of_store.sort_by_key(|server| preference(server));
        of_store
    }
}

/// The best to be asked for a list has the least.
fn preference(server: &Server) -> (u8, u16, ServerKey) {
    (reluctance(server.kind), server.address.port, server.key)
}

fn reluctance(kind: Kind) -> u8 {
    match kind {
        Kind::Serve | Kind::Web => 0,
        Kind::Other | Kind::Acp => 1,
        Kind::Tui | Kind::Attach => 2,
        // It ends by itself, perhaps in the middle of a page.
        Kind::Run => 3,
    }
}
