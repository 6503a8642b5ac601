//! What passing through costs, for small requests and for large bodies: simulated servers asked directly, through
//! pointsman, nginx and haproxy, in turns.
//!
//! `cargo bench --bench proxy`. Peers that are not installed are left out. Clients, proxies and servers share the
//! machine, so compare within one run only; processor time for each request says more than requests a second.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::format_push_string
)]

#[path = "lab/load.rs"]
mod load;
#[path = "lab/peers.rs"]
mod peers;
#[path = "lab/program.rs"]
mod program;
#[path = "lab/servers.rs"]
mod servers;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use self::{
    load::{Ask, Pace},
    program::Program,
    servers::Servers,
};

const SERVERS: usize = 4;
/// For each server.
const SESSIONS: usize = 100;
const ROUNDS: usize = 5;
/// For one program in one round. All cells together stay below two minutes.
const CELL: Duration = Duration::from_millis(400);
/// What a machine of two cores carries without a queue: then the time of a request is its own.
const MODERATE: u32 = 5_000;

/// One line of the tables, over all rounds.
#[derive(Default)]
struct Line {
    answers: Vec<Duration>,
    /// Requests a second of each round.
    rates: Vec<f64>,
    processor: Duration,
}

fn main() {
    let directory = tempfile::tempdir().unwrap();
    let servers = Servers::start(SERVERS, SESSIONS, Duration::ZERO);
    let programs: Vec<Program> = [
        Some(Program::pointsman(&servers.addresses, directory.path())),
        peers::nginx(&servers, directory.path()),
        peers::haproxy(&servers, directory.path()),
    ]
    .into_iter()
    .flatten()
    .collect();
    let sessions: Arc<[(String, SocketAddr)]> = servers.sessions().into();
    for ask in [Ask::Get, Ask::Post] {
        for connections in [1, 16, 64, 256] {
            compare(&sessions, &programs, ask, Pace::Closed, connections);
        }
        compare(&sessions, &programs, ask, Pace::PerSecond(MODERATE), 64);
    }
    for ask in [Ask::Messages(64), Ask::Messages(1024)] {
        for connections in [64, 256] {
            compare(&sessions, &programs, ask, Pace::Closed, connections);
        }
    }
    println!("\nresident memory afterwards (nginx: of its master alone)");
    for program in &programs {
        println!("{:<10} {:>4} MiB", program.name, program.resident() >> 20);
    }
}

fn compare(
    sessions: &Arc<[(String, SocketAddr)]>,
    programs: &[Program],
    ask: Ask,
    pace: Pace,
    connections: u32,
) {
    let mut lines: Vec<Line> = (0..=programs.len()).map(|_| Line::default()).collect();
    for round in 0..ROUNDS {
        for turn in 0..lines.len() {
            // Who goes first changes, so that nobody always follows the same one.
            let which = (turn + round) % lines.len();
            let program = which.checked_sub(1).map(|at| &programs[at]);
            let spent = || program.map_or(Duration::ZERO, Program::processor_time);
            let (before, began) = (spent(), Instant::now());
            let address = program.map(|program| program.address);
            let answers = load::run(sessions, address, ask, pace, connections, CELL);
            #[expect(clippy::cast_precision_loss, reason = "a rate to print")]
            let rate = answers.len() as f64 / began.elapsed().as_secs_f64();
            lines[which].processor += spent().saturating_sub(before);
            lines[which].rates.push(rate);
            lines[which].answers.extend(answers);
        }
    }
    let pace = match pace {
        Pace::Closed => String::from("as fast as answers come"),
        Pace::PerSecond(rate) => format!("{rate} a second"),
    };
    println!("\n{ask:?}, {connections} connections, {pace}: medians of {ROUNDS} rounds of {CELL:?}");
    println!(
        "{:<10} {:>9} {:>9} {:>9} {:>10} {:>10} {:>9}",
        "", "req/s", "p50 µs", "p99 µs", "added p50", "added p99", "cpu µs"
    );
    for line in &mut lines {
        line.answers.sort_unstable();
        line.rates.sort_unstable_by(f64::total_cmp);
    }
    let names = std::iter::once("direct").chain(programs.iter().map(|program| program.name));
    for (name, line) in names.zip(&lines) {
        let at = |line: &Line, percent: usize| {
            line.answers[line.answers.len() * percent / 100].as_secs_f64() * 1e6
        };
        let added = |percent| at(line, percent) - at(&lines[0], percent);
        #[expect(clippy::cast_precision_loss, reason = "a mean to print")]
        let processor = line.processor.as_secs_f64() * 1e6 / line.answers.len() as f64;
        println!(
            "{name:<10} {:>9.0} {:>9.0} {:>9.0} {:>10.0} {:>10.0} {processor:>9.1}",
            line.rates[line.rates.len() / 2],
            at(line, 50),
            at(line, 99),
            added(50),
            added(99),
        );
    }
}
