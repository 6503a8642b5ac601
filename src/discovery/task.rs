//! The loop: looks, asks, and keeps the registry's servers true.
//!
//! One task owns all state; what takes time runs beside it and reports back. A report that is no longer awaited (the
//! address went, another probe was started) is dropped. What happens to an address is told in three parts: it is
//! sighted, a server arrives there, a server departs.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Doubts, Settings, Watcher, door::Call, identity::host, place::Place, probe::Answer, sockets::Sockets,
};
use crate::{
    domain::ids::ServerKey,
    machine::Machine,
    opencode::client::AgentClient,
    registry::{Registry, server::Address},
};

mod arrivals;
mod departures;
mod registrations;
mod sightings;

/// How many addresses are asked at once. A machine full of servers must not get all its questions in one instant.
const ASKED_AT_ONCE: usize = 16;

/// How long the first round may take at most: who asks whether we are ready is not kept waiting by one slow server.
const FIRST_ROUND: Duration = Duration::from_secs(3);

/// How often a server that wants a password, or a configured address where something else answers, is asked again.
const ASKED_AGAIN: Duration = Duration::from_secs(30);

/// How often the ports of the range are tried where the machine does not tell who listens.
const PORTS_AGAIN: Duration = Duration::from_secs(30);

/// What ran beside the loop and is done.
enum Report {
    /// The last part is only held, until the answer was acted on; see [`Task::first_look`].
    Answered {
        address: Address,
        number: u64,
        answer: Answer,
        _first_look: Option<mpsc::Sender<Infallible>>,
    },
    Checked {
        server: ServerKey,
        gone: Option<&'static str>,
    },
    OpenPorts(Vec<u16>),
    Done,
}

/// See the module.
pub(super) struct Task {
    settings: Settings,
    registry: Arc<Registry>,
    machine: Arc<dyn Machine>,
    client: AgentClient,
    doubts: Doubts,
    sockets: Sockets,
    places: HashMap<Address, Place>,
    beside: JoinSet<Report>,
    /// The servers that are looked at because of a doubt, and whether another doubt came meanwhile.
    checking: HashMap<ServerKey, bool>,
    turns: Arc<Semaphore>,
    numbers: u64,
    /// The machine's sockets could be listed at the last look.
    machine_tells: bool,
    ports_tried: Option<Instant>,
    first_round: watch::Sender<bool>,
    /// Held by every probe of the first look until its first answer, clear or not.
    first_look: Option<mpsc::Sender<Infallible>>,
    /// Those who come and go by themselves.
    calls: mpsc::Receiver<Call>,
}

impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Task {
    pub(super) fn new(
        settings: Settings,
        registry: Arc<Registry>,
        machine: Arc<dyn Machine>,
        client: AgentClient,
        doubts: Doubts,
        calls: mpsc::Receiver<Call>,
    ) -> Self {
        Self {
            settings,
            registry,
            machine,
            client,
            doubts,
            sockets: Sockets::default(),
            places: HashMap::new(),
            beside: JoinSet::new(),
            checking: HashMap::new(),
            turns: Arc::new(Semaphore::new(ASKED_AT_ONCE)),
            numbers: 0,
            machine_tells: true,
            ports_tried: None,
            first_round: watch::Sender::new(false),
            first_look: None,
            calls,
        }
    }

    pub(super) fn first_round(&self) -> watch::Receiver<bool> {
        self.first_round.subscribe()
    }

    pub(super) async fn run(mut self, watcher: Arc<dyn Watcher>, stop: CancellationToken) {
        let mut tick = interval(self.settings.tick);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let doubts = self.doubts.clone();
        let (held, mut first_look) = mpsc::channel(1);
        self.first_look = Some(held);
        let mut first_round = std::pin::pin!(async move {
            // `None` once nobody holds it any more.
            let _ = timeout(FIRST_ROUND, first_look.recv()).await;
        });
        self.expect_configured();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {
                    let begun = Instant::now();
                    self.look().await;
                    watcher.looked(begun.elapsed());
                    self.first_look = None;
                }
                Some(call) = self.calls.recv() => self.take_call(call, &watcher),
                servers = doubts.next() => self.check(servers, &watcher),
                Some(report) = self.beside.join_next() => match report {
                    Ok(report) => self.hear(report, &watcher).await,
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => tracing::error!(%error, "a question of discovery failed"),
                },
                () = &mut first_round, if !*self.first_round.borrow() => {
                    self.first_round.send_replace(true);
                }
            }
        }
    }

    async fn hear(&mut self, report: Report, watcher: &Arc<dyn Watcher>) {
        match report {
            Report::Answered { address, number, answer, _first_look } => {
                if self.places.get(&address).and_then(Place::asking) == Some(number) {
                    self.answered(&address, answer, watcher).await;
                }
            }
            Report::Checked { server, gone } => {
                let doubted_again = self.checking.remove(&server) == Some(true);
                if let Some(why) = gone {
                    self.depart(server, why, watcher);
                } else if doubted_again {
                    self.doubts.doubt(server);
                }
            }
            Report::OpenPorts(ports) => self.found_open(&ports),
            Report::Done => {}
        }
    }
}

/// Whether a socket bound to `bound` takes connections made to `asked`.
fn reaches(bound: IpAddr, asked: IpAddr) -> bool {
    let (bound, asked) = (bound.to_canonical(), asked.to_canonical());
    match bound {
        _ if bound == asked => true,
        // Whether `::` takes IPv4 as well is a setting of the socket; servers of this kind leave it at yes.
        IpAddr::V6(bound) => bound.is_unspecified(),
        IpAddr::V4(bound) => bound.is_unspecified() && asked.is_ipv4(),
    }
}

/// What an address means to the machine, as far as no name has to be resolved for that.
fn socket_addresses(address: &Address) -> Vec<SocketAddr> {
    let host = host(address);
    if host.eq_ignore_ascii_case("localhost") {
        return vec![([127, 0, 0, 1], address.port).into(), ([0, 0, 0, 0, 0, 0, 0, 1], address.port).into()];
    }
    host.parse().map(|ip: IpAddr| SocketAddr::new(ip, address.port)).into_iter().collect()
}
