//! One process as `/proc` shows it.
//!
//! Its files are read through one open `/proc/<pid>`, so that a number given to a new process half-way yields an
//! error, never a mixture of two.

use std::{
    collections::HashSet,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use procfs::process::{self, FDTarget, Stat};

use crate::machine::{Process, SocketId, StoreFile};

/// How much of a command line is read. An `opencode run` may carry a whole document as its prompt; what we look for
/// stands before it or within a few words of it.
const LONGEST_COMMAND_LINE: u64 = 32 * 1024;

/// What the kernel adds to the path of something that has been unlinked.
const UNLINKED: &str = " (deleted)";

/// A process that had not ended when it was looked up; a zombie keeps its number and nothing else.
pub(super) struct Running {
    entry: process::Process,
    uid: u32,
    stat: Stat,
}

impl Running {
    /// All processes of the users that `wanted` accepts.
    pub(super) fn all(wanted: impl Fn(u32) -> bool) -> impl Iterator<Item = Self> {
        let entries = process::all_processes().into_iter().flatten().flatten();
        entries.filter_map(move |entry| Self::of(entry, &wanted))
    }

    /// The process with this number.
    pub(super) fn open(pid: u32) -> Option<Self> {
        let entry = process::Process::new(i32::try_from(pid).ok()?).ok()?;
        Self::of(entry, |_| true)
    }

    fn of(entry: process::Process, wanted: impl Fn(u32) -> bool) -> Option<Self> {
        let uid = entry.uid().ok().filter(|uid| wanted(*uid))?;
        let stat = entry.stat().ok().filter(|stat| !matches!(stat.state, 'Z' | 'X' | 'x'))?;
        Some(Self { entry, uid, stat })
    }

    /// Its short name.
    pub(super) fn name(&self) -> &str {
        &self.stat.comm
    }

    /// When it started, in clock ticks since boot.
    pub(super) fn started(&self) -> u64 {
        self.stat.starttime
    }

    /// The command line with its empty words, which `procfs` leaves out: `--prompt ""` must stay two words.
    pub(super) fn args(&self) -> Vec<String> {
        let mut bytes = Vec::new();
        let file = self.entry.open_relative("cmdline");
        let read = file.map(|file| file.take(LONGEST_COMMAND_LINE).read_to_end(&mut bytes));
        if !matches!(read, Ok(Ok(_))) || bytes.is_empty() {
            return Vec::new();
        }
        let words = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
        words.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
    }

    /// What it has open; nothing where we may not look.
    pub(super) fn open_files(&self) -> OpenFiles {
        let mut files = OpenFiles::default();
        for file in self.entry.fd().into_iter().flatten().flatten() {
            match file.target {
                FDTarget::Socket(inode) => {
                    files.sockets.insert(SocketId(inode));
                }
                FDTarget::Path(path) if files.store.is_none() => {
                    files.store = store_file(self.entry.pid(), file.fd, path);
                }
                _ => {}
            }
        }
        files
    }

    /// All there is to say of it.
    pub(super) fn describe(&self, store: Option<StoreFile>) -> Process {
        Process {
            pid: self.entry.pid().cast_unsigned(),
            parent: u32::try_from(self.stat.ppid).ok().filter(|parent| *parent > 1),
            started: self.started(),
            uid: Some(self.uid),
            name: self.stat.comm.clone(),
            args: self.args(),
            cwd: self.entry.cwd().ok().map(without_mark),
            store,
        }
    }
}

/// What a process has open, as far as it matters here.
#[derive(Default)]
pub(super) struct OpenFiles {
    sockets: HashSet<SocketId>,
    pub(super) store: Option<StoreFile>,
}

impl OpenFiles {
    /// Which of `wanted` are among them.
    pub(super) fn among(&self, wanted: &HashSet<SocketId>) -> Vec<SocketId> {
        self.sockets.intersection(wanted).copied().collect()
    }
}

fn store_file(pid: i32, fd: i32, path: PathBuf) -> Option<StoreFile> {
    let path = without_mark(path);
    if !is_store(&path) {
        return None;
    }
    // Through the descriptor, not by its path: the file may be unlinked or of another mount namespace.
    let file = std::fs::metadata(format!("/proc/{pid}/fd/{fd}")).ok()?;
    Some(StoreFile { device: file.dev(), inode: file.ino(), path })
}

/// `opencode.db`, or `opencode-<channel>.db` of a preview build.
fn is_store(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".db"));
    name.is_some_and(|name| name == "opencode" || name.starts_with("opencode-"))
}

/// The path without the kernel's mark, unless something is really called so.
fn without_mark(path: PathBuf) -> PathBuf {
    match path.to_str().and_then(|text| text.strip_suffix(UNLINKED)) {
        Some(plain) if !path.exists() => plain.into(),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn empty_words_of_a_command_line_are_kept() {
        let mut child = Command::new("sh")
            .args(["-c", "echo; read line", "opencode", "", "é", ""])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // A process just started has no command line yet; one that has written a line has.
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        let read = Running::open(child.id()).unwrap().args();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(read, ["sh", "-c", "echo; read line", "opencode", "", "é", ""]);
    }

    #[test]
    fn a_store_is_told_by_its_file_name() {
        for (path, is) in [
            ("/d/opencode.db", true),
            ("/d/opencode-dev.db", true),
            ("/d/opencode.db-wal", false),
            ("/d/opencode.db-shm", false),
            ("/d/other.db", false),
            ("/opencode.db/x", false),
        ] {
            assert_eq!(is_store(Path::new(path)), is, "{path}");
        }
        assert_eq!(without_mark("/nowhere/opencode.db (deleted)".into()), Path::new("/nowhere/opencode.db"));
    }
}
