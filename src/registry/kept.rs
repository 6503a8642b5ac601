//! Claims that outlive a restart of ours.
//!
//! What a server owned by `routed` or stronger evidence, and what was chosen for want of evidence, counts again after
//! a restart if that very process still runs: the server's id stands in each key, and the id names one process.
//! `busy` and `viewing` are learned anew. The directories in use of a server are kept beside its claims.
//!
//! Writes go to one thread in the order given, many in one batch. They are handed to the operating system, not forced
//! to the disk: a killed daemon loses none that [`Kept::settled`] has waited for, a lost machine has no processes
//! left to own anything. Where they come faster than they are written, what streams prove is left out and counted: a
//! restart learns it anew.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use thiserror::Error;
use tokio::sync::oneshot;

use super::server::ServerId;
use crate::domain::{evidence::Evidence, ids::SessionId};

/// How many writes go into one batch. One is a few dozen bytes; a batch stays far below a page of the journal.
const BATCH: usize = 1024;

/// How many writes may wait before what streams prove is left out: some 10 MiB.
const MOST_WAITING: usize = 65_536;

/// The kept claims cannot be read or written.
#[derive(Debug, Error)]
#[error("the kept claims in the state directory cannot be {what}: {source}")]
pub struct KeptError {
    what: &'static str,
    source: fjall::Error,
}

/// One kept claim of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptClaim {
    /// The session claimed.
    pub session: SessionId,
    /// By what evidence.
    pub evidence: Evidence,
    /// Since when, in milliseconds since 1970.
    pub at_ms: u64,
}

/// What was kept of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptServer {
    /// Its claims.
    pub claims: Vec<KeptClaim>,
    /// The directories it had in use: what waits in them must be found again.
    pub directories: Vec<Arc<str>>,
}

/// What an earlier run kept, by server. Each is taken once, when its server is met again.
pub type Remembered = HashMap<ServerId, KeptServer>;

/// A handle to the writing thread; cheap to clone. The thread ends with its last handle.
#[derive(Clone, Debug)]
pub struct Kept {
    writes: mpsc::Sender<Write>,
    waiting: Arc<Waiting>,
}

/// The writes that were given and have not reached the operating system.
#[derive(Debug, Default)]
struct Waiting {
    writes: AtomicUsize,
    left_out: AtomicU64,
    is_full: AtomicBool,
}

/// How far the writing is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptStatus {
    /// How many writes wait.
    pub waiting: usize,
    /// At how many of them claims begin to be left out.
    pub limit: usize,
    /// How many claims were.
    pub left_out: u64,
}

#[derive(Debug)]
enum Write {
    Put { key: Vec<u8>, at_ms: u64 },
    Directory { key: Vec<u8> },
    Remove { key: Vec<u8> },
    Forget { server: ServerId },
    Settled(oneshot::Sender<()>),
}

impl Kept {
    /// Opens or creates the database in `directory` and reads what an earlier run left there.
    pub fn open(directory: &Path) -> Result<(Self, Remembered), KeptError> {
        let opened = |source| KeptError { what: "opened", source };
        let database = Database::builder(directory).open().map_err(opened)?;
        let claims = database.keyspace("claims", KeyspaceCreateOptions::default).map_err(opened)?;
        let remembered = read(&claims).map_err(|source| KeptError { what: "read", source })?;
        let (writes, receiver) = mpsc::channel();
        let waiting = Arc::<Waiting>::default();
        thread::Builder::new()
            .name(String::from("kept-claims"))
            .spawn({
                let waiting = Arc::clone(&waiting);
                move || write_all(&database, &claims, &receiver, &waiting)
            })
            .map_err(|error| KeptError { what: "written", source: error.into() })?;
        Ok((Self { writes, waiting }, remembered))
    }

    /// Keeps a claim, or its newer time.
    pub fn put(&self, server: &ServerId, session: &SessionId, evidence: Evidence, at_ms: u64) {
        if !self.waiting.admits(evidence) {
            return;
        }
        self.write(Write::Put { key: key(server, session, evidence), at_ms });
    }

    /// Keeps that a server has `directory` in use.
    pub fn put_directory(&self, server: &ServerId, directory: &str) {
        self.write(Write::Directory { key: [server.0.as_bytes(), directory.as_bytes()].join(&0) });
    }

