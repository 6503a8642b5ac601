//! The journal: which number the next event gets, and what is kept of those that have one.
//!
//! The newest events are in the hub's log. Behind it one task, the [`Keeper`], reads the log like any subscriber and
//! appends to files in the state directory, many events at a time; so nothing ever waits for a disk. Whoever comes back
//! with a cursor reads files until the log has what comes next.
//!
//! Promises: no number is used twice, however a run ends; what is kept is bounded by bytes and by age; nothing of a
//! deleted session is told again or stays in the files. Leaves to others: what happened while we did not run.

mod entry;
mod erased;
mod files;
mod index;
mod keeper;
mod left;
mod numbers;
mod private;

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;
use thiserror::Error;
use tokio::{sync::Semaphore, task::spawn_blocking};

pub(super) use self::index::{Page, Place};
use self::{erased::Erased, files::Files, index::Index, numbers::Numbers};
pub use self::{files::Bounds, keeper::Keeper, left::Left};
use crate::{
    domain::ids::SessionId,
    events::{
        cursor::{Epoch, Reset},
        log::{Behind, Event},
    },
};

const NUMBERS: &str = "numbers";
const ERASED: &str = "erased";

/// How much is read at a time for one subscriber, in bytes of events.
const PAGE: usize = 256 << 10;

/// How much of what an earlier run left is read again at the start, in bytes of files.
const LEFT: u64 = 64 << 20;

/// How many subscribers are read for at one time. The rest wait for their turn, and nobody for them.
const READERS: usize = 2;

/// The journal in the state directory cannot be used.
#[derive(Debug, Error)]
#[error(
    "the journal in the state directory cannot be used: {0}; remove its directory, or set journal.persist = false"
)]
pub struct JournalError(#[from] io::Error);

/// Cheap to clone; all clones are one journal.
#[derive(Clone, Debug)]
pub struct Journal {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    numbers: Numbers,
    index: Arc<RwLock<Index>>,
    erased: Erased,
    limit: u64,
    readers: Arc<Semaphore>,
    restarts: AtomicU64,
    resumed: AtomicU64,
    resets: [AtomicU64; Reset::ALL.len()],
}

/// What there is to know about a journal from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Bytes of its files.
    pub bytes: u64,
    /// Their bound; nought if there are no files.
    pub limit: u64,
    /// Behind the last event in a file.
    pub end: u64,
    /// How often it began anew, since the disk was too slow.
    pub restarts: u64,
    /// Deleted sessions whose names are remembered, and how many may be.
    pub erased: (usize, usize),
    /// Deleted sessions whose names are forgotten too soon: too many were deleted.
    pub forgotten: u64,
    /// Subscribers that came back with a cursor and were told all they had missed.
    pub resumed: u64,
    /// Those that could not be, by [`Reset::ALL`].
    pub resets: [u64; Reset::ALL.len()],
}

impl Journal {
    /// One that keeps nothing but what is in the log, and ends with this process.
    pub fn in_memory() -> Self {
        Self::new(Numbers::fresh(), Arc::new(RwLock::new(Index::empty())), Erased::default(), 0)
    }

    /// The journal in `directory`, and who is to keep it. Numbers are reserved when this returns. Blocks on the file
    /// system.
    pub fn open(directory: &Path, bounds: Bounds) -> Result<(Self, Keeper), JournalError> {
        private::directory(directory)?;
        let (mut files, mut last) = Files::open(directory, bounds)?;
        let (mut erased, mut pending) = Erased::read(&directory.join(ERASED))?;
        let file = directory.join(NUMBERS);
        let numbers = match Numbers::read(&file, last)? {
            Some(numbers) => numbers,
            None => {
                files.begin_again(numbers::FIRST)?;
                (erased, pending) = (Erased::default(), false);
                last = None;
                Numbers::fresh()
            }
        };
        tracing::debug!(epoch = %numbers.epoch, base = numbers.base, last, clean = numbers.before, "journal opened");
        numbers.reserve(&file)?;
        files.begin(numbers.base);
        if pending {
            files.clean_all()?;
        }
        let journal = Self::new(numbers, files.index(), erased, bounds.bytes);
        let keeper = Keeper::new(journal.clone(), files, directory.to_owned(), bounds);
        Ok((journal, keeper))
    }

    /// Removes what a journal has left in `directory`.
    pub fn remove(directory: &Path) -> Result<(), JournalError> {
        Ok(Files::remove_all(directory)?)
    }

    fn new(numbers: Numbers, index: Arc<RwLock<Index>>, erased: Erased, limit: u64) -> Self {
        let readers = Arc::new(Semaphore::new(READERS));
        let (restarts, resumed, resets) = (AtomicU64::default(), AtomicU64::default(), Default::default());
        Self { inner: Arc::new(Inner { numbers, index, erased, limit, readers, restarts, resumed, resets }) }
    }

    /// Whether an earlier run's numbers go on, and if so whether it ended in order.
    pub fn before(&self) -> Option<bool> {
        self.inner.numbers.before
    }

    /// What an earlier run told in the `window` before its end, if its numbers go on. Blocks on the file system.
    pub fn left(&self, window: Duration) -> Option<Left> {
        self.before()?;
        let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        let mut left = left::left(&self.inner.index, window_ms, LEFT)?;
        left.events.retain(|event| !self.hides(event));
        Some(left)
    }

    /// What is counted.
    pub fn status(&self) -> Status {
        let inner = &self.inner;
        let index = inner.index.read();
        Status {
            bytes: index.bytes(),
            limit: inner.limit,
            end: index.end,
            restarts: inner.restarts.load(Ordering::Relaxed),
            erased: inner.erased.held(),
            forgotten: inner.erased.forgotten(),
            resumed: inner.resumed.load(Ordering::Relaxed),
            resets: Reset::ALL.map(|reset| inner.resets[reset as usize].load(Ordering::Relaxed)),
        }
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.inner.numbers.epoch
    }

    /// The first number of this run.
    pub(super) fn base(&self) -> u64 {
        self.inner.numbers.base
    }

    /// Where whoever sent this cursor goes on, while the log holds the events from `start` to `end`.
    pub(super) fn judge(&self, cursor: &str, start: u64, end: u64) -> Result<u64, Reset> {
        let first = {
            let index = self.inner.index.read();
            // Files that end before the log begins lack what lies between.
            if index.end < start { start } else { index.first.min(start) }
        };
        let judged = self.inner.numbers.judge(cursor, first, end);
        match judged {
            Ok(_) => self.inner.resumed.fetch_add(1, Ordering::Relaxed),
            Err(reset) => self.inner.resets[reset as usize].fetch_add(1, Ordering::Relaxed),
        };
        judged
    }

    /// Some of the events from `from` on that are in files.
    pub(super) async fn page(self, from: u64, place: Option<Place>) -> Result<Page, Behind> {
        // Neither is ever closed; were it so, nothing could be read.
        let Ok(turn) = Arc::clone(&self.inner.readers).acquire_owned().await else { return Err(Behind) };
        let reading = spawn_blocking(move || {
            let page = index::page(&self.inner.index, from, place, PAGE);
            drop(turn);
            page
        });
        reading.await.unwrap_or(Err(Behind))
    }

    /// The session was deleted: from now on nothing of it is told again, and soon nothing is left.
    pub(super) fn erase(&self, session: SessionId) {
        self.inner.erased.add(session, keeper::now_ms());
    }

    /// Whether the event is of a deleted session.
    pub(super) fn hides(&self, event: &Event) -> bool {
        self.inner.erased.hides(event)
    }
}

#[cfg(test)]
pub(super) mod tests;
