//! The hub: events in, subscriptions out.
//!
//! Publishing appends to the log and wakes who waits; it never waits for a reader and costs the same for one as for
//! a thousand. A subscriber that falls out of the log's tail is ended, so that its client connects anew. Leaves to
//! others: what to publish, and what an event claims.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{
    domain::ids::ServerKey,
    events::{
        disposals::Disposals,
        lane::Lane,
        log::{Event, Limits, Log},
        own::Own,
        subscriber::Subscription,
        view::{Attention, View},
    },
    opencode::event::{Decoded, Signal},
};

/// Cheap to clone; all clones are one hub.
#[derive(Clone, Debug)]
pub struct Hub {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) log: RwLock<Log>,
    /// Notified after every change that a waiting subscriber must see: an event, the end.
    pub(super) news: Arc<Notify>,
    /// Read only for events that call for attention, and for streams that name no directory.
    pub(super) default_directory: RwLock<Option<Arc<str>>>,
    pub(super) closed: AtomicBool,
    pub(super) audience: watch::Sender<usize>,
    lanes: Mutex<HashMap<View, Weak<Lane>>>,
    disposals: Mutex<Disposals>,
}

impl Hub {
    /// A hub that keeps as much as `limits` allow.
    pub fn new(limits: Limits) -> Self {
        let shared = Shared {
            log: RwLock::new(Log::new(limits)),
            news: Arc::default(),
            default_directory: RwLock::default(),
            closed: AtomicBool::new(false),
            audience: watch::Sender::new(0),
            lanes: Mutex::default(),
            disposals: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Publishes what a server emitted. Its `server.connected` and `server.heartbeat` concern its own stream only
    /// and go nowhere; a disposal that another server just told goes nowhere either.
    pub fn publish(&self, server: ServerKey, event: Decoded) {
        let attention = match event.signal {
            Signal::Connected | Signal::Heartbeat => return,
            Signal::Asked { .. } => Attention::Directory,
            Signal::Disposed => {
                if let Some(directory) = &event.directory
                    && self.shared.disposals.lock().repeats(directory, server, Instant::now())
                {
                    return;
                }
                Attention::Directory
            }
            Signal::Tui => Attention::Screen,
            _ => Attention::Everyone,
        };
        self.append(Event {
            seq: 0,
            server: Some(server),
            global_only: event.directory.is_none() || event.kind == "sync",
            directory: event.directory,
            attention,
            session: event.session,
            frame: event.frame,
            payload: event.payload,
        });
    }

    /// Publishes an event of our own making, to everyone whose stream holds events of its directory.
    pub fn announce(&self, own: Own) {
        self.append(Event {
            seq: 0,
            server: None,
            global_only: own.directory.is_none(),
            directory: own.directory,
            attention: Attention::Everyone,
            session: own.session,
            frame: own.frame,
            payload: own.payload,
        });
    }

    fn append(&self, event: Event) {
        self.shared.log.write().append(event);
        self.shared.news.notify_waiters();
    }

    /// A stream of what is published from now on, as `view` sees it. Must be called within a tokio runtime.
    pub fn subscribe(&self, view: View) -> Subscription {
        let lane = {
            let mut lanes = self.shared.lanes.lock();
            lanes.retain(|_, lane| lane.strong_count() > 0);
            let known = lanes.get(&view).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let lane = Arc::new(Lane::new(view.clone()));
                lanes.insert(view, Arc::downgrade(&lane));
                lane
            })
        };
        Subscription::new(self.shared.clone(), lane)
    }

    /// Tells which directory is the default server's own: what streams that name none are about.
    pub fn set_default_directory(&self, directory: Option<Arc<str>>) {
        *self.shared.default_directory.write() = directory;
    }

    /// The position behind the newest event: how many were published.
    pub fn position(&self) -> u64 {
        self.shared.log.read().end()
    }

    /// How many subscriptions there are.
    pub fn subscribers(&self) -> usize {
        *self.shared.audience.borrow()
    }

    /// How many subscriptions there are, as it changes.
    pub fn audience(&self) -> watch::Receiver<usize> {
        self.shared.audience.subscribe()
    }

    /// Ends all subscriptions, those of the future included, once they have read what was published.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.news.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
