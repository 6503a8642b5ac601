//! Servers that are started where a request needs one and none runs.
//!
//! One flight for each directory: the first request starts `opencode serve` there, all that come meanwhile wait for it,
//! and what answers is a server as any other, with a password that nobody else knows. Nothing is started before a
//! request needs it, and what nobody uses any more is ended.
//!
//! Promises: only in directories that the configuration allows; never more than it allows; none outlives the daemon,
//! except after its violent death, and then the next start takes it over or ends it, by a file that is written before
//! the process begins. The password stands in that file and in the process's environment, nowhere else.
//!
//! Left to others: when a request needs a server (`crate::proxy`), what a server is (`crate::discovery`).

mod allowance;
mod book;
mod error;
mod flight;
mod idleness;
mod launch;
mod log;
mod process;
mod records;
mod supervision;
mod take_over;
mod tally;

pub use self::{error::SpawnError, tally::Counts};

use std::{path::PathBuf, sync::Arc};

use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    allowance::Allowance,
    book::{Book, Verdict},
    records::Records,
    tally::Tally,
};
use crate::{
    clock,
    config::Spawn,
    discovery::Door,
    machine::Machine,
    opencode::client::AgentClient,
    registry::{Registry, server::Server},
    state_dir::Shelf,
};

/// Who asks for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A request that needs one. After a failure it waits before another attempt is made.
    ByRequest,
    /// A person, who has perhaps mended what was wrong.
    ByHand,
}

/// Tells whether a client listens to what a server tells.
pub type Listened = Arc<dyn Fn(&Server) -> bool + Send + Sync>;

/// What starting works with.
pub struct Parts {
    /// How; `None`: not at all. What an earlier run left is ended even then.
    pub settings: Option<Spawn>,
    /// Where the records are kept.
    pub shelf: Shelf,
    /// What exists.
    pub registry: Arc<Registry>,
    /// What runs.
    pub machine: Arc<dyn Machine>,
    /// Asks for health.
    pub client: AgentClient,
    /// Where servers come in.
    pub door: Door,
    /// Whether somebody listens.
    pub listened: Listened,
}

/// What came of a flight.
type Outcome = Result<Arc<Server>, SpawnError>;

/// Where the outcome is waited for.
type Landing = watch::Receiver<Option<Outcome>>;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Spawner(Arc<Inner>);

struct Inner {
    parts: Parts,
    allowance: Allowance,
    book: Mutex<Book<Landing>>,
    records: Records,
    tally: Tally,
    runtime: Handle,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Spawner {
    /// Starts nothing. To be called within the runtime that is to look after the processes.
    pub fn new(parts: Parts) -> Self {
        let settings = parts.settings.as_ref();
        let allowance = Allowance::new(settings.map(|spawn| spawn.directories.clone()).unwrap_or_default());
        let book = Mutex::new(Book::new(settings.map_or(0, |spawn| spawn.limit)));
        let records = Records::open(parts.shelf.clone());
        Self(Arc::new(Inner {
            parts,
            allowance,
            book,
            records,
            tally: Tally::default(),
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }))
    }

    /// Whether servers are started at all.
    pub fn is_on(&self) -> bool {
        self.0.parts.settings.is_some()
    }

    /// What it has done, and what runs.
    pub fn counts(&self) -> Counts {
        let limit = self.0.parts.settings.as_ref().map_or(0, |spawn| spawn.limit);
        self.0.tally.counts(self.0.book.lock().running(), limit)
    }

    /// The server that was started in `directory`: one that runs, the one that others wait for, or a new one. Tells
    /// whether this call started it.
    pub async fn server(&self, directory: &str, asked: Asked) -> Result<(Arc<Server>, bool), SpawnError> {
        let Some(settings) = &self.0.parts.settings else { return Err(SpawnError::Off) };
        let directory = self.0.allowance.admit(directory).await?;
        let verdict = self.0.book.lock().ask(&directory, asked, clock::since_start());
        let (landing, is_new) = match verdict {
            Verdict::Begin => self.take_off(settings, directory)?,
            Verdict::Join(landing) => (landing, false),
            Verdict::Full => {
                self.0.tally.limited();
                return Err(SpawnError::Full { limit: settings.limit });
            }
            Verdict::Failed(error) => return Err(error),
            Verdict::Closed => return Err(SpawnError::Stopping),
        };
        Ok((landed(landing).await?, is_new))
    }

    /// Takes over what an earlier run left, or ends it. Done on return, or going on beside.
    pub async fn take_over(&self) {
        take_over::all(&self.0).await;
    }

    /// Ends every server that was started, and starts no more.
    pub async fn end(&self) {
        self.0.book.lock().close();
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Begins a flight, unless another has begun since the book was asked.
    fn take_off(&self, settings: &Spawn, directory: PathBuf) -> Result<(Landing, bool), SpawnError> {
        let (land, landing) = watch::channel(None);
        let mut book = self.0.book.lock();
        match book.begin(&directory, landing.clone()) {
            Verdict::Begin => {}
            Verdict::Join(other) => return Ok((other, false)),
            Verdict::Full => return Err(SpawnError::Full { limit: settings.limit }),
            Verdict::Failed(_) | Verdict::Closed => return Err(SpawnError::Stopping),
        }
        let flight = flight::fly(Arc::clone(&self.0), settings.clone(), directory, land);
        // Within the lock: whoever closes the book afterwards waits for this flight too.
        self.0.tasks.spawn_on(flight, &self.0.runtime);
        Ok((landing, true))
    }
}

async fn landed(mut landing: Landing) -> Outcome {
    match landing.wait_for(Option::is_some).await {
        Ok(outcome) => outcome.clone().unwrap_or(Err(SpawnError::Stopping)),
        Err(_) => Err(SpawnError::Stopping),
    }
}
