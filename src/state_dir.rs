//! The directory for what must survive a restart: private, and one daemon's at a time.
//!
//! The daemon holds the file `lock` locked for as long as it lives; the operating system lets go of it however the
//! process ends. `daemon.json` says who it is, for the client commands and for a second daemon's refusal.
//! What else lies in the directory is its owners' business.

mod shelf;

pub use self::shelf::Shelf;

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

const LOCK: &str = "lock";
const DAEMON: &str = "daemon.json";

/// An open state directory. Dropping it takes `daemon.json` away and then lets go of the lock.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

/// The daemon that uses a state directory, as `daemon.json` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Daemon {
    /// Its process.
    pub pid: u32,
    /// Where it answers, such as `http://127.0.0.1:4747`.
    pub url: String,
    /// When it began to, in milliseconds since 1970.
    pub started: u64,
}

/// Why a state directory cannot be used.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the sentences say it")]
pub enum StateDirError {
    #[error("the state directory {} cannot be used: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the state directory {} is a file; name a directory with --state-dir", path.display())]
    NotADirectory { path: PathBuf },
    #[error("the state directory {} belongs to another user; name one of your own with --state-dir", path.display())]
    Foreign { path: PathBuf },
    #[error(
        "the state directory {} can be written by other users; run chmod 700 on it or name another with --state-dir",
        path.display()
    )]
    Writable { path: PathBuf },
    #[error(
        "the state directory {} is in use by {user}; stop that one or name another directory with --state-dir",
        path.display()
    )]
    InUse { path: PathBuf, user: User },
}

/// Who uses a locked directory, as far as it told.
#[derive(Debug, PartialEq, Eq)]
pub enum User {
    /// A daemon that answers.
    Daemon(Daemon),
    /// A daemon that has not begun to answer.
    Starting {
        /// Its process.
        pid: u32,
    },
    /// Some process.
    Unknown,
}

impl std::fmt::Display for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Daemon(Daemon { pid, url, .. }) => write!(f, "the pointsman with pid {pid} at {url}"),
            Self::Starting { pid } => write!(f, "the pointsman with pid {pid}, which is starting"),
            Self::Unknown => f.write_str("another process"),
        }
    }
}

impl StateDir {
    /// Opens the directory at `path` for this process alone, and makes it (0700, parents included) if need be.
    /// Blocks on the file system and on nothing else.
    pub fn open(path: &Path) -> Result<Self, StateDirError> {
        let failed = |source| StateDirError::Io { path: path.to_owned(), source };
        if path.exists() && !path.is_dir() {
            return Err(StateDirError::NotADirectory { path: path.to_owned() });
        }
        access::create_private(path).map_err(failed)?;
        access::check(path)?;

        let mut options = OpenOptions::new();
        // Not truncated: until it is locked its text is another daemon's.
        options.read(true).write(true).create(true).truncate(false);
        access::private(&mut options);
        let mut lock = options.open(path.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StateDirError::InUse { path: path.to_owned(), user: user_of(path, &mut lock) });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let own = |lock: &mut File| {
            lock.set_len(0)?;
            lock.rewind()?;
            writeln!(lock, "{}", std::process::id())?;
            // One that was killed has left its own.
            remove_if_there(&path.join(DAEMON))
        };
        own(&mut lock).map_err(failed)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells client commands where this daemon answers. To be called once the address is bound.
    pub fn announce(&self, url: &str) -> Result<(), StateDirError> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let started = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let daemon = Daemon { pid: std::process::id(), url: url.to_owned(), started };
        self.put(DAEMON, &daemon)
    }

    /// Writes `what` as JSON into the file `name`, for its owner alone (0600). Whoever reads it sees the old file or the
    /// new one, never a half.
    pub fn put(&self, name: &str, what: &impl Serialize) -> Result<(), StateDirError> {
        self.shelf().put(name, what).map_err(|source| StateDirError::Io { path: self.path.clone(), source })
    }

    /// The means to keep files here, for somebody who does not outlive this.
    pub fn shelf(&self) -> Shelf {
        Shelf::new(self.path.clone())
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        // Left behind it would mislead only until the next start; there is nobody to tell.
        let _ = remove_if_there(&self.path.join(DAEMON));
    }
}

/// The daemon that says it uses the directory at `path`. One that was killed may still be named.
pub fn announced(path: &Path) -> Option<Daemon> {
    serde_json::from_slice(&fs::read(path.join(DAEMON)).ok()?).ok()
}

