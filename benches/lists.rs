//! What a merged list takes beside the slowest server that has a part in it.
//!
//! `cargo bench --bench lists`: 20 simulated servers, each a store of its own with 1,000 sessions, the slowest of which
//! takes [`SLOWEST`] over a list. So many clients ask at one time, in turns: the slowest server directly, all servers
//! directly (what a client would have to do without a merged list), and pointsman. Merging is not all that is measured:
//! twenty servers, the clients and the daemon share the machine.

#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "lab/program.rs"]
#[allow(dead_code, reason = "other benches need more of it")]
mod program;
#[path = "lab/servers.rs"]
#[allow(dead_code, reason = "other benches need more of it")]
mod servers;

use std::{net::SocketAddr, time::Duration};

use futures_util::future::join_all;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use self::{program::Program, servers::Servers};

const SERVERS: usize = 20;
/// For each server.
const SESSIONS: usize = 1_000;
const SLOWEST: Duration = Duration::from_millis(20);
const ROUNDS: usize = 5;
/// Of each client in one round.
const REQUESTS: usize = 40;
/// Between two requests of a client: a person opens lists, no program asks for them without end.
const GAP: Duration = Duration::from_millis(50);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let directory = tempfile::tempdir().unwrap();
    let servers = Servers::start(SERVERS, SESSIONS, SLOWEST);
    let daemon = Program::pointsman(&servers.addresses, directory.path());
    let slowest = vec![*servers.addresses.last().unwrap()];
    let asked = [
        ("the slowest server", slowest),
        ("all servers", servers.addresses.clone()),
        ("pointsman", vec![daemon.address]),
    ];
    println!("{:>8} {:<20} {:>9} {:>9} {:>9}", "clients", "asked", "p50 ms", "p99 ms", "added p99");
    for clients in [1, 4, 8] {
        let mut times: Vec<Vec<Duration>> = vec![Vec::new(); asked.len()];
        for round in 0..ROUNDS {
            for turn in 0..asked.len() {
                // Who goes first changes, so that nobody always follows the same one.
                let which = (turn + round) % asked.len();
                times[which].extend(run(&asked[which].1, clients).await);
            }
        }
        for times in &mut times {
            times.sort_unstable();
        }
        let at = |which: usize, percent: usize| {
            times[which][times[which].len() * percent / 100].as_secs_f64() * 1e3
        };
        for (which, (name, _)) in asked.iter().enumerate() {
            let (p50, p99) = (at(which, 50), at(which, 99));
            println!("{clients:>8} {name:<20} {p50:>9.1} {p99:>9.1} {:>9.1}", p99 - at(0, 99));
        }
    }
}

/// How long each answer took: that of the last one, where several are asked.
async fn run(addresses: &[SocketAddr], clients: usize) -> Vec<Duration> {
    let mut running = JoinSet::new();
    for client in 0..clients {
        let addresses = addresses.to_vec();
        running.spawn(async move {
            let http = reqwest::Client::builder().no_proxy().build().unwrap();
            let lists: Vec<String> =
                addresses.iter().map(|address| format!("http://{address}/session")).collect();
            // Not all at the same instant.
            sleep(GAP / 7 * u32::try_from(client).unwrap()).await;
            let mut times = Vec::new();
            for number in 0..=REQUESTS {
                let begun = Instant::now();
                let http = &http;
                let bytes = join_all(lists.iter().map(|url| async move {
                    http.get(url).send().await.unwrap().bytes().await.unwrap().len()
                }));
                assert!(bytes.await.into_iter().all(|bytes| bytes > 10_000));
                // The first one opens connections.
                if number > 0 {
                    times.push(begun.elapsed());
                }
                sleep(GAP).await;
            }
            times
        });
    }
    running.join_all().await.concat()
}
