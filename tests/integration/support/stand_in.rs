//! The process that a server of the tests' own seems to be: this test program under the name `opencode`.
//!
//! The daemon reads processes: whose socket it is, which store it has open, where it was started, when it ended. So a
//! fake, or a relay before a real server, may have one that holds all of that open and does nothing; requests are
//! answered in the test's own process, which accepts from the same socket. Killed, it is as dead as any server.

use std::{
    fs::File,
    io::Read,
    os::fd::AsFd,
    path::Path,
    process::{Child, Command, Stdio},
};

use tokio::net::TcpListener;

/// Set in the environment of stand-ins alone: tells the test program that it is one.
const ROLE: &str = "STAND_IN_FOR_AN_AGENT";

/// How the agent was started, as its command line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// `opencode serve`
    Serve,
    /// `opencode`: the terminal program.
    Screen,
}

/// Ends when dropped, and with the test's process.
pub(super) struct StandIn {
    child: Child,
}

impl StandIn {
    /// A process that runs `program`, a link to this one called `opencode`, and holds `listener` and the store's file
    /// `database` open, in `directory`. It is seen so on return.
    pub(super) fn start(
        invocation: Invocation,
        program: &Path,
        database: &Path,
        directory: &Path,
        listener: &TcpListener,
    ) -> Self {
        // To be read only: what a test program says of itself must not get into a database.
        let database = File::open(database).expect("the store's file");
        let socket = listener.as_fd().try_clone_to_owned().expect("a second handle of the socket");
        let mut command = Command::new(program);
        if invocation == Invocation::Serve {
            command.arg("serve");
        }
        let child = command
            .args(["support::stand_in::stands_in_until_its_test_ends", "--exact"])
            .env_clear()
            .env(ROLE, "1")
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(database)
            // What a listening socket is told is lost, and so is what this one would complain of.
            .stderr(socket)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("no stand-in could be started in {}: {error}", directory.display())
            });
        Self { child }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn stands_in_until_its_test_ends() {
    if std::env::var_os(ROLE).is_some() {
        let _ = std::io::stdin().read(&mut [0]);
    }
}
