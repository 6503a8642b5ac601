//! Whether a session exists that nobody has listed yet.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, Shared as SharedFuture},
    stream::FuturesUnordered,
};
use parking_lot::Mutex;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use super::Sync;
use crate::{
    discovery::agent,
    domain::{
        ids::{SessionId, StoreKey},
        session::SessionRow,
    },
    opencode::client::AskError,
    registry::server::Server,
};

/// How long it is remembered that an id is unknown everywhere: a client that repeats itself costs nothing, and one
/// that has just created the session elsewhere waits no longer than it would notice.
const ABSENT_FOR: Duration = Duration::from_secs(1);

/// How many unknown ids are remembered.
const ABSENT_MOST: usize = 10_000;

/// How many ids are looked for at once.
const AT_ONCE: usize = 32;

/// How long other stores may take once one has the session. The same id in two is rare, and must be told if it shows.
const OTHERS: Duration = Duration::from_millis(100);

/// How many servers of one store are asked, one after the other, if the first does not answer.
const SERVERS: usize = 2;

/// The look-ups under way, and what they found missing.
pub(super) struct LookUps {
    flights: Mutex<HashMap<SessionId, SharedFuture<BoxFuture<'static, Option<StoreKey>>>>>,
    absent: Mutex<HashMap<SessionId, Instant>>,
    at_once: Semaphore,
}

impl Default for LookUps {
    fn default() -> Self {
        Self { flights: Mutex::default(), absent: Mutex::default(), at_once: Semaphore::new(AT_ONCE) }
    }
}

impl LookUps {
    fn is_absent(&self, session: &SessionId) -> bool {
        self.absent.lock().get(session).is_some_and(|since| since.elapsed() < ABSENT_FOR)
    }

    fn note_absent(&self, session: SessionId) {
        let mut absent = self.absent.lock();
        if absent.len() >= ABSENT_MOST {
            absent.retain(|_, since| since.elapsed() < ABSENT_FOR);
        }
        if absent.len() < ABSENT_MOST {
            absent.insert(session, Instant::now());
        }
    }
}

/// Ends a flight, however its search ended.
struct Landing<'a> {
    look_ups: &'a LookUps,
    session: &'a SessionId,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.look_ups.flights.lock().remove(self.session);
    }
}

impl Sync {
    /// Asks one answering server of each store whether it has `session`, first the one that has `directory` open. The
    /// registry has its row afterwards, in every store that has it; the first of these is returned. `None` if no
    /// store is known to have it. Takes some milliseconds, three seconds at worst for each of two servers; the same
    /// id is looked for once at a time, whoever gives up waiting.
    pub async fn look_up(&self, session: &SessionId, directory: Option<&str>) -> Option<StoreKey> {
        let look_ups = &self.shared.look_ups;
        if look_ups.is_absent(session) {
            return None;
        }
        let flight = look_ups
            .flights
            .lock()
            .entry(session.clone())
            .or_insert_with(|| {
                let search = self.clone().search(session.clone(), directory.map(str::to_owned));
                let search = tokio::spawn(search);
                async move { search.await.ok().flatten() }.boxed().shared()
            })
            .clone();
        flight.await
    }

    async fn search(self, session: SessionId, directory: Option<String>) -> Option<StoreKey> {
        let look_ups = &self.shared.look_ups;
        let _landing = Landing { look_ups, session: &session };
        let found = {
            let _turn = look_ups.at_once.acquire().await;
            self.search_stores(&session, directory.as_deref()).await
        };
        if matches!(found, Ok(None)) {
            look_ups.note_absent(session.clone());
        }
        found.ok().flatten()
    }

    /// The first store that has the session; an error if none has it, but not all could be asked.
    async fn search_stores(
        &self,
        session: &SessionId,
        directory: Option<&str>,
    ) -> Result<Option<StoreKey>, AskError> {
        let mut asked: FuturesUnordered<_> = self
            .one_of_each_store(directory)
            .into_iter()
            .map(async |(store, servers)| (store, self.search_store(session, &servers).await))
            .collect();
        let mut first = None;
        let mut error = None;
        let mut until = None;
        loop {
            let next = match until {
                Some(until) => timeout_at(until, asked.next()).await.unwrap_or(None),
                None => asked.next().await,
            };
            match next {
                None => break,
                Some((_, Ok(None))) => {}
                Some((_, Err(failed))) => error = Some(failed),
                Some((store, Ok(Some(row)))) => {
                    self.shared.registry.sessions.row(store, &row, 0);
                    first = first.or(Some(store));
                    until = until.or(Some(Instant::now() + OTHERS));
                }
            }
        }
        match (first, error) {
            (None, Some(error)) => Err(error),
            (first, _) => Ok(first),
        }
    }

    async fn search_store(
        &self,
        session: &SessionId,
        servers: &[Arc<Server>],
    ) -> Result<Option<SessionRow>, AskError> {
        let mut outcome = Ok(None);
        for server in servers.iter().take(SERVERS) {
            let now_ms = self.shared.registry.clock.now_ms();
            outcome = agent(&self.shared.client, server).exists(session, now_ms).await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    /// The servers to ask in each store, the best first.
    fn one_of_each_store(&self, directory: Option<&str>) -> BTreeMap<StoreKey, Vec<Arc<Server>>> {
        let mut stores = BTreeMap::new();
        for store in self.shared.stores() {
            let mut servers = self.shared.servers_of(store);
            if let Some(directory) = directory {
                servers.sort_by_key(|server| !server.directories.contains(directory));
            }
            stores.insert(store, servers);
        }
        stores
    }
}
