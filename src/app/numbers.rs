//! The numbers that streams carry, watched: what they prove to be missing is asked for.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{intake::Intake, repair::Occasion};
use crate::{
    discovery::unreachable_of,
    domain::ids::{ServerKey, SessionId, StoreKey},
    events::sequence::{Carried, Cause, Heard, Hole, Sequences},
    registry::{
        server::{Server, State},
        unseen::Sighting,
    },
};

/// Why a session is looked at, as metrics and `pointsman.repaired` name it: a number is missing.
const GAP: &str = "gap";

/// The same: two streams told of it out of step.
const ORDER: &str = "order";

/// Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    sequences: Mutex<Sequences>,
    /// The servers whose streams stand, and where the last event of each stands among all that were told.
    heard: Mutex<HashMap<ServerKey, u64>>,
    /// Something is missing.
    news: Notify,
}

impl Numbers {
    /// A server's stream begins.
    pub(super) fn begins(&self, server: &Server, now_ms: u64) {
        self.0.heard.lock().insert(server.key, 0);
        self.disturbed(server.store, now_ms);
    }

    /// A server's stream has ended.
    pub(super) fn ends(&self, server: ServerKey, store: Option<StoreKey>, now_ms: u64) {
        self.0.heard.lock().remove(&server);
        if let Some(store) = store {
            self.disturbed(store, now_ms);
        }
    }

    /// A stream of the store told something that could not be read, or begins or ends.
    pub(super) fn disturbed(&self, store: StoreKey, now_ms: u64) {
        self.0.sequences.lock().disturbed(store, now_ms);
    }

    /// A server's stream has told something: the number that comes next in it may be of that.
    pub(super) fn told(&self, server: ServerKey, position: u64) {
        if let Some(last) = self.0.heard.lock().get_mut(&server) {
            *last = position;
        }
    }

    fn told_at(&self, server: ServerKey) -> u64 {
        self.0.heard.lock().get(&server).copied().unwrap_or_default()
    }

    /// How many sessions' numbers are followed, and how many may be.
    pub(super) fn held(&self) -> (usize, usize) {
        self.0.sequences.lock().held()
    }

    fn hears(&self, server: &Server) -> bool {
        // One that lets nobody in is never heard: what it writes is unseen.
        server.state == State::Locked || self.0.heard.lock().contains_key(&server.key)
    }
}

impl Intake {
    /// A stream has carried the number of a change, that of the last event it told.
    pub(super) fn numbered(&self, server: &Server, session: &SessionId, seq: u64) {
        let now_ms = self.registry.clock.now_ms();
        let carried = Carried { seq, server: server.key, told_at: self.numbers.told_at(server.key) };
        let (heard, is_missing) = {
            let mut sequences = self.numbers.0.sequences.lock();
            let heard = sequences.heard(server.store, session, carried, now_ms);
            (heard, sequences.have_holes())
        };
        if is_missing {
            self.numbers.0.news.notify_one();
        }
        if heard == Heard::Overtaken {
            self.look_at(server.store, session, Occasion { reason: ORDER, since_ms: now_ms });
        }
    }

    /// Looks after what is missing, until `stop`.
    pub(super) async fn watch_numbers(self, stop: CancellationToken) {
        let numbers = self.numbers.clone();
        loop {
            let next_ms = numbers.0.sequences.lock().next_ms();
            let pause = next_ms.map(|next_ms| next_ms.saturating_sub(self.registry.clock.now_ms()));
            tokio::select! {
                () = stop.cancelled() => return,
                () = numbers.0.news.notified(), if pause.is_none() => continue,
                () = sleep(Duration::from_millis(pause.unwrap_or_default())), if pause.is_some() => {}
            }
            let now_ms = self.registry.clock.now_ms();
            let servers = Arc::clone(&self.registry.servers.now());
            let is_deaf = |store| servers.of_store(store).any(|server| !numbers.hears(server));
            let holes = numbers.0.sequences.lock().missing(now_ms, is_deaf);
            for hole in holes {
                self.missing(hole, now_ms);
            }
        }
    }

    fn missing(&self, hole: Hole, now_ms: u64) {
        let Hole { store, session, numbers, since_ms, cause } = hole;
        tracing::debug!(%session, store = store.0, numbers, cause = cause.as_str(), "no stream told of changes");
        self.metrics.numbers_missing(cause.as_str(), numbers);
        if cause == Cause::Unseen {
            self.sighted(store, &session, now_ms);
        }
        self.look_at(store, &session, Occasion { reason: GAP, since_ms });
    }

    /// Notes that somebody writes a session whom we cannot hear, unless one of those we can was not heard.
    pub(super) fn unheard_of(&self, store: StoreKey, session: &SessionId) {
        let servers = Arc::clone(&self.registry.servers.now());
        if servers.of_store(store).all(|server| self.numbers.hears(server)) {
            self.sighted(store, session, self.registry.clock.now_ms());
        }
    }

    fn sighted(&self, store: StoreKey, session: &SessionId, at_ms: u64) {
        let (registry, machine) = (Arc::clone(&self.registry), Arc::clone(&self.machine));
        let session = session.clone();
        tokio::task::spawn_blocking(move || {
            let pids = unreachable_of(&*machine, &registry, store);
            registry.unseen.sighted(&session, Sighting { at_ms, pids });
        });
    }
}
