//! Reads that are on their way, and those who wait for them.
//!
//! A flight belongs to nobody: it goes on while anybody waits for it, whoever began it, and ends when nobody does. Its
//! answer is told to all who joined. One that got no answer tells that too, and each who waited goes on by itself.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{edition::Edition, epochs::Mark, key::Key};

/// How long others may join a flight. Servers that have just started leave some requests without an answer for ever;
/// who comes later must not have to share that. It is twice the longest answer seen on a loaded machine.
const JOIN_FOR: Duration = Duration::from_secs(10);

/// What a flight has brought: nothing yet, or its end.
type Arrival = Option<Option<Arc<Edition>>>;

/// See the module.
#[derive(Default)]
pub(super) struct Flights(Mutex<Departed>);

#[derive(Default)]
struct Departed {
    by_key: HashMap<Key, Flight>,
    count: u64,
}

struct Flight {
    number: u64,
    begun: Instant,
    mark: Mark,
    /// Held by the pilot alone, so that its end, whatever the reason, is everybody's.
    arrival: Weak<watch::Sender<Arrival>>,
}

/// What one who wants an answer is to do.
pub(super) enum Boarding {
    /// It is there already.
    Kept(Arc<Edition>),
    /// Wait with others.
    Joined(Seat),
    /// Fetch it, for oneself and for others.
    Begun(Pilot, Seat),
}

/// A place in a flight.
pub(super) struct Seat(watch::Receiver<Arrival>);

/// The duty to bring an answer. Dropped before, it tells those who wait that none will come.
pub(super) struct Pilot {
    number: u64,
    arrival: Arc<watch::Sender<Arrival>>,
}

impl Flights {
    /// Looks once more with `kept`, then joins the flight for `key`, or begins one. `fresh` joins none: every flight
    /// on its way may bring what was so before.
    pub(super) fn board(
        &self,
        key: &Key,
        mark: Mark,
        fresh: bool,
        now: Instant,
        kept: impl FnOnce() -> Option<Arc<Edition>>,
    ) -> Boarding {
        let mut departed = self.0.lock();
        // A flight puts what it brings where `kept` looks before it leaves this map: without the second look, who
        // came in between would begin another.
        if let Some(edition) = kept() {
            return Boarding::Kept(edition);
        }
        let joinable = |flight: &&Flight| {
            !fresh && flight.mark == mark && now.saturating_duration_since(flight.begun) < JOIN_FOR
        };
        let departing = departed.by_key.get(key).filter(joinable);
        if let Some(arrival) = departing.and_then(|flight| flight.arrival.upgrade()) {
            return Boarding::Joined(Seat(arrival.subscribe()));
        }
        departed.count += 1;
        let number = departed.count;
        let (sender, seat) = watch::channel(None);
        let arrival = Arc::new(sender);
        let flight = Flight { number, begun: now, mark, arrival: Arc::downgrade(&arrival) };
        departed.by_key.insert(key.clone(), flight);
        Boarding::Begun(Pilot { number, arrival }, Seat(seat))
    }

    /// Nobody can join this flight any more.
    pub(super) fn close(&self, key: &Key, pilot: &Pilot) {
        let mut departed = self.0.lock();
        if departed.by_key.get(key).is_some_and(|flight| flight.number == pilot.number) {
            departed.by_key.remove(key);
        }
    }
}

impl Seat {
    /// What the flight brings, however long that takes; `None` if nothing that can be told.
    pub(super) async fn arrival(mut self) -> Option<Arc<Edition>> {
        let arrived = self.0.wait_for(Option::is_some).await.ok()?;
        arrived.as_ref()?.clone()
    }
}

impl Pilot {
    /// Returns once nobody waits any more.
    pub(super) async fn abandoned(&self) {
        self.arrival.closed().await;
    }

    /// Tells all who wait.
    pub(super) fn arrive(self, edition: Option<Arc<Edition>>) {
        self.arrival.send_replace(Some(edition));
    }
}
