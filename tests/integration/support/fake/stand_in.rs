//! The process that a fake server seems to be: this test program under the name `opencode`.
//!
//! The daemon reads processes: whose socket it is, which store it has open, where it was started, when it ended. So a
//! fake may have one that holds all of that open and does nothing; requests are answered in the test's own process,
//! which accepts from the same socket. Killed, it is as dead as any server.

use std::{
    io::Read,
    os::fd::AsFd,
    process::{Child, Command, Stdio},
};

use tokio::net::TcpListener;

use super::store::FakeStore;

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
    /// A process that holds `listener` and the file of `store` open, in `directory`. It is seen so on return.
    pub(super) fn start(
        invocation: Invocation,
        store: &FakeStore,
        directory: &str,
        listener: &TcpListener,
    ) -> Self {
        let database =
            std::fs::OpenOptions::new().append(true).open(store.database()).expect("the store's file");
        let socket = listener.as_fd().try_clone_to_owned().expect("a second handle of the socket");
        let mut command = Command::new(store.program());
        if invocation == Invocation::Serve {
            command.arg("serve");
        }
        let child = command
            .args(["support::fake::stand_in::stands_in_until_its_test_ends", "--exact"])
            .env_clear()
            .env(ROLE, "1")
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(database)
            // What a listening socket is told is lost, and so is what this one would complain of.
            .stderr(socket)
            .spawn()
            .unwrap_or_else(|error| panic!("no stand-in could be started in {directory}: {error}"));
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
