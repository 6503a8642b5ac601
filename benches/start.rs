//! How soon after its start the daemon routes a session that a client names, with 100,000 sessions behind it that it
//! has never seen: the first correct answer, and the lists read to their ends. And what one session costs in lists
//! from then on.
//!
//! `cargo bench --bench start`. The servers answer before the daemon starts. Each is a store of its own, so the session
//! has to be found among twenty.

#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "lab/program.rs"]
mod program;
#[path = "lab/servers.rs"]
mod servers;

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use self::{program::Program, servers::Servers};

const SERVERS: usize = 20;
const SESSIONS: usize = 5_000;
/// Each names a session of another server.
const ROUNDS: usize = 10;
/// Two rounds of what is asked for without a reason.
const WATCH: Duration = Duration::from_mins(2);

fn main() {
    let servers = Servers::start(SERVERS, SESSIONS, Duration::ZERO);
    let sessions = servers.sessions();
    let mut firsts = Vec::new();
    let mut wholes = Vec::new();
    for round in 0..ROUNDS {
        let (id, owner) = &sessions[(round * SESSIONS * 2 + round * 37 + 11) % sessions.len()];
        let directory = tempfile::tempdir().unwrap();
        let began = Instant::now();
        let daemon = Program::pointsman_listening(&servers.addresses, directory.path());
        let listening = began.elapsed();
        let first = until(began, || routed_to(&daemon, id) == Some(*owner));
        let whole = until(began, || known(&daemon) == sessions.len() as u64);
        println!(
            "round {round}: listening {listening:?}, first correct answer {first:?}, all listed {whole:?} \
             for {:?} of processor time, {} MiB resident",
            daemon.processor_time(),
            daemon.resident() >> 20,
        );
        firsts.push(first);
        wholes.push(whole);
    }
    firsts.sort_unstable();
    wholes.sort_unstable();
    println!("first correct answer: median {:?}, worst {:?}", firsts[ROUNDS / 2], firsts[ROUNDS - 1]);
    println!("all {} sessions listed: median {:?}", sessions.len(), wholes[ROUNDS / 2]);

    let directory = tempfile::tempdir().unwrap();
    let daemon = Program::pointsman(&servers.addresses, directory.path());
    until(Instant::now(), || known(&daemon) == sessions.len() as u64);
    let before = metric(&daemon, "pointsman_sync_rows_total");
    thread::sleep(WATCH);
    let rows = metric(&daemon, "pointsman_sync_rows_total") - before;
    println!(
        "rows of lists read while nothing changes: {} for each store and minute",
        rows / SERVERS as u64 / 2
    );
}

fn until(began: Instant, reached: impl Fn() -> bool) -> Duration {
    while !reached() {
        assert!(began.elapsed() < Duration::from_mins(1), "it never came about");
        thread::sleep(Duration::from_millis(1));
    }
    began.elapsed()
}

/// Who answered a read of this session.
fn routed_to(daemon: &Program, id: &str) -> Option<SocketAddr> {
    let answer = daemon.get(&format!("/session/{id}"))?;
    let line = answer.lines().find_map(|line| line.strip_prefix("x-pointsman-server: "))?;
    line.trim().parse().ok()
}

fn known(daemon: &Program) -> u64 {
    metric(daemon, "pointsman_sessions")
}

fn metric(daemon: &Program, name: &str) -> u64 {
    let text = daemon.get("/metrics").unwrap_or_default();
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(value).unwrap_or(0)
}
