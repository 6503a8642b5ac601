//! Streams of events end to end, over sockets: many subscribers, many servers, some that do not read; through pointsman
//! and through the barest possible fan-out, in turns.
//!
//! `cargo bench --bench streams`. Every listener makes sure that it hears each event once and in order: a run in which
//! one does not fails. Servers, programs and listeners share the machine, so compare within one run only; processor time
//! for each delivered event says more than the time that it was on its way.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

#[path = "lab/barest.rs"]
mod barest;
#[path = "lab/emitters.rs"]
mod emitters;
#[path = "lab/listeners.rs"]
mod listeners;
#[path = "lab/program.rs"]
mod program;

use std::{
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use self::{emitters::Emitters, listeners::Listeners, program::Program};

/// What happens in one cell.
struct Cell {
    what: &'static str,
    servers: usize,
    listeners: usize,
    /// Further listeners that never read.
    stalled: usize,
    /// For each server.
    events: usize,
    /// Of all servers together, for each second; as fast as they can if none.
    pace: Option<u32>,
}

const CELLS: [Cell; 4] = [
    Cell { what: "fan-out, paced", servers: 1, listeners: 1000, stalled: 0, events: 500, pace: Some(100) },
    Cell { what: "fan-out, at once", servers: 1, listeners: 1000, stalled: 0, events: 3000, pace: None },
    Cell {
        what: "fan-out, 1 % stalled",
        servers: 1,
        listeners: 990,
        stalled: 10,
        events: 500,
        pace: Some(100),
    },
    Cell { what: "fan-in, paced", servers: 100, listeners: 10, stalled: 0, events: 100, pace: Some(2000) },
];

/// How much a listener that never reads is not read of.
const UNREAD: usize = 200_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|first| first == "barest") {
        return barest::run(arguments[2..].iter().map(|address| address.parse().unwrap()).collect());
    }
    emitters::epoch();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load before: {load}");
    println!("| what | program | events/s | p50 ms | p99 ms | cpu µs an event |\n|---|---|--:|--:|--:|--:|");
    for cell in &CELLS {
        for start in [barest, merging] {
            cell.run(start);
        }
    }
    println!("\nMemory before and after {UNREAD} events of 300 bytes:");
    for stalled in [0, 1] {
        let (before, after) = memory(stalled);
        println!("{stalled} that never read: {} and {} MiB", before >> 20, after >> 20);
    }
}

fn merging(emitters: &Emitters, directory: &Path) -> Program {
    Program::pointsman(&emitters.addresses, directory)
}

/// This program once more, by another name.
fn barest(emitters: &Emitters, _: &Path) -> Program {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("barest").args(emitters.addresses.iter().map(ToString::to_string));
    Program::telling("the barest", &mut command).once_answering("/readyz")
}

impl Cell {
    fn run(&self, start: fn(&Emitters, &Path) -> Program) {
        let directory = tempfile::tempdir().unwrap();
        let mut emitters = Emitters::start(self.servers);
        let program = start(&emitters, directory.path());
        emitters.heard();
        let listeners =
            Listeners::start(program.address, self.listeners, self.stalled, self.servers, self.events);
        let (before, began) = (program.processor_time(), Instant::now());
        for n in 0..self.events * self.servers {
            if let Some(pace) = self.pace {
                let due = Duration::from_secs(1) * u32::try_from(n).unwrap() / pace;
                thread::sleep(due.saturating_sub(began.elapsed()));
            }
            emitters.emit(n % self.servers);
        }
        let mut heard = listeners.end();
        let took = heard.end.unwrap() - began;
        let spent = program.processor_time().saturating_sub(before);
        assert_eq!(heard.wrong, 0, "{} through {}: lost, doubled or out of order", self.what, program.name);
        heard.took_us.sort_unstable();
        let count = heard.took_us.len();
        let at = |share: usize| f64::from(heard.took_us[count * share / 100]) / 1000.0;
        println!(
            "| {} | {} | {:.0} | {:.1} | {:.1} | {:.2} |",
            self.what,
            program.name,
            as_float(count) / took.as_secs_f64(),
            at(50),
            at(99),
            spent.as_secs_f64() * 1e6 / as_float(count),
        );
    }
}

fn memory(stalled: usize) -> (u64, u64) {
    let directory = tempfile::tempdir().unwrap();
    let mut emitters = Emitters::start(1);
    let program = merging(&emitters, directory.path());
    emitters.heard();
    let listeners = Listeners::start(program.address, 1, stalled, 1, UNREAD);
    let before = program.resident();
    let began = Instant::now();
    for n in 0..UNREAD {
        // Faster than the reader could follow, it would be told less instead of each.
        thread::sleep(
            (Duration::from_secs(1) * u32::try_from(n).unwrap() / 20_000).saturating_sub(began.elapsed()),
        );
        emitters.emit(0);
    }
    assert_eq!(listeners.end().wrong, 0, "beside one that never reads");
    (before, program.resident())
}

#[expect(clippy::cast_precision_loss, reason = "counts are far from where neighbours are equal")]
fn as_float(count: usize) -> f64 {
    count as f64
}
