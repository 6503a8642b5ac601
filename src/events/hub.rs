//! The hub: events in, subscriptions out.
//!
//! Publishing appends to the log and wakes who waits; it never waits for a reader and costs the same for one as for
//! a thousand. A subscriber that falls out of the log's tail is ended, so that its client connects anew. Leaves to
//! others: what to publish, and what an event claims.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use tokio::{
    sync::{Notify, futures::OwnedNotified, watch},
    time::Instant,
};

use crate::{
    domain::ids::{ServerKey, SessionId},
    events::{
        disposals::Disposals,
        journal::Journal,
        lane::Lane,
        log::{DELETED, Event, Gathered, Limits, Log},
        own::{Own, Present},
        picture::{Extent, Picture},
        repair::Shown,
        subscriber::{Start, Subscription},
        view::{Attention, View},
    },
    opencode::event::{
        Decoded, Signal,
        piece::{Piece, piece},
    },
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
    /// It is not known yet what happened since an earlier run ended.
    is_incomplete: AtomicBool,
    pub(super) audience: watch::Sender<usize>,
    lanes: Mutex<HashMap<View, Weak<Lane>>>,
    disposals: Mutex<Disposals>,
    /// Numbers the events and knows the past; without it they have no ids.
    pub(super) journal: Option<Journal>,
    /// What clients show; without it nobody is told of the past.
    picture: Option<Mutex<Picture>>,
    begun: Instant,
    pub(super) settings: Settings,
    conflated: AtomicU64,
    lost: AtomicU64,
    hidden: AtomicU64,
}

/// How subscribers are brought up to date who come late or read slowly.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How much of the past is kept for them.
    pub extent: Extent,
    /// How many bytes of it one who comes late is told at most.
    pub late: usize,
    /// How many bytes of events one who reads slowly may be behind; then it is told what they come to instead. It costs
    /// no memory of its own: the log is one for all.
    pub lag: u64,
    /// About how many bytes of that it is told at a time. All that is held for one who reads nothing.
    pub piece: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { extent: Extent::default(), late: 8 << 20, lag: 32 << 20, piece: 256 << 10 }
    }
}

/// What there is to know of a picture from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PictureStatus {
    /// Bytes it holds.
    pub bytes: usize,
    /// How many it may hold; nought if there is none.
    pub limit: usize,
    /// How often a subscriber that read slowly was told what events came to.
    pub conflated: u64,
    /// How often a subscriber could not be told what it missed.
    pub lost: u64,
    /// Events told to nobody, since they would have brought back what is gone.
    pub hidden: u64,
}

