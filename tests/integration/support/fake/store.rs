//! The session table that several fake servers share, as real ones share one database.

use std::{
    collections::BTreeMap,
    io::Write,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use rand::{Rng, distr::Alphanumeric};
use serde_json::{Value, json};
use tempfile::TempDir;

/// One store. Cheap to clone; its identity towards the daemon is the file that
/// the processes of its servers hold open; without processes, `home` and `state` of `/path`.
#[derive(Clone)]
pub struct FakeStore {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) home: String,
    /// What servers with a process of their own need to exist; empty until one does.
    files: OnceLock<TempDir>,
    pub(super) sessions: Mutex<BTreeMap<String, FakeSession>>,
    projects: Mutex<BTreeMap<String, String>>,
    /// Next `seq` of each session, counted over all servers of the store.
    sequences: Mutex<BTreeMap<String, u64>>,
}

/// One row.
#[derive(Clone, Debug)]
pub struct FakeSession {
    pub id: String,
    pub directory: String,
    pub title: String,
    pub parent: Option<String>,
    pub created: u64,
    pub updated: u64,
    /// `[{"info":…,"parts":[…]},…]`, oldest first.
    pub messages: Vec<Value>,
}

impl FakeStore {
    pub fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let home = format!("/fake/home-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        Self {
            inner: Arc::new(Inner {
                home,
                files: OnceLock::new(),
                sessions: Mutex::default(),
                projects: Mutex::default(),
                sequences: Mutex::default(),
            }),
        }
    }

    /// A directory that exists, for a server with a process of its own. The same name gives the same one.
    pub fn directory(&self, name: &str) -> String {
        let path = self.files().join("projects").join(name);
        std::fs::create_dir_all(&path).expect("a directory can be made");
        path.to_str().expect("temporary directories have plain names").to_owned()
    }

    /// The file that processes of this store hold open.
    pub(super) fn database(&self) -> PathBuf {
        self.files().join("opencode.db")
    }

    /// The program that processes of this store run.
    pub(super) fn program(&self) -> PathBuf {
        self.files().join("opencode")
    }

    /// Every write shows in the file, as it does in a real store's.
    fn written(&self) {
        let Some(files) = self.inner.files.get() else { return };
        let file = std::fs::OpenOptions::new().append(true).open(files.path().join("opencode.db"));
        file.and_then(|mut file| file.write_all(b"\n")).expect("writable");
    }

    fn files(&self) -> PathBuf {
        let directory = self.inner.files.get_or_init(|| {
            let directory = TempDir::with_prefix("pointsman-store-").expect("a temporary directory");
            std::fs::write(directory.path().join("opencode.db"), []).expect("writable");
            let own = std::env::current_exe().expect("the test program has a path");
            std::os::unix::fs::symlink(own, directory.path().join("opencode")).expect("writable");
            directory
        });
        // As `/proc` shows it, whatever links lead to the temporary directory.
        directory.path().canonicalize().expect("it exists")
    }

    /// Adds a row as another process would: no server says anything about it.
    pub fn insert(&self, session: FakeSession) -> FakeSession {
        self.inner.sessions.lock().insert(session.id.clone(), session.clone());
        self.written();
        session
    }

    /// A new row in `directory`, made now.
    pub fn insert_new(&self, directory: &str) -> FakeSession {
        self.insert(FakeSession::new(directory))
    }

    pub fn get(&self, id: &str) -> Option<FakeSession> {
        self.inner.sessions.lock().get(id).cloned()
    }

    pub fn remove(&self, id: &str) -> Option<FakeSession> {
        let removed = self.inner.sessions.lock().remove(id);
        self.written();
        removed
    }

    pub fn len(&self) -> usize {
        self.inner.sessions.lock().len()
    }

    /// Changes a row in place, without any event.
    pub fn edit(&self, id: &str, change: impl FnOnce(&mut FakeSession)) {
        if let Some(session) = self.inner.sessions.lock().get_mut(id) {
            change(session);
        }
        self.written();
    }

    /// Puts directories into one project; otherwise each is a project of its own.
    pub fn set_project(&self, directory: &str, project: &str) {
        self.inner.projects.lock().insert(directory.to_owned(), project.to_owned());
    }

    pub fn project_of(&self, directory: &str) -> String {
        if let Some(project) = self.inner.projects.lock().get(directory) {
            return project.clone();
        }
        // FNV-1a: any stable text will do, it only has to look like a commit.
        let hash = directory.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{hash:016x}{hash:016x}{:08x}", hash >> 32)
    }

    pub(super) fn rows(&self) -> Vec<FakeSession> {
        self.inner.sessions.lock().values().cloned().collect()
    }

    pub(super) fn next_sequence(&self, session: &str) -> u64 {
        let mut sequences = self.inner.sequences.lock();
        let next = sequences.entry(session.to_owned()).or_default();
        *next += 1;
        *next - 1
    }

    /// Lets the next `seq` of a session jump, as if another process had written.
    pub fn skip_sequence(&self, session: &str, by: u64) {
        *self.inner.sequences.lock().entry(session.to_owned()).or_default() += by;
    }

    pub(super) fn state(&self) -> String {
        format!("{}/.local/state/opencode", self.inner.home)
    }
}

