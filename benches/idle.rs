//! What the daemon costs while nothing happens: servers that are there, each with its stream of events open, looked
//! at every second.
//!
//! `cargo bench --bench idle`. The servers are simulated and configured by URL; what it costs to look through a
//! machine's sockets is in the `discovery` bench.

#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "lab/program.rs"]
mod program;
#[path = "lab/servers.rs"]
mod servers;

use std::{thread, time::Duration};

use self::{program::Program, servers::Servers};

/// For each server.
const SESSIONS: usize = 500;
/// First contact, the lists of sessions, and the first connections growing idle.
const SETTLE: Duration = Duration::from_secs(12);
/// A whole minute, in which each list is asked for once.
const WATCH: Duration = Duration::from_mins(1);

fn main() {
    println!("{:>8} {:>10} {:>16} {:>10}", "servers", "sessions", "% of one core", "resident");
    for count in [0, 20, 200] {
        let directory = tempfile::tempdir().unwrap();
        let servers = Servers::start(count, SESSIONS, Duration::ZERO);
        let daemon = Program::pointsman(&servers.addresses, directory.path());
        thread::sleep(SETTLE);
        let before = daemon.processor_time();
        thread::sleep(WATCH);
        let spent = daemon.processor_time().saturating_sub(before);
        println!(
            "{count:>8} {:>10} {:>16.2} {:>6} MiB",
            servers.sessions().len(),
            spent.as_secs_f64() / WATCH.as_secs_f64() * 100.0,
            daemon.resident() >> 20,
        );
    }
}