    /// Forgets one claim.
    pub fn remove(&self, server: &ServerId, session: &SessionId, evidence: Evidence) {
        self.write(Write::Remove { key: key(server, session, evidence) });
    }

    /// Forgets every claim of a server that has gone.
    pub fn forget(&self, server: &ServerId) {
        self.write(Write::Forget { server: server.clone() });
    }

    /// Waits until everything given before has been written, and so survives our own death. Most turns renew a claim
    /// that is kept already; they find nothing to wait for and do not disturb the thread.
    pub async fn settled(&self) {
        // Whoever has given a write has also counted it, so that a zero seen after it says that it was written.
        if self.waiting.writes.load(Ordering::Acquire) == 0 {
            return;
        }
        let (done, settled) = oneshot::channel();
        self.write(Write::Settled(done));
        // An error says that the writing thread has ended, which it has reported itself.
        let _ = settled.await;
    }

    /// How far the writing is behind.
    pub fn status(&self) -> KeptStatus {
        KeptStatus {
            waiting: self.waiting.writes.load(Ordering::Relaxed),
            limit: MOST_WAITING,
            left_out: self.waiting.left_out.load(Ordering::Relaxed),
        }
    }

    fn write(&self, write: Write) {
        self.waiting.writes.fetch_add(1, Ordering::Relaxed);
        // Fails only after the writing thread has ended, which it has reported itself.
        let _ = self.writes.send(write);
    }
}

impl Waiting {
    /// Whether there is room for a claim. Only streams bring more than anybody waits for.
    fn admits(&self, evidence: Evidence) -> bool {
        if evidence != Evidence::Emitted || self.writes.load(Ordering::Relaxed) < MOST_WAITING {
            return true;
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        if !self.is_full.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                waiting = MOST_WAITING,
                "claims come faster than they are written: some will not be known after a restart; is the disk of the \
                 state directory slow?"
            );
        }
        false
    }

    fn written(&self, count: usize) {
        let before = self.writes.fetch_sub(count, Ordering::Release);
        if before - count < MOST_WAITING / 2 {
            self.is_full.store(false, Ordering::Relaxed);
        }
    }
}

/// Whether claims by this evidence are kept.
pub fn is_kept(evidence: Evidence) -> bool {
    match evidence {
        Evidence::Pinned | Evidence::Emitted | Evidence::Succeeded | Evidence::Routed | Evidence::Chosen => {
            true
        }
        Evidence::Busy
        | Evidence::Viewing
        | Evidence::Inherited
        | Evidence::StartedWith
        | Evidence::Listed => false,
    }
}

/// `<server id> 0 <session id> 0 <evidence>`: all claims of one server stand together. Its directories stand among
/// them, as `<server id> 0 <directory>`: no path holds a 0.
fn key(server: &ServerId, session: &SessionId, evidence: Evidence) -> Vec<u8> {
    [server.0.as_bytes(), session.as_str().as_bytes(), evidence.as_str().as_bytes()].join(&0)
}

fn parse(key: &[u8], value: &[u8], remembered: &mut Remembered) -> Option<()> {
    let mut parts = std::str::from_utf8(key).ok()?.split('\0');
    let (server, subject) = (parts.next()?, parts.next()?);
    let server = ServerId(server.into());
    let Some(evidence) = parts.next() else {
        remembered.entry(server).or_default().directories.push(subject.into());
        return Some(());
    };
    let evidence = Evidence::ALL.into_iter().find(|known| known.as_str() == evidence)?;
    let claim = KeptClaim {
        session: SessionId::try_new(subject).ok()?,
        evidence,
        at_ms: u64::from_be_bytes(value.try_into().ok()?),
    };
    remembered.entry(server).or_default().claims.push(claim);
    Some(())
}

fn read(claims: &Keyspace) -> fjall::Result<Remembered> {
    let mut remembered = Remembered::new();
    for entry in claims.iter() {
        let (key, value) = entry.into_inner()?;
        if parse(&key, &value, &mut remembered).is_none() {
            // Written by another version. It says nothing we could use; leaving it costs nothing.
            tracing::debug!(key = ?key, "kept claim not understood");
        }
    }
    Ok(remembered)
}