impl FakeSession {
    pub fn new(directory: &str) -> Self {
        let now = now_ms();
        Self::created_at(directory, now)
    }

    /// A row whose id, like a real one, tells when it was made.
    pub fn created_at(directory: &str, created: u64) -> Self {
        Self {
            id: session_id(created),
            directory: directory.to_owned(),
            title: format!("New session - {created}"),
            parent: None,
            created,
            updated: created,
            messages: Vec::new(),
        }
    }

    /// As `/session` writes it.
    pub(super) fn to_v1(&self, store: &FakeStore) -> Value {
        let mut row = json!({
            "id": self.id, "slug": "fake-session", "projectID": store.project_of(&self.directory),
            "directory": self.directory, "path": "", "cost": 0, "tokens": no_tokens(), "title": self.title,
            "version": super::VERSION, "time": {"created": self.created, "updated": self.updated},
        });
        if let Some(parent) = &self.parent {
            row["parentID"] = json!(parent);
        }
        row
    }

    /// As `/api/session` writes it.
    pub(super) fn to_v2(&self, store: &FakeStore) -> Value {
        let mut row = json!({
            "id": self.id, "projectID": store.project_of(&self.directory), "cost": 0, "tokens": no_tokens(),
            "time": {"created": self.created, "updated": self.updated}, "title": self.title,
            "location": {"directory": self.directory},
        });
        if let Some(parent) = &self.parent {
            row["parentID"] = json!(parent);
        }
        row
    }
}

pub(super) fn no_tokens() -> Value {
    json!({"input": 0, "output": 0, "reasoning": 0, "cache": {"read": 0, "write": 0}})
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    u64::try_from(now.as_millis()).expect("before the year 500 million")
}

/// A session id made at `created`: the complement of the time first, so that newer ids sort first.
pub fn session_id(created: u64) -> String {
    format!("ses_{:012x}{}", !ticks(created) & 0xffff_ffff_ffff, tail())
}

/// An id of another kind, such as `msg` or `per`, made now.
pub fn new_id(prefix: &str) -> String {
    format!("{prefix}_{:012x}{}", ticks(now_ms()) & 0xffff_ffff_ffff, tail())
}

/// The counter keeps ids of one millisecond apart and in order.
fn ticks(ms: u64) -> u64 {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    ms * 4096 + COUNTER.fetch_add(1, Ordering::Relaxed) % 4096
}

fn tail() -> String {
    rand::rng().sample_iter(Alphanumeric).take(14).map(char::from).collect()
}
