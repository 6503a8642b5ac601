//! The streams of the second interface: one from each server while somebody listens, none else.
//!
//! Nearly every client lives on the first interface, whose feeds teach us all there is to know. So these are opened for
//! the first subscriber, claim nothing, and are closed some seconds after the last has left.

use std::{
    collections::{HashMap, HashSet},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{feeds::feed_of, intake::emitter};
use crate::{
    domain::{ask::Interface, ids::ServerKey},
    events::{
        feed::{self, Feed, Lost, Skipped},
        hub::Hub,
        occasional::Occasional,
    },
    metrics::Metrics,
    opencode::event::{Decoded, Signal},
    registry::Registry,
};

/// How long the streams stay when nobody listens any more. A client that lost its connection is back within seconds.
const LINGER: Duration = Duration::from_secs(5);

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Second {
    streams: Occasional,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
    client: reqwest::Client,
    tasks: TaskTracker,
}

impl Second {
    /// Reads the servers' streams by `client` into `streams`; what runs is counted in `tasks`.
    pub(super) fn new(
        streams: Occasional,
        registry: &Arc<Registry>,
        metrics: &Arc<Metrics>,
        client: &reqwest::Client,
        tasks: &TaskTracker,
    ) -> Self {
        let (registry, metrics) = (Arc::clone(registry), Arc::clone(metrics));
        Self { streams, registry, metrics, client: client.clone(), tasks: tasks.clone() }
    }

    /// The hub behind the streams.
    pub(super) fn hub(&self) -> Hub {
        self.streams.hub().clone()
    }

    /// Opens and closes the streams as people come and go, until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut audience = self.streams.hub().audience();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                heard = audience.wait_for(|audience| *audience > 0) => if heard.is_err() { return },
            }
            self.listen(&audience, &stop).await;
        }
    }

    /// Keeps one stream to each server until nobody has listened for a while.
    async fn listen(&self, audience: &watch::Receiver<usize>, stop: &CancellationToken) {
        let mut changes = self.registry.servers.changes();
        let mut running: HashMap<ServerKey, CancellationToken> = HashMap::new();
        // Ends all of them, however this function does.
        let ending = stop.child_token();
        let _guard = ending.clone().drop_guard();
        let mut feeds = self.feeds();
        self.streams.open(feeds.keys().copied().collect());
        let mut deserted = pin!(deserted(audience.clone()));
        loop {
            running.retain(|key, stop| {
                let stays = feeds.contains_key(key);
                if !stays {
                    stop.cancel();
                    self.streams.heard(*key);
                }
                stays
            });
            let begun: HashSet<_> = running.keys().copied().collect();
            for (key, feed) in feeds.into_iter().filter(|(key, _)| !begun.contains(key)) {
                let stop = ending.child_token();
                running.insert(key, stop.clone());
                self.tasks.spawn(feed::run(feed, self.clone(), stop));
            }
            tokio::select! {
                () = stop.cancelled() => return,
                alive = changes.changed() => if alive.is_err() { return },
                () = &mut deserted => {
                    if self.streams.close() {
                        return;
                    }
                    deserted.set(self::deserted(audience.clone()));
                }
            }
            feeds = self.feeds();
        }
    }

    fn feeds(&self) -> HashMap<ServerKey, Feed> {
        let servers = self.registry.servers.now();
        let feed = |server| feed_of(server, Interface::Second, &self.client);
        servers.iter().filter_map(|server| Some((server.key, feed(server)?))).collect()
    }
}

/// Waits until nobody has listened for [`LINGER`].
async fn deserted(mut audience: watch::Receiver<usize>) {
    loop {
        // No error: the hub lives as long as whoever waits here.
        let _ = audience.wait_for(|audience| *audience == 0).await;
        tokio::select! {
            () = sleep(LINGER) => return,
            _ = audience.wait_for(|audience| *audience > 0) => {}
        }
    }
}

impl feed::Intake for Second {
    fn connected(&self, server: ServerKey) {
        self.streams.heard(server);
    }

    fn received(&self, server: ServerKey, event: Decoded) {
        let Some(server) = self.registry.servers.get(server) else { return };
        if event.signal == Signal::Idle
            && event.session.as_ref().is_some_and(|session| self.registry.idle_is_foreign(&server, session))
        {
            self.metrics.idle_withheld();
            return;
        }
        self.metrics.events(1);
        self.streams.hub().publish(&emitter(&server), event);
    }

    fn malformed(&self, server: ServerKey, why: Skipped) {
        let (reason, count) = match &why {
            Skipped::TooLarge(count) => ("too-large", *count),
            Skipped::Malformed(_) => ("malformed", 1),
        };
        self.metrics.skipped(reason, count);
        tracing::debug!(server = server.0, %why, "event skipped");
    }

    fn silent(&self, server: ServerKey) {
        self.streams.heard(server);
    }

    fn awake(&self, _: ServerKey) {}

    fn lost(&self, server: ServerKey, why: Lost) {
        // Whether the server lives is found out by the stream that is always open.
        tracing::debug!(server = server.0, %why, "stream of the second interface lost");
        self.streams.heard(server);
    }
}
