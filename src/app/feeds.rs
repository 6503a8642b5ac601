//! One stream from each server, for as long as the server lives.

use std::{collections::HashMap, sync::Arc, time::Duration};

use http::HeaderValue;
use parking_lot::Mutex;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;

use super::{herald::Herald, intake::Intake};
use crate::{
    discovery::Watcher,
    domain::{ask::Interface, ids::ServerKey},
    events::{
        feed::{self, Feed},
        own::ServerChange,
    },
    registry::{
        Crier, News,
        server::{Credentials, Server, State},
    },
};

/// Starts a feed when a server comes and ends it when the server goes.
pub(super) struct Feeds {
    intake: Intake,
    herald: Herald,
    client: reqwest::Client,
    running: Mutex<HashMap<ServerKey, Running>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A feed that runs.
struct Running {
    stop: CancellationToken,
    /// What its server was told.
    credentials: Option<Credentials>,
}

impl Feeds {
    /// Feeds that end with `stop` and are counted in `tasks`.
    pub(super) fn new(
        intake: Intake,
        herald: Herald,
        client: reqwest::Client,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self { intake, herald, client, running: Mutex::default(), tasks, stop }
    }

    /// Who takes in what they carry.
    pub(super) fn intake(&self) -> Intake {
        self.intake.clone()
    }

    fn start(&self, server: &Server) {
        let Some(feed) = feed_of(server, Interface::First, &self.client) else { return };
        let stop = self.stop.child_token();
        let running = Running { stop: stop.clone(), credentials: server.credentials.clone() };
        if let Some(earlier) = self.running.lock().insert(server.key, running) {
            earlier.stop.cancel();
        }
        self.tasks.spawn(feed::run(feed, self.intake.clone(), stop));
    }

    fn end(&self, server: ServerKey) {
        if let Some(running) = self.running.lock().remove(&server) {
            running.stop.cancel();
        }
    }

    fn is_running(&self, server: ServerKey) -> bool {
        self.running.lock().contains_key(&server)
    }

    /// Whether a feed runs that tells its server what it no longer wants to hear.
    fn is_outdated(&self, server: &Server) -> bool {
        self.running.lock().get(&server.key).is_some_and(|running| running.credentials != server.credentials)
    }
}

/// The feed of a server's stream of `interface`; `None` while it lets nobody in.
pub(super) fn feed_of(server: &Server, interface: Interface, client: &reqwest::Client) -> Option<Feed> {
    if server.state == State::Locked {
        return None;
    }
    let path = match interface {
        Interface::First => "/global/event",
        Interface::Second => "/api/event",
    };
    let url = Url::parse(&format!("{}{path}", server.address.url())).ok()?;
    let authorization = server.credentials.as_ref().map(Credentials::header).map(HeaderValue::from_str);
    let mut authorization = authorization.and_then(Result::ok);
    if let Some(value) = &mut authorization {
        value.set_sensitive(true);
    }
    Some(Feed { server: server.key, client: client.clone(), url, interface, authorization })
}

impl Watcher for Feeds {
    fn arrived(&self, server: Arc<Server>) {
        self.start(&server);
        self.herald.server(ServerChange::Up, &server);
    }

    fn departed(&self, server: Arc<Server>, news: News) {
        self.end(server.key);
        let now_ms = self.intake.registry.clock.now_ms();
        self.intake.numbers.ends(server.key, Some(server.store), now_ms);
        self.herald.server(ServerChange::Down, &server);
        self.herald.cry(news);
    }

    fn looked(&self, took: Duration) {
        self.intake.metrics.ticked(took);
    }

    fn changed(&self, server: Arc<Server>) {
        match (server.state, self.is_running(server.key)) {
            (State::Locked, true) => self.end(server.key),
            (State::Up | State::Stalled, false) => self.start(&server),
            (State::Up | State::Stalled, true) if self.is_outdated(&server) => self.start(&server),
            _ => {}
        }
        self.herald.server(ServerChange::Changed, &server);
    }
}
