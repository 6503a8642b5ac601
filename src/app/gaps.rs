//! Which servers' streams have a gap that nobody has asked about yet.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{Notify, futures::OwnedNotified};

use crate::registry::server::ServerId;

/// How many servers are remembered, those that have gone included: under the same name they may come back.
const MOST: usize = 1000;

/// Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Gaps {
    ears: Arc<Mutex<HashMap<ServerId, Ear>>>,
    /// When an earlier run ended, as long as what happened since is not known.
    away_since_ms: Arc<Mutex<Option<u64>>>,
    settled: Arc<Notify>,
}

/// What one server's stream has told until when.
#[derive(Clone, Copy, Debug, Default)]
struct Ear {
    /// The last event, by the server's clock.
    heard_ms: u64,
    /// Since when something may be missing.
    missing_since_ms: Option<u64>,
    /// Somebody asks, and will ask again as long as something may be missing.
    is_asked: bool,
}

impl Gaps {
    /// Nobody has listened since then: the streams that begin from now on have a gap as well.
    pub(super) fn away_since(&self, since_ms: u64) {
        *self.away_since_ms.lock() = Some(since_ms);
    }

    /// What happened while nobody listened is known.
    pub(super) fn made_up(&self) {
        *self.away_since_ms.lock() = None;
    }

    /// Whether it is not.
    pub(super) fn makes_up(&self) -> bool {
        self.away_since_ms.lock().is_some()
    }

    /// Whether this server's stream has begun, and nothing is missing of it.
    pub(super) fn is_asked(&self, server: &ServerId) -> bool {
        self.ears.lock().get(server).is_some_and(|ear| !ear.is_asked && ear.missing_since_ms.is_none())
    }

    /// Ready when a server has been asked after this was called.
    pub(super) fn settled(&self) -> OwnedNotified {
        Arc::clone(&self.settled).notified_owned()
    }

    /// An event came.
    pub(super) fn heard(&self, server: &ServerId, at_ms: u64) {
        if let Some(ear) = self.ears.lock().get_mut(server) {
            ear.heard_ms = ear.heard_ms.max(at_ms);
        }
    }

    /// The stream begins, perhaps anew. Whether the caller is the one to ask what is missing.
    pub(super) fn connected(&self, server: &ServerId, now_ms: u64) -> bool {
        let mut ears = self.ears.lock();
        let Some(ear) = ears.get_mut(server) else {
            let missing_since_ms = *self.away_since_ms.lock();
            let is_asked = missing_since_ms.is_some();
            ears.insert(server.clone(), Ear { heard_ms: now_ms, missing_since_ms, is_asked });
            let oldest = ears.iter().min_by_key(|(_, ear)| ear.heard_ms).map(|(server, _)| server.clone());
            if let Some(oldest) = oldest.filter(|_| ears.len() > MOST) {
                ears.remove(&oldest);
            }
            return is_asked;
        };
        let since_ms = ear.missing_since_ms.map_or(ear.heard_ms, |known| known.min(ear.heard_ms));
        ear.missing_since_ms = Some(since_ms);
        !std::mem::replace(&mut ear.is_asked, true)
    }

    /// Since when to ask next; `None` if nothing is missing any more: then the caller is done.
    pub(super) fn next(&self, server: &ServerId) -> Option<u64> {
        let mut ears = self.ears.lock();
        let ear = ears.get_mut(server)?;
        let since_ms = ear.missing_since_ms.take();
        ear.is_asked = since_ms.is_some();
        if since_ms.is_none() {
            self.settled.notify_waiters();
        }
        since_ms
    }

    /// The server has gone: it is to be asked if it comes back under the same name.
    pub(super) fn gave_up(&self, server: &ServerId, since_ms: u64) {
        if let Some(ear) = self.ears.lock().get_mut(server) {
            ear.missing_since_ms = Some(ear.missing_since_ms.map_or(since_ms, |known| known.min(since_ms)));
            ear.is_asked = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(n: usize) -> ServerId {
        ServerId(format!("srv_{n}").into())
    }

    #[test]
    fn only_a_stream_that_begins_anew_has_a_gap_from_the_last_event_heard() {
        let gaps = Gaps::default();
        gaps.heard(&server(1), 5);
        assert!(!gaps.connected(&server(1), 10));
        gaps.heard(&server(1), 20);
        gaps.heard(&server(1), 15);
        assert!(gaps.connected(&server(1), 30));
        assert_eq!((gaps.next(&server(1)), gaps.next(&server(1))), (Some(20), None));
        assert!(gaps.connected(&server(1), 40), "asked again for another gap");
    }

    #[test]
    fn one_asks_at_a_time() {
        let gaps = Gaps::default();
        gaps.connected(&server(1), 10);
        assert!(gaps.connected(&server(1), 20));
        assert_eq!(gaps.next(&server(1)), Some(10));
        gaps.heard(&server(1), 25);
        assert!(!gaps.connected(&server(1), 30), "who asks already asks again");
        assert_eq!((gaps.next(&server(1)), gaps.next(&server(1))), (Some(25), None));
        gaps.connected(&server(1), 40);
        assert_eq!(gaps.next(&server(1)), Some(25));
        gaps.gave_up(&server(1), 20);
        assert!(gaps.connected(&server(1), 50), "it has come back");
        assert_eq!((gaps.next(&server(1)), gaps.next(&server(1))), (Some(20), None));
    }

    #[test]
    fn the_servers_heard_longest_ago_are_forgotten_first() {
        let gaps = Gaps::default();
        for n in 0..=MOST {
            gaps.connected(&server(n), 10 + n as u64);
        }
        assert_eq!(gaps.ears.lock().len(), MOST);
        assert!(!gaps.connected(&server(0), 5000), "of the first nothing is known any more");
    }

    #[test]
    fn after_we_were_away_every_stream_has_a_gap_until_that_is_made_up() {
        let gaps = Gaps::default();
        gaps.away_since(7);
        assert!(gaps.connected(&server(1), 10) && !gaps.is_asked(&server(1)));
        assert_eq!((gaps.next(&server(1)), gaps.is_asked(&server(1))), (Some(7), false));
        assert_eq!((gaps.next(&server(1)), gaps.is_asked(&server(1))), (None, true));
        gaps.made_up();
        assert!(!gaps.connected(&server(2), 10) && gaps.is_asked(&server(2)));
    }
}
