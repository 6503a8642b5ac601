//! Which servers share a store.
//!
//! Two servers share one exactly if their processes have the same database file open. Where that cannot be seen, the
//! host, home and state directory that a server tells stand for it. Never assumed equal across hosts.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

use crate::domain::ids::StoreKey;

/// What makes a store this store and no other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StoreIdentity {
    /// The open `opencode.db` of a process on this machine.
    File {
        /// The device that holds it.
        device: u64,
        /// Its inode.
        inode: u64,
    },
    /// What the server itself tells.
    Told {
        /// The host it was asked on.
        host: Arc<str>,
        /// The home directory of its user.
        home: Arc<str>,
        /// The directory of its state.
        state: Arc<str>,
    },
    /// Not known: a store of its own, until more is.
    Own {
        /// The address of the only server that has it.
        authority: Arc<str>,
    },
}

/// Gives each store a short key.
#[derive(Debug, Default)]
pub struct Stores {
    keys: Mutex<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    known: HashMap<StoreIdentity, StoreKey>,
    next: u32,
}

impl Stores {
    /// The key of a store, the same for as long as this daemon runs or until it is given up.
    pub fn key(&self, identity: StoreIdentity) -> StoreKey {
        let mut keys = self.keys.lock();
        let Keys { known, next } = &mut *keys;
        *known.entry(identity).or_insert_with(|| {
            let key = StoreKey(*next);
            *next = next.saturating_add(1);
            key
        })
    }

    /// Gives up a key whose store turned out to be another: what has its identity next, as another server at the same
    /// address, is a store of its own.
    pub fn give_up(&self, key: StoreKey) {
        self.keys.lock().known.retain(|_, known| *known != key);
    }

    /// How people see a store: the same text for the same store, also across restarts of ours.
    pub fn label(&self, key: StoreKey) -> String {
        let keys = self.keys.lock();
        let identity = keys.known.iter().find(|(_, known)| **known == key).map(|(identity, _)| identity);
        match identity {
            Some(StoreIdentity::File { device, inode }) => format!("file:{device:x}:{inode:x}"),
            Some(StoreIdentity::Told { host, home, state }) => format!("told:{host}:{home}:{state}"),
            Some(StoreIdentity::Own { authority }) => format!("own:{authority}"),
            None => String::from("unknown"),
        }
    }
}
