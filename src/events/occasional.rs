//! A hub whose feeds run only while somebody listens.
//!
//! Promises: whoever subscribes while the feeds are closed hears everything from the greeting on, since the greeting
//! waits for them (for a second at most: a server that hangs keeps nobody). Leaves to others: which feeds those are,
//! and how long they stay when nobody is left.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};

use crate::{
    domain::ids::ServerKey,
    events::{hub::Hub, subscriber::Subscription, view::View},
};

/// How long a subscriber waits for the feeds. Servers greet within milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// See the module. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Occasional {
    hub: Hub,
    feeds: Arc<watch::Sender<Feeds>>,
}

#[derive(Debug)]
enum Feeds {
    Closed,
    /// Open, but for those of these servers, from which nothing has been heard yet.
    Open(HashSet<ServerKey>),
}

impl Occasional {
    /// Nobody listens yet, and no feed is open.
    pub fn new(hub: Hub) -> Self {
        Self { hub, feeds: Arc::new(watch::Sender::new(Feeds::Closed)) }
    }

    /// The hub behind it.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// A stream of what is published from now on, as `view` sees it, once the feeds are open.
    pub async fn subscribe(&self, view: View) -> Subscription {
        // First it counts among the audience: from here on the feeds are opened, or stay open.
        let subscription = self.hub.subscribe(view);
        let mut feeds = self.feeds.subscribe();
        let open = feeds.wait_for(|feeds| matches!(feeds, Feeds::Open(awaited) if awaited.is_empty()));
        // Some server has not answered by then: the others are heard all the same.
        let _ = timeout(PATIENCE, open).await;
        subscription
    }

    /// The feeds of these servers are being opened.
    pub fn open(&self, servers: HashSet<ServerKey>) {
        self.feeds.send_replace(Feeds::Open(servers));
    }

    /// A server has greeted us, or will not for now.
    pub fn heard(&self, server: ServerKey) {
        self.feeds.send_if_modified(|feeds| match feeds {
            Feeds::Open(awaited) => awaited.remove(&server),
            Feeds::Closed => false,
        });
    }

    /// Whether the feeds may be closed, nobody listening: then every later subscriber waits for them to be opened
    /// anew.
    pub fn close(&self) -> bool {
        let before = self.feeds.send_replace(Feeds::Closed);
        if self.hub.subscribers() == 0 {
            return true;
        }
        // Somebody came in between, and may have found them open.
        self.feeds.send_replace(before);
        false
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::events::{
        log::Limits,
        view::{AttentionRule, Shape},
    };

    const SERVER: ServerKey = ServerKey(1);

    fn view() -> View {
        View {
            shape: Shape::Api,
            directory: None,
            server: None,
            attention: AttentionRule::All,
            opened: None,
            filter: Arc::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscriber_is_greeted_once_every_feed_is_open() {
        let streams = Occasional::new(Hub::new(Limits::default()));
        let subscribing = tokio::spawn({
            let streams = streams.clone();
            async move { streams.subscribe(view()).await }
        });
        streams.hub().audience().wait_for(|audience| *audience == 1).await.unwrap();
        streams.open([SERVER].into());
        tokio::task::yield_now().await;
        assert!(!subscribing.is_finished());
        streams.heard(SERVER);
        let subscription = subscribing.await.unwrap();
        assert!(!streams.close(), "somebody listens");
        drop(subscription);
        assert!(streams.close());
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_hangs_keeps_a_subscriber_for_a_second_at_most() {
        let streams = Occasional::new(Hub::new(Limits::default()));
        streams.open([SERVER].into());
        let start = Instant::now();
        let first = streams.subscribe(view()).await;
        assert_eq!(start.elapsed(), PATIENCE);
        drop(first);
    }
}