fn write_all(database: &Database, claims: &Keyspace, writes: &mpsc::Receiver<Write>, waiting: &Waiting) {
    while let Ok(first) = writes.recv() {
        let rest = std::iter::from_fn(|| writes.try_recv().ok());
        let together: Vec<Write> = std::iter::once(first).chain(rest.take(BATCH)).collect();
        let count = together.len();
        if let Err(error) = write_batch(database, claims, together) {
            tracing::error!(%error, "claims are no longer kept for the next start; check the disk of the state directory");
            return;
        }
        waiting.written(count);
    }
}

fn write_batch(database: &Database, claims: &Keyspace, writes: Vec<Write>) -> fjall::Result<()> {
    let mut batch = database.batch().durability(Some(PersistMode::Buffer));
    let mut waiting = Vec::new();
    for write in writes {
        match write {
            Write::Put { key, at_ms } => batch.insert(claims, key, at_ms.to_be_bytes()),
            Write::Directory { key } => batch.insert(claims, key, []),
            Write::Remove { key } => batch.remove(claims, key),
            Write::Forget { server } => {
                // What this batch has put for the server is written first, so that it is found and removed as well.
                std::mem::replace(&mut batch, database.batch().durability(Some(PersistMode::Buffer)))
                    .commit()?;
                let prefix = [server.0.as_bytes(), &[0]].concat();
                for entry in claims.prefix(prefix) {
                    batch.remove(claims, entry.key()?);
                }
            }
            Write::Settled(done) => waiting.push(done),
        }
    }
    batch.commit()?;
    for done in waiting {
        // Who no longer waits does not mind.
        let _ = done.send(());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(text: &str) -> SessionId {
        SessionId::try_new(text).unwrap()
    }

    #[test]
    fn what_streams_prove_is_left_out_while_too_much_waits_and_nothing_else_is() {
        let waiting = Waiting::default();
        waiting.writes.store(MOST_WAITING - 1, Ordering::Relaxed);
        assert!(waiting.admits(Evidence::Emitted));
        waiting.writes.store(MOST_WAITING, Ordering::Relaxed);
        assert!(!waiting.admits(Evidence::Emitted) && !waiting.admits(Evidence::Emitted));
        assert!(
            waiting.admits(Evidence::Routed) && waiting.admits(Evidence::Pinned),
            "somebody waits for those"
        );
        assert_eq!(waiting.left_out.load(Ordering::Relaxed), 2);
        waiting.written(1);
        assert!(waiting.admits(Evidence::Emitted) && waiting.is_full.load(Ordering::Relaxed));
        waiting.written(MOST_WAITING / 2);
        assert!(!waiting.is_full.load(Ordering::Relaxed), "the next time is told again");
    }

    #[tokio::test]
    async fn what_was_put_is_remembered_by_the_next_run_and_what_was_forgotten_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let (one, two) = (ServerId("one".into()), ServerId("two".into()));
        {
            let (kept, remembered) = Kept::open(directory.path()).unwrap();
            assert!(remembered.is_empty());
            kept.put(&one, &session("ses_a"), Evidence::Routed, 1);
            kept.put(&one, &session("ses_a"), Evidence::Routed, 7);
            kept.put(&one, &session("ses_b"), Evidence::Emitted, 2);
            kept.put(&two, &session("ses_a"), Evidence::Emitted, 3);
            kept.put_directory(&one, "/a b/ü");
            kept.put_directory(&two, "/gone");
            kept.remove(&one, &session("ses_b"), Evidence::Emitted);
            kept.forget(&two);
            kept.settled().await;
        }
        let mut reopened = Kept::open(directory.path());
        // The writing thread of the first run may hold the lock for a moment longer.
        for _ in 0..100 {
            if reopened.is_ok() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            reopened = Kept::open(directory.path());
        }
        let (_kept, remembered) = reopened.unwrap();
        let expected = KeptClaim { session: session("ses_a"), evidence: Evidence::Routed, at_ms: 7 };
        let expected = KeptServer { claims: vec![expected], directories: vec!["/a b/ü".into()] };
        assert_eq!(remembered, Remembered::from([(one, expected)]));
    }
}
