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
    sync::{Notify, futures::OwnedNotified, watch},
    time::Instant,
};

use crate::{
    domain::ids::ServerKey,
    events::{
        disposals::Disposals,
        journal::Journal,
        lane::Lane,
        log::{DELETED, Event, Gathered, Limits, Log},
        own::{Own, Present},
        subscriber::{Start, Subscription},
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
    /// Numbers the events and knows the past; without it they have no ids.
    pub(super) journal: Option<Journal>,
}

/// Who emits an event.
#[derive(Clone, Debug)]
pub struct Emitter {
    /// The server, for as long as we run.
    pub key: ServerKey,
    /// Its id, as in `GET /servers`.
    pub id: Arc<str>,
}

/// What a subscriber brings along.
#[derive(Clone, Debug, Default)]
pub struct Joining {
    /// The id of the last event it has seen.
    pub cursor: Option<String>,
    /// What our own stream names at its beginning.
    pub servers: Vec<Present>,
}

impl Hub {
    /// A hub that keeps as much as `limits` allow. Its events have no ids, and nobody can come back to it.
    pub fn new(limits: Limits) -> Self {
        Self::with(Log::new(limits), None)
    }

    /// A hub whose events have ids, and whose subscribers can come back to where they were.
    pub fn journalled(limits: Limits, journal: Journal) -> Self {
        Self::with(Log::beginning_at(journal.base(), limits), Some(journal))
    }

    fn with(log: Log, journal: Option<Journal>) -> Self {
        let shared = Shared {
            log: RwLock::new(log),
            news: Arc::default(),
            default_directory: RwLock::default(),
            closed: AtomicBool::new(false),
            audience: watch::Sender::new(0),
            lanes: Mutex::default(),
            disposals: Mutex::default(),
            journal,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Publishes what a server emitted. Its `server.connected` and `server.heartbeat` concern its own stream only
    /// and go nowhere; a disposal that another server just told goes nowhere either.
    pub fn publish(&self, from: &Emitter, event: Decoded) {
        let attention = match event.signal {
            Signal::Connected | Signal::Heartbeat => return,
            Signal::Asked { .. } => Attention::Directory,
            Signal::Disposed => {
                if let Some(directory) = &event.directory
                    && self.shared.disposals.lock().repeats(directory, from.key, Instant::now())
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
            server: Some(Arc::clone(&from.id)),
            global_only: event.directory.is_none() || event.kind == "sync",
            directory: event.directory,
            attention,
            session: event.session,
            kind: event.kind,
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
            kind: own.kind.into(),
            frame: own.frame,
            payload: own.payload,
        });
    }

    fn append(&self, event: Event) {
        if let Some(journal) = &self.shared.journal
            && event.kind == DELETED
            && let Some(session) = &event.session
        {
            journal.erase(session.clone());
        }
        self.shared.log.write().append(event);
        self.shared.news.notify_waiters();
    }

    /// A stream of what is published from now on, as `view` sees it. Must be called within a tokio runtime.
    pub fn subscribe(&self, view: View) -> Subscription {
        self.join(view, Joining::default())
    }

    /// The same for a subscriber that may have been here before: what it has missed comes first, or else a
    /// `pointsman.reset` that says why not.
    pub fn join(&self, view: View, joining: Joining) -> Subscription {
        let lane = {
            let mut lanes = self.shared.lanes.lock();
            lanes.retain(|_, lane| lane.strong_count() > 0);
            let known = lanes.get(&view).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let lane =
                    Arc::new(Lane::new(view.clone(), self.shared.journal.as_ref().map(Journal::epoch)));
                lanes.insert(view, Arc::downgrade(&lane));
                lane
            })
        };
        let Joining { cursor, servers } = joining;
        let log = self.shared.log.read();
        let (start, end) = (log.start(), log.end());
        drop(log);
        let judged = self.shared.journal.as_ref().zip(cursor);
        let judged = judged.map(|(journal, cursor)| journal.judge(&cursor, start, end));
        Subscription::new(self.shared.clone(), lane, Start { judged, end, servers })
    }

    /// Ready when something was published after this was called.
    pub(super) fn news(&self) -> OwnedNotified {
        self.shared.news.clone().notified_owned()
    }

    /// The events from `from` on, up to about `most` bytes.
    pub(super) fn gather(&self, from: u64, most: usize) -> Gathered {
        self.shared.log.read().gather(from, most)
    }

    /// The journal behind it.
    pub fn journal(&self) -> Option<&Journal> {
        self.shared.journal.as_ref()
    }

    /// How much the log holds, in bytes of events.
    pub fn held_bytes(&self) -> usize {
        self.shared.log.read().bytes()
    }

    /// Tells which directory is the default server's own: what streams that name none are about.
    pub fn set_default_directory(&self, directory: Option<Arc<str>>) {
        *self.shared.default_directory.write() = directory;
    }

    /// The position behind the newest event: the number that the next one gets.
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
