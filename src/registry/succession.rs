//! Who takes the place of a server that has gone.
//!
//! A server that is started again by the same means comes back with the same directory, store and address within
//! minutes. It inherits what its predecessor owned, one step weaker, so that a session goes where its owner would be.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

use super::server::{Address, Server};
use crate::domain::ids::{ServerKey, StoreKey};

/// How long a place is kept. Longer than an upgrade or a reboot of the agent takes, shorter than a new use of the port.
const KEPT_FOR: Duration = Duration::from_mins(10);

#[derive(Debug)]
struct Place {
    server: ServerKey,
    directory: Option<Arc<str>>,
    store: StoreKey,
    address: Address,
    since_ms: u64,
}

/// The places left by servers that have gone.
#[derive(Debug, Default)]
pub struct Succession {
    places: Mutex<Vec<Place>>,
}

impl Succession {
    /// Remembers the place of a server that has gone at `now_ms`. Returns the servers whose places lapse with this.
    pub fn gone(&self, server: &Server, now_ms: u64) -> Vec<ServerKey> {
        let mut places = self.places.lock();
        places.push(Place {
            server: server.key,
            directory: server.directory.clone(),
            store: server.store,
            address: server.address.clone(),
            since_ms: now_ms,
        });
        places.extract_if(.., |place| lapsed(place, now_ms)).map(|place| place.server).collect()
    }

    /// The server whose place `heir` takes at `now_ms`; each place is taken once.
    pub fn predecessor(&self, heir: &Server, now_ms: u64) -> Option<ServerKey> {
        let mut places = self.places.lock();
        let index = places.iter().rposition(|place| {
            !lapsed(place, now_ms)
                && place.server != heir.key
                && place.store == heir.store
                && place.address == heir.address
                && place.directory == heir.directory
        })?;
        // The claims stay with the place until it lapses: taking it out here would leave them for ever.
        let server = places[index].server;
        places[index].address = Address::new("", 0);
        Some(server)
    }
}

fn lapsed(place: &Place, now_ms: u64) -> bool {
    now_ms.saturating_sub(place.since_ms) > u64::try_from(KEPT_FOR.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::server::tests::server;

    const STORE: StoreKey = StoreKey(1);
    const LAST_MS: u64 = 10 * 60 * 1000;

    fn after_one_that_left(now_ms: u64) -> Succession {
        let succession = Succession::default();
        assert_eq!(succession.gone(&server(ServerKey(1), "one", 4096, STORE), now_ms), []);
        succession
    }

    #[test]
    fn who_comes_back_to_the_same_place_succeeds_once() {
        let succession = after_one_that_left(0);
        let heir = server(ServerKey(2), "two", 4096, STORE);
        assert_eq!(succession.predecessor(&heir, LAST_MS), Some(ServerKey(1)));
        let another = server(ServerKey(3), "three", 4096, STORE);
        assert_eq!(succession.predecessor(&another, LAST_MS), None);
    }

    #[test]
    fn another_address_directory_or_store_is_another_place() {
        let succession = after_one_that_left(0);
        let heir = |port, store| server(ServerKey(2), "two", port, store);
        assert_eq!(succession.predecessor(&heir(4097, STORE), 1), None);
        assert_eq!(succession.predecessor(&heir(4096, StoreKey(2)), 1), None);
        let elsewhere = Server { directory: Some("/elsewhere".into()), ..heir(4096, STORE) };
        assert_eq!(succession.predecessor(&elsewhere, 1), None);
        assert_eq!(succession.predecessor(&heir(4096, STORE), 1), Some(ServerKey(1)));
    }

    #[test]
    fn a_place_lapses_after_ten_minutes_and_is_named_once() {
        let succession = after_one_that_left(0);
        let heir = server(ServerKey(2), "two", 4096, STORE);
        assert_eq!(succession.predecessor(&heir, LAST_MS + 1), None);
        assert_eq!(succession.gone(&heir, LAST_MS + 1), [ServerKey(1)]);
        assert_eq!(succession.gone(&server(ServerKey(3), "three", 4097, STORE), LAST_MS + 1), []);
    }

    #[test]
    fn of_several_that_left_one_place_the_last_is_succeeded() {
        let succession = after_one_that_left(0);
        succession.gone(&server(ServerKey(2), "two", 4096, STORE), 1);
        let heir = server(ServerKey(3), "three", 4096, STORE);
        assert_eq!(succession.predecessor(&heir, 2), Some(ServerKey(2)));
    }
}
