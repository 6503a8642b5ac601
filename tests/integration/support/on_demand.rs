//! A program for `command` of `[spawn]`: a script that notes each start and becomes this test program as a fake server.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;

use super::{
    daemon::{Builder, Daemon},
    eventually::eventually,
    fake::{FakeServer, FakeStore},
};

/// Set by the script alone: what the daemon wanted it to do.
const ROLE: &str = "FAKE_STARTED_WITH";

/// Directories that servers may be started in, the program, and a note of who was started. Dropped, all of them end.
pub struct Workshop {
    root: PathBuf,
    _directory: TempDir,
}

impl Workshop {
    /// With a program that becomes a fake server.
    pub fn new() -> Self {
        Self::after("")
    }

    /// The same, once it has done this.
    pub fn after(script: &str) -> Self {
        let own = std::env::current_exe().expect("the test program has a path");
        let test = "support::on_demand::serves_until_it_is_ended --exact --nocapture";
        Self::with(&format!("{script}\nexport {ROLE}=\"$*\"\nexec {} {test}", own.display()))
    }

    /// With a program that does this after its start was noted.
    pub fn with(script: &str) -> Self {
        let directory = TempDir::with_prefix("pointsman-workshop-").expect("a temporary directory");
        let root = directory.path().canonicalize().expect("it was just made");
        let workshop = Self { root, _directory: directory };
        std::fs::create_dir_all(workshop.root.join("work")).expect("writable");
        workshop.now_does(script);
        workshop
    }

    /// Another program in the place of the one before.
    pub fn now_does(&self, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let note = self.root.join("starts");
        let text = format!("#!/bin/sh\necho \"$$ $PWD\" >> {}\n{script}\n", note.display());
        let new = self.root.join("program.new");
        std::fs::write(&new, text).expect("writable");
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).expect("writable");
        std::fs::rename(new, self.program()).expect("writable");
    }

    pub fn program(&self) -> PathBuf {
        self.root.join("program")
    }

    /// A directory in which servers may be started.
    pub fn project(&self, name: &str) -> String {
        let directory = self.root.join("work").join(name);
        std::fs::create_dir_all(&directory).expect("writable");
        directory.display().to_string()
    }

    /// One in which none may.
    pub fn elsewhere(&self) -> String {
        let directory = self.root.join("elsewhere");
        std::fs::create_dir_all(&directory).expect("writable");
        directory.display().to_string()
    }

    /// The configuration of a daemon that starts the program, with `more` in its table.
    pub fn config(&self, more: &str) -> String {
        let (work, program) =
            (self.root.join("work").display().to_string(), self.program().display().to_string());
        format!("[spawn]\nenabled = true\ndirectories = [{work:?}]\ncommand = {program:?}\n{more}\n")
    }

    pub fn builder(&self, more: &str) -> Builder {
        Daemon::builder().config(&self.config(more))
    }

    /// Who was started so far, and where.
    pub fn starts(&self) -> Vec<(u32, String)> {
        let text = std::fs::read_to_string(self.root.join("starts")).unwrap_or_default();
        let line = |line: &str| {
            let (pid, directory) = line.split_once(' ').expect("two fields");
            (pid.parse().expect("a process id"), directory.to_owned())
        };
        text.lines().map(line).collect()
    }

    /// Those of them that live.
    pub fn living(&self) -> Vec<u32> {
        self.starts().into_iter().map(|(pid, _)| pid).filter(|pid| lives(*pid)).collect()
    }

    /// Waits until so many of them live.
    pub async fn wait_for_living(&self, count: usize) -> Vec<u32> {
        eventually(&format!("{count} started servers living"), || async {
            let living = self.living();
            if living.len() == count { Ok(living) } else { Err(self.starts()) }
        })
        .await
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        for pid in self.living() {
            let _ = kill_process(id(pid), Signal::KILL);
        }
    }
}

/// A started server that would outlive a test that fails.
pub struct Mortal(pub u32);

impl Drop for Mortal {
    fn drop(&mut self) {
        if std::thread::panicking() && lives(self.0) {
            let _ = kill_process(id(self.0), Signal::KILL);
        }
    }
}

fn id(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("a process id")).expect("not zero")
}

/// Whether a process runs; one that only waits to be waited for does not.
pub fn lives(pid: u32) -> bool {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    let zombie = status.is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')));
    test_kill_process(id(pid)).is_ok() && !zombie
}

/// The value of an option on the command line it was started with.
fn option(line: &str, name: &str) -> String {
    let mut words = line.split(' ').skip_while(|word| *word != name);
    words.nth(1).unwrap_or_else(|| panic!("no {name} in {line:?}")).to_owned()
}

#[tokio::test]
async fn serves_until_it_is_ended() {
    let Some(line) = std::env::var_os(ROLE) else { return };
    let line = line.to_string_lossy();
    assert!(line.starts_with("serve --hostname 127.0.0.1 --port "), "{line}");
    let password = std::env::var_os("OPENCODE_SERVER_PASSWORD").expect("it is given one");
    let password = password.to_string_lossy();
    assert!(!line.contains(&*password) && std::env::vars().all(|(name, _)| !name.starts_with("POINTSMAN_")));
    let directory = std::env::current_dir().expect("it has one").display().to_string();
    let store = FakeStore::new();
    let port = option(&line, "--port").parse().expect("a port");
    let server =
        FakeServer::builder(&store, &directory).port(port).password("opencode", &password).start().await;
    // Its test ends it, or the daemon does; nobody is to be left over if neither can.
    tokio::time::sleep(Duration::from_mins(3)).await;
    drop(server);
}
