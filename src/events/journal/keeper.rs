//! The task that keeps what is told: a reader of the log whose client is the disk.

use std::{
    io,
    path::PathBuf,
    sync::atomic::Ordering,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Bounds, ERASED, Journal, NUMBERS, files::Files};
use crate::events::{hub::Hub, log::Gathered};

/// How long events are gathered before they are written together: a killed daemon has lost no more than that.
const GATHER: Duration = Duration::from_millis(10);

/// How much is written at a time, in bytes of events.
const MOST: usize = 1 << 20;

/// How long after a deletion the files are gone through.
pub(super) const SETTLE: Duration = Duration::from_secs(1);

/// How often the age of what is kept is looked at while nothing happens.
const LOOK: Duration = Duration::from_secs(30);

/// Keeps the events of one hub.
#[derive(Debug)]
pub struct Keeper {
    journal: Journal,
    files: Files,
    directory: PathBuf,
    bounds: Bounds,
    /// The next event to be kept.
    pub(super) position: u64,
    /// Which deletions have been written down.
    erasures: u64,
    cleaning: Cleaning,
}

/// How far the files are free of deleted sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cleaning {
    Done,
    /// Begins then: whoever deletes one session often deletes more.
    At(Instant),
    Going,
}

impl Keeper {
    pub(super) fn new(journal: Journal, files: Files, directory: PathBuf, bounds: Bounds) -> Self {
        let position = journal.base();
        let cleaning = if files.is_clean() { Cleaning::Done } else { Cleaning::Going };
        Self { journal, files, directory, bounds, position, erasures: 0, cleaning }
    }

    /// Keeps what `hub` tells until `stop`, and then the rest. An orderly end gives the unused numbers back, so nothing
    /// may be published any more when `stop` is cancelled.
    pub async fn run(mut self, hub: Hub, stop: CancellationToken) {
        loop {
            let news = hub.news();
            // Before the log, so that what was published before the end is still kept.
            let last = stop.is_cancelled();
            let batch = hub.gather(self.position, MOST);
            if batch.is_empty() && !self.is_behind() {
                if last {
                    break;
                }
                tokio::select! {
                    () = stop.cancelled() => continue,
                    () = sleep_until(self.next_look()) => {}
                    () = news => {
                        let _ = timeout(GATHER, stop.cancelled()).await;
                        continue;
                    }
                }
            }
            self = match self.blocking(move |keeper| keeper.keep(&batch)).await {
                Some(keeper) => keeper,
                None => return,
            };
        }
        drop(self.blocking(|keeper| keeper.end()).await);
    }

    /// Gives the numbers back that were not used.
    pub(super) fn end(&self) -> io::Result<()> {
        let numbers = &self.journal.inner.numbers;
        numbers.give_back(&self.directory.join(NUMBERS), self.position)
    }

    /// Does what blocks where that is allowed. `None` if it failed: then nothing more is kept.
    async fn blocking(
        mut self,
        work: impl FnOnce(&mut Self) -> io::Result<()> + Send + 'static,
    ) -> Option<Self> {
        let done = spawn_blocking(move || {
            let done = work(&mut self);
            (self, done)
        });
        match done.await {
            Ok((keeper, Ok(()))) => Some(keeper),
            Ok((keeper, Err(error))) => {
                tracing::error!(%error, "events are no longer kept for the next start; check the disk of the state directory");
                keeper.files.give_up();
                None
            }
            Err(error) => {
                tracing::error!(%error, "the journal ended badly");
                None
            }
        }
    }

    /// Whether there is something to do beside events.
    pub(super) fn is_behind(&self) -> bool {
        self.journal.inner.erased.revision() != self.erasures
            || match self.cleaning {
                Cleaning::Done => false,
                Cleaning::At(then) => then <= Instant::now(),
                Cleaning::Going => true,
            }
    }

    fn next_look(&self) -> Instant {
        let look = Instant::now() + LOOK;
        if let Cleaning::At(then) = self.cleaning { look.min(then) } else { look }
    }

    /// Keeps a batch, and does one piece of whatever else is to be done.
    pub(super) fn keep(&mut self, batch: &Gathered) -> io::Result<()> {
        let now_ms = now_ms();
        let erased = &self.journal.inner.erased;
        let revision = erased.revision();
        if revision != self.erasures {
            // Names first: should we die now, the next run knows what to take out.
            erased.forget_before(now_ms.saturating_sub(self.bounds.age_ms()));
            erased.write(&self.directory.join(ERASED), true)?;
            (self.erasures, self.cleaning) = (revision, Cleaning::At(Instant::now() + SETTLE));
        }
        if batch.lost {
            self.journal.inner.restarts.fetch_add(1, Ordering::Relaxed);
            tracing::warn!("the disk is too slow for the journal, which begins anew");
            self.files.begin_again(batch.from)?;
        }
        if batch.is_empty() {
            self.files.trim(now_ms)?;
        } else {
            self.files.append(&batch.events, erased, batch.to, now_ms)?;
            self.position = batch.to;
        }
        match self.cleaning {
            Cleaning::At(then) if then <= Instant::now() => {
                self.files.clean_all()?;
                self.cleaning = Cleaning::Going;
            }
            Cleaning::Going => {
                self.files.clean_one(erased)?;
                if self.files.is_clean() {
                    erased.write(&self.directory.join(ERASED), false)?;
                    self.cleaning = Cleaning::Done;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Now, in milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
