//! Clients that live on events alone, and whose connections break off at any byte.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use eventsource_stream::Eventsource;
use futures_util::StreamExt;
use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{task::JoinSet, time::sleep};

use super::{
    daemon::Daemon,
    relay::{Break, Relay},
    shown::Shown,
    sse::Received,
};

/// What a client that comes back remembers, besides what it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Nothing, as the official ones.
    Nothing,
    /// The last id it has seen.
    Cursor,
    /// The same, of our own stream.
    OwnCursor,
}

impl Memory {
    pub fn of(n: usize) -> Self {
        [Self::Nothing, Self::Cursor, Self::OwnCursor][n % 3]
    }
}

/// A client that lives on events alone, behind a relay of its own.
pub struct Restless {
    memory: Memory,
    relay: Arc<Relay>,
    shown: Arc<Mutex<Shown>>,
    resets: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl Restless {
    /// Its connections break off until all is `calm`.
    pub async fn start(daemon: &Daemon, memory: Memory, seed: u64, calm: &Arc<AtomicBool>) -> Self {
        let relay = Arc::new(Relay::to(daemon.address()).await);
        let rng = StdRng::seed_from_u64(seed);
        let (shown, resets) = (Arc::<Mutex<Shown>>::default(), Arc::<AtomicUsize>::default());
        let mut task = JoinSet::new();
        task.spawn(watch(memory, rng, relay.clone(), shown.clone(), resets.clone(), calm.clone()));
        Self { memory, relay, shown, resets, _task: task }
    }

    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// What stands on it now.
    pub fn shows(&self) -> Shown {
        self.shown.lock().clone()
    }

    /// How often it was told to begin anew.
    pub fn resets(&self) -> usize {
        self.resets.load(Ordering::Relaxed)
    }

    /// How often its connection broke off.
    pub fn cuts(&self) -> usize {
        self.relay.connections().saturating_sub(1)
    }

    /// Breaks off its connection no more.
    pub fn mend(&self) {
        self.relay.mend();
    }
}

async fn watch(
    memory: Memory,
    mut rng: StdRng,
    relay: Arc<Relay>,
    shown: Arc<Mutex<Shown>>,
    resets: Arc<AtomicUsize>,
    calm: Arc<AtomicBool>,
) {
    let path = if memory == Memory::OwnCursor { "/events" } else { "/global/event?attention=all" };
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let mut cursor = String::new();
    loop {
        if !calm.load(Ordering::Relaxed) {
            relay.set_break(Break::Cut(rng.random_range(100..6000)));
        }
        let mut request = client.get(format!("{}{path}", relay.url()));
        if memory != Memory::Nothing && !cursor.is_empty() {
            request = request.header("last-event-id", &cursor);
        }
        if let Ok(response) = request.send().await {
            let mut events = response.bytes_stream().eventsource();
            while let Some(Ok(event)) = events.next().await {
                let data = serde_json::from_str(&event.data).unwrap();
                let event = Received { id: event.id, name: event.event, data, at: Instant::now() };
                if event.kind() == "pointsman.reset" {
                    resets.fetch_add(1, Ordering::Relaxed);
                }
                shown.lock().apply(&event);
                if !event.id.is_empty() {
                    cursor.clone_from(&event.id);
                }
            }
        }
        sleep(Duration::from_millis(rng.random_range(0..20))).await;
    }
}
