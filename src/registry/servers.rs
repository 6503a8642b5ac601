//! The servers we know: an immutable snapshot, swapped whole.
//!
//! Servers are few and read on every request, so a reader takes the current snapshot without waiting and a writer
//! copies it. A server that is gone leaves the snapshot; its key is never given again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::server::{Server, ServerId};
use crate::domain::{
    candidate::Candidate,
    ids::{ServerKey, StoreKey},
    ownership::Witness,
};

/// All servers at one instant.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    servers: BTreeMap<ServerKey, Arc<Server>>,
    /// The same by store: each store's list is kept by a task of its own, which must not look through all servers.
    stores: HashMap<StoreKey, Vec<Arc<Server>>>,
}

impl Snapshot {
    /// The server with this key, if it still lives.
    pub fn get(&self, key: ServerKey) -> Option<&Arc<Server>> {
        self.servers.get(&key)
    }

    /// Every server, oldest acquaintance first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Server>> {
        self.servers.values()
    }

    /// The server with this public name.
    pub fn by_id(&self, id: &str) -> Option<&Arc<Server>> {
        self.iter().find(|server| &*server.id.0 == id)
    }

    /// The server that somebody means by `name`: its id, its `host:port`, its URL, or its port alone where only one
    /// server has it.
    pub fn by_name(&self, name: &str) -> Option<&Arc<Server>> {
        let authority = name.strip_prefix("http://").unwrap_or(name).trim_end_matches('/');
        self.by_id(name)
            .or_else(|| self.iter().find(|server| &*server.address.authority == authority))
            .or_else(|| {
                let port = name.parse::<u16>().ok()?;
                let mut having = self.iter().filter(|server| server.address.port == port);
                having.next().filter(|_| having.next().is_none())
            })
    }

    /// The servers of one store, oldest acquaintance first.
    pub fn of_store(&self, store: StoreKey) -> impl DoubleEndedIterator<Item = &Arc<Server>> {
        self.stores.get(&store).into_iter().flatten()
    }

    /// What choices look at, for the servers of one store or for all.
    pub fn candidates(&self, store: Option<StoreKey>) -> Vec<Candidate> {
        match store {
            Some(store) => self.of_store(store).map(|server| server.candidate()).collect(),
            None => self.iter().map(|server| server.candidate()).collect(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.servers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }
}

impl Witness for Snapshot {
    fn lives(&self, server: ServerKey) -> bool {
        self.servers.contains_key(&server)
    }

    fn reports_screen(&self, server: ServerKey) -> bool {
        self.get(server).is_some_and(|server| server.reports_screen)
    }
}

/// The current snapshot and the means to change it.
#[derive(Debug)]
pub struct Servers {
    current: ArcSwap<Snapshot>,
    next_key: Mutex<u32>,
    changed: watch::Sender<()>,
}

impl Default for Servers {
    fn default() -> Self {
        Self { current: ArcSwap::default(), next_key: Mutex::new(1), changed: watch::Sender::new(()) }
    }
}

impl Servers {
    /// The servers as they are now.
    pub fn now(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// The server with this key, if it still lives.
    pub fn get(&self, key: ServerKey) -> Option<Arc<Server>> {
        self.now().get(key).cloned()
    }

    /// Adds the server that `make` builds around a fresh key. `None` if a server with its id is known already.
    pub fn add(&self, make: impl FnOnce(ServerKey) -> Server) -> Option<Arc<Server>> {
        let mut next_key = self.next_key.lock();
        let server = Arc::new(make(ServerKey(*next_key)));
        if self.now().by_id(&server.id.0).is_some() {
            return None;
        }
        *next_key += 1;
        self.swap(|snapshot| {
            snapshot.servers.insert(server.key, Arc::clone(&server));
        });
        Some(server)
    }

    /// Changes one server. Returns it as it is afterwards, `None` if it is gone.
    pub fn change(&self, key: ServerKey, change: impl FnOnce(&mut Server)) -> Option<Arc<Server>> {
        let _writer = self.next_key.lock();
        let mut server = Server::clone(self.now().get(key)?);
        change(&mut server);
        let server = Arc::new(server);
        self.swap(|snapshot| {
            snapshot.servers.insert(key, Arc::clone(&server));
        });
        Some(server)
    }

    /// Takes out a server that is gone. `None` if somebody did so before.
    pub fn remove(&self, key: ServerKey) -> Option<Arc<Server>> {
        let _writer = self.next_key.lock();
        let server = self.get(key)?;
        self.swap(|snapshot| {
            snapshot.servers.remove(&key);
        });
        Some(server)
    }

    /// Wakes whenever the snapshot has changed.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The id of the server with this key, if it still lives.
    pub fn id(&self, key: ServerKey) -> Option<ServerId> {
        self.now().get(key).map(|server| server.id.clone())
    }

    fn swap(&self, change: impl FnOnce(&mut Snapshot)) {
        let mut next = Snapshot::clone(&self.now());
        change(&mut next);
        next.stores.clear();
        for server in next.servers.values() {
            next.stores.entry(server.store).or_default().push(Arc::clone(server));
        }
        self.current.store(Arc::new(next));
        self.changed.send_replace(());
    }
}