impl Shared {
    /// Puts an event into the log and the picture, at one position, and gives that; `None` if nobody is to be told of it.
    /// What was found, and not heard, counts as of the position `found_at`: nothing newer may have been told of it.
    fn append(&self, event: Event, found_at: Option<u64>) -> Option<u64> {
        let frame = event.frame.clone();
        let bare = self.picture.as_ref().zip(frame.get(event.payload.clone()));
        let changed = bare.and_then(|(picture, bare)| Some((picture, read(&event.kind, bare)?)));
        let Some((picture, piece)) = changed else {
            if found_at.is_some() {
                return None;
            }
            return Some(self.log.write().append(event).seq);
        };
        // The pieces of a text are added to what is shown, and not kept themselves.
        let event = if matches!(piece, Piece::Delta { .. }) { event } else { event.on_its_own() };
        let mut picture = picture.lock();
        let is_outdone = |session: &SessionId| {
            found_at
                .zip(picture.told_at(session, &event.kind, &piece))
                .is_some_and(|(found_at, told_at)| told_at >= found_at)
        };
        if event.session.as_ref().is_some_and(is_outdone) {
            return None;
        }
        if picture.hides(&event, &piece) {
            self.hidden.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let event = self.log.write().append(event);
        picture.apply(&event, &piece, self.now_ms());
        if found_at.is_some() {
            picture.distrust(&event, &piece);
        }
        Some(event.seq)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The piece that a bare event changes. Its text has been read as JSON before.
fn read<'a>(kind: &str, bare: &'a [u8]) -> Option<Piece<'a>> {
    piece(kind, std::str::from_utf8(bare).ok()?)
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

fn emitted(from: &Emitter, event: Decoded, attention: Attention) -> Event {
    Event {
        seq: 0,
        server: Some(Arc::clone(&from.id)),
        global_only: event.directory.is_none() || event.kind == "sync",
        directory: event.directory,
        attention,
        session: event.session,
        kind: event.kind,
        frame: event.frame,
        payload: event.payload,
    }
}

impl Hub {
    /// A hub that keeps as much as `limits` allow. Its events have no ids, and nobody can come back to it.
    pub fn new(limits: Limits) -> Self {
        Self::with(Log::new(limits), None, None, Settings::default())
    }

    /// A hub whose events have ids, and whose subscribers can come back to where they were. With `settings` those who
    /// come late or read slowly are told what changed.
    pub fn journalled(limits: Limits, journal: Journal, settings: Option<Settings>) -> Self {
        let picture = settings.map(|settings| Picture::new(settings.extent, journal.base()));
        Self::with(
            Log::beginning_at(journal.base(), limits),
            Some(journal),
            picture,
            settings.unwrap_or_default(),
        )
    }

    fn with(log: Log, journal: Option<Journal>, picture: Option<Picture>, settings: Settings) -> Self {
        let shared = Shared {
            log: RwLock::new(log),
            news: Arc::default(),
            default_directory: RwLock::default(),
            closed: AtomicBool::new(false),
            is_incomplete: AtomicBool::new(false),
            audience: watch::Sender::new(0),
            lanes: Mutex::default(),
            disposals: Mutex::default(),
            journal,
            picture: picture.map(Mutex::new),
            begun: Instant::now(),
            settings,
            conflated: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            hidden: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Publishes what a server emitted. Its `server.connected` and `server.heartbeat` concern its own stream only
    /// and go nowhere; a disposal that another server just told goes nowhere either. Gives the position of what went
    /// somewhere.
    pub fn publish(&self, from: &Emitter, event: Decoded) -> Option<u64> {
        let attention = match event.signal {
            Signal::Connected | Signal::Heartbeat => return None,
            Signal::Asked { .. } => Attention::Directory,
            Signal::Disposed => {
                if let Some(directory) = &event.directory
                    && self.shared.disposals.lock().repeats(directory, from.key, Instant::now())
                {
                    return None;
                }
                Attention::Directory
            }
            Signal::Tui => Attention::Screen,
            _ => Attention::Everyone,
        };
        self.append(emitted(from, event, attention), None)
    }

    /// Publishes an event that no stream told, made of what a server was found to say after the position `found_at`;
    /// false if it is not to be told, something newer having been told meanwhile or it being gone.
    pub fn publish_found(&self, from: &Emitter, event: Decoded, found_at: u64) -> bool {
        let attention = match event.signal {
            Signal::Asked { .. } => Attention::Directory,
            _ => Attention::Everyone,
        };
        self.append(emitted(from, event, attention), Some(found_at)).is_some()
    }

    /// Whether it is known what clients show, so that what they missed can be told them.
    pub fn repairs(&self) -> bool {
        self.shared.picture.is_some()
    }

    /// What clients were told of a session, as far as it is remembered.
    pub fn shown(&self, session: &SessionId) -> Shown {
        let Some(picture) = &self.shared.picture else { return Shown::default() };
        let events = picture.lock().of(session);
        Shown::read(&events)
    }

    /// The sessions of which clients show something that this server told, those that changed last first.
    pub fn told_by(&self, server: &str, most: usize) -> Vec<SessionId> {
        self.shared.picture.as_ref().map(|picture| picture.lock().told_by(server, most)).unwrap_or_default()
    }

    /// Publishes an event of our own making, to everyone whose stream holds events of its directory.
    pub fn announce(&self, own: Own) {
        let event = Event {
            seq: 0,
            server: None,
            global_only: own.directory.is_none(),
            directory: own.directory,
            attention: Attention::Everyone,
            session: own.session,
            kind: own.kind.into(),
            frame: own.frame,
            payload: own.payload,
        };
        self.append(event, None);
    }

    fn append(&self, event: Event, found_at: Option<u64>) -> Option<u64> {
        if let Some(journal) = &self.shared.journal
            && event.kind == DELETED
            && let Some(session) = &event.session
        {
            journal.erase(session.clone());
        }
        let position = self.shared.append(event, found_at);
        if position.is_some() {
            self.shared.news.notify_waiters();
        }
        position
    }

    /// Tells that events of this server were missed.
    pub fn missed(&self, server: &str) {
        if let Some(picture) = &self.shared.picture {
            picture.lock().missed(server);
        }
    }

    /// What there is to know of what is kept for those who come late or read slowly.
    pub fn picture(&self) -> PictureStatus {
        let (bytes, limit) = self.shared.picture.as_ref().map_or((0, 0), |picture| {
            let picture = picture.lock();
            (picture.bytes(), picture.limit())
        });
        PictureStatus {
            bytes,
            limit,
            conflated: self.shared.conflated.load(Ordering::Relaxed),
            lost: self.shared.lost.load(Ordering::Relaxed),
            hidden: self.shared.hidden.load(Ordering::Relaxed),
        }
    }

    /// Forgets what changed too long ago to be told to those who come late. To be called now and then.
    pub fn tidy(&self) {
        if let Some(picture) = &self.shared.picture {
            picture.lock().tidy(self.shared.now_ms());
        }
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
        let (past, end) = match judged {
            Some(Ok(_)) => (Vec::new(), end),
            Some(Err(_)) | None => self.shared.past(lane.view()),
        };
        let is_complete = !self.shared.is_incomplete.load(Ordering::Acquire);
        Subscription::new(self.shared.clone(), lane, Start { judged, past, end, servers, is_complete })
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

    /// How much the log holds, and how much it may.
    pub fn held(&self) -> (Limits, Limits) {
        let log = self.shared.log.read();
        (Limits { bytes: log.bytes(), events: log.len() }, log.limits())
    }

    /// Whether somebody listens who named `server`, or its directory, or has opened a session there.
    pub fn is_heard(&self, server: &str, directory: &str) -> bool {
        let mut lanes = self.shared.lanes.lock();
        lanes.retain(|_, lane| lane.strong_count() > 0);
        lanes.keys().any(|view| view.concerns(server, directory))
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
mod convergence;
mod past;
#[cfg(test)]
mod tests;