fn user_of(path: &Path, lock: &mut File) -> User {
    if let Some(daemon) = announced(path) {
        return User::Daemon(daemon);
    }
    let mut text = String::new();
    // A pid has ten digits at most; where a locked file cannot be read, nobody is named.
    match lock.take(16).read_to_string(&mut text).map(|_| text.trim().parse()) {
        Ok(Ok(pid)) => User::Starting { pid },
        _ => User::Unknown,
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Owners and permission bits, where there are any.
#[cfg(unix)]
mod access {
    use std::{
        fs::{self, DirBuilder, OpenOptions, Permissions},
        io,
        os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
        path::Path,
    };

    use super::StateDirError;

    const OTHERS_WRITE: u32 = 0o022;

    pub(super) fn create_private(path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    pub(super) fn private(options: &mut OpenOptions) {
        options.mode(0o600);
    }

    /// Refuses what others could have prepared, and shuts out who could only read.
    pub(super) fn check(path: &Path) -> Result<(), StateDirError> {
        let failed = |source| StateDirError::Io { path: path.to_owned(), source };
        let found = fs::metadata(path).map_err(failed)?;
        if found.uid() != rustix::process::geteuid().as_raw() {
            return Err(StateDirError::Foreign { path: path.to_owned() });
        }
        if found.mode() & OTHERS_WRITE != 0 {
            return Err(StateDirError::Writable { path: path.to_owned() });
        }
        if found.mode() & 0o777 != 0o700 {
            fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed)?;
        }
        Ok(())
    }
}

/// The user's profile is private by inheritance.
#[cfg(not(unix))]
mod access {
    use std::{
        fs::{self, OpenOptions},
        io,
        path::Path,
    };

    use super::StateDirError;

    pub(super) fn create_private(path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    pub(super) fn private(_: &mut OpenOptions) {}

    #[expect(clippy::unnecessary_wraps, reason = "the Unix twin refuses")]
    pub(super) fn check(_: &Path) -> Result<(), StateDirError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_daemon_is_told_who_is_there_first() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/state");
        let first = StateDir::open(&path).unwrap();
        let told = StateDir::open(&path).unwrap_err().to_string();
        assert!(told.contains(&format!("pid {}, which is starting", std::process::id())), "{told}");
        first.announce("http://127.0.0.1:4747").unwrap();
        let told = StateDir::open(&path).unwrap_err().to_string();
        let expected = format!("the pointsman with pid {} at http://127.0.0.1:4747", std::process::id());
        assert!(told.contains(&expected), "{told}");
    }

    #[test]
    fn a_directory_is_free_again_when_its_daemon_has_gone() {
        let home = tempfile::tempdir().unwrap();
        let first = StateDir::open(home.path()).unwrap();
        first.announce("http://127.0.0.1:1").unwrap();
        assert_eq!(announced(home.path()).unwrap().url, "http://127.0.0.1:1");
        drop(first);
        assert_eq!(announced(home.path()), None);
        StateDir::open(home.path()).unwrap();
    }

    #[test]
    fn what_a_killed_daemon_left_is_cleared_away() {
        let home = tempfile::tempdir().unwrap();
        for name in [DAEMON, "daemon.json.new"] {
            fs::write(home.path().join(name), r#"{"pid":1,"url":"http://127.0.0.1:1","started":1}"#).unwrap();
        }
        let state = StateDir::open(home.path()).unwrap();
        assert_eq!(announced(home.path()), None);
        state.announce("http://127.0.0.1:2").unwrap();
        state.announce("http://127.0.0.1:3").unwrap();
        assert_eq!(announced(home.path()).unwrap().url, "http://127.0.0.1:3");
    }

    #[test]
    fn nonsense_in_the_files_is_nobody() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(DAEMON), "{").unwrap();
        assert_eq!(announced(home.path()), None);
        let _held = StateDir::open(home.path()).unwrap();
        fs::write(home.path().join(LOCK), "no pid").unwrap();
        let told = StateDir::open(home.path()).unwrap_err();
        assert!(matches!(told, StateDirError::InUse { user: User::Unknown, .. }), "{told}");
    }

    #[test]
    fn a_file_is_no_state_directory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(StateDir::open(file.path()), Err(StateDirError::NotADirectory { .. })));
    }

    #[cfg(unix)]
    mod on_unix {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

        use super::*;

        fn mode(path: &Path) -> u32 {
            fs::metadata(path).unwrap().mode() & 0o777
        }

        fn set(path: &Path, mode: u32) {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }

        #[test]
        fn directory_and_files_are_for_their_owner_alone() {
            let home = tempfile::tempdir().unwrap();
            let path = home.path().join("state");
            let state = StateDir::open(&path).unwrap();
            state.announce("http://127.0.0.1:4747").unwrap();
            assert_eq!(mode(&path), 0o700);
            assert_eq!(mode(&path.join(LOCK)), 0o600);
            assert_eq!(mode(&path.join(DAEMON)), 0o600);
        }

        #[test]
        fn a_directory_others_can_write_is_refused_and_one_they_can_read_is_shut() {
            let home = tempfile::tempdir().unwrap();
            for open in [0o777, 0o770, 0o702] {
                set(home.path(), open);
                assert!(
                    matches!(StateDir::open(home.path()), Err(StateDirError::Writable { .. })),
                    "{open:o}"
                );
            }
            set(home.path(), 0o755);
            StateDir::open(home.path()).unwrap();
            assert_eq!(mode(home.path()), 0o700);
        }

        #[test]
        fn a_directory_of_another_user_is_refused() {
            let home = tempfile::tempdir().unwrap();
            // Giving a directory away takes root; without it the root directory is another user's.
            let given = rustix::process::geteuid().is_root();
            let path = if given { home.path() } else { Path::new("/") };
            if given {
                std::os::unix::fs::chown(path, Some(12_345), None).unwrap();
            }
            assert!(matches!(StateDir::open(path), Err(StateDirError::Foreign { .. })));
        }
    }
}
