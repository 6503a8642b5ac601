//! From what a server's stream says to what we know: the one place where events become claims.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

use super::{gaps::Gaps, herald::Herald, numbers::Numbers, reception::Seen, repair::InHand};
use crate::{
    discovery::{Doubts, agent},
    domain::{
        directory::same_directory,
        evidence::Evidence,
        ids::{ServerKey, SessionId},
    },
    events::{
        feed::{self, Lost, Skipped},
        hub::{Emitter, Hub},
        own::ServerChange,
    },
    machine::Machine,
    metrics::Metrics,
    opencode::{
        client::AgentClient,
        event::{Decoded, Signal},
        wire::Activity,
    },
    proxy::catalogue::Catalogue,
    registry::{
        Crier, News, Registry,
        asked::Origin,
        server::{Server, State},
    },
};

/// How long after its greeting a server's stream surely carries what the server emits. A server greets before it
/// subscribes: what it emitted within 2 ms of the greeting was seen to be missing, after 5 ms nothing was.
const SUBSCRIBED: Duration = Duration::from_millis(50);

/// Takes in all feeds. Cheap to clone.
#[derive(Clone)]
pub(super) struct Intake {
    /// What is known.
    pub registry: Arc<Registry>,
    /// What servers offer, as it was read last.
    pub catalogue: Catalogue,
    /// Where events go on to.
    pub hub: Hub,
    /// Who tells what changed.
    pub herald: Herald,
    /// Who finds out whether a server whose stream has ended still lives.
    pub doubts: Doubts,
    /// Asks servers what a stream has missed.
    pub client: AgentClient,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What streams say while their servers are asked what was missed.
    pub(super) overtaken: Overtaken,
    /// What streams have missed.
    pub(super) gaps: Gaps,
    /// The sessions that are asked about one by one.
    pub(super) in_hand: InHand,
    /// What the numbers of changes prove to be missing.
    pub(super) numbers: Numbers,
    /// Where processes are that nobody can reach.
    pub(super) machine: Arc<dyn Machine>,
}

/// What waits to be asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Backlog {
    /// The sessions that are asked about one by one.
    pub(super) in_hand: InHand,
    /// What the numbers of changes prove to be missing.
    pub(super) numbers: Numbers,
}

/// Sessions whose status a stream has told since its server was asked for all of them: the stream's word is newer
/// than the answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Overtaken(Arc<Mutex<HashMap<ServerKey, HashSet<SessionId>>>>);

impl Overtaken {
    fn begin(&self, server: ServerKey) {
        self.0.lock().insert(server, HashSet::new());
    }

    fn tell(&self, server: ServerKey, event: &Decoded) {
        if matches!(event.signal, Signal::Busy | Signal::Idle | Signal::Failed)
            && let Some(session) = &event.session
            && let Some(told) = self.0.lock().get_mut(&server)
        {
            told.insert(session.clone());
        }
    }

    fn end(&self, server: ServerKey) -> HashSet<SessionId> {
        self.0.lock().remove(&server).unwrap_or_default()
    }
}

/// What became of an event.
#[derive(Debug)]
pub enum Observed {
    /// It is to be passed on, and this is what it changed.
    PassOn(News),
    /// Nobody is to hear of it.
    Withhold,
}

/// Takes the meaning of one event of `server` into the registry.
pub fn observe(registry: &Registry, server: &Arc<Server>, event: &Decoded) -> Observed {
    if let Some(directory) = &event.directory {
        server.directories.note(directory);
    }
    let raised = |id: &str, ask| {
        let (session, directory) = (event.session.clone(), event.directory.clone());
        let origin = Origin { server: server.key, session, directory, ask };
        registry.asked.raised(id, origin);
    };
    let now_ms = registry.clock.now_ms();
    // Streams overtake one another: what counts is when something was emitted, not when it arrived.
    let at_ms = event.stamp.map_or(now_ms, |stamp| stamp.at_ms(now_ms));
    let claim = |evidence| match &event.session {
        Some(session) => registry.claim_at(server, session, evidence, at_ms),
        None => News::default(),
    };
    Observed::PassOn(match &event.signal {
        Signal::Busy => claim(Evidence::Busy),
        Signal::Output => claim(Evidence::Emitted),
        Signal::Asked { id, ask } => {
            raised(id, Some(*ask));
            claim(Evidence::Emitted)
        }
        Signal::Created(row) => {
            registry.sessions.row(server.store, row, 0);
            registry.sessions.announce(server.store, &row.id);
            claim(Evidence::Emitted)
        }
        Signal::Updated(row) => {
            registry.sessions.row(server.store, row, 0);
            News::default()
        }
        Signal::Deleted => {
            if let Some(session) = &event.session {
                registry.delete(server.store, session);
            }
            News::default()
        }
        Signal::Failed => match &event.session {
            Some(session) => registry.retract(server, session, Evidence::Busy),
            None => News::default(),
        },
        Signal::Idle => match &event.session {
            Some(session) => match registry.idle(server, session) {
                Some(news) => news,
                None => return Observed::Withhold,
            },
            None => News::default(),
        },
        Signal::PtyCreated { id } => {
            raised(id, None);
            News::default()
        }
        Signal::Answered { id, .. } | Signal::PtyGone { id } => {
            registry.asked.closed(id);
            News::default()
        }
        Signal::Disposed
        | Signal::Sync { .. }
        | Signal::Tui
        | Signal::Connected
        | Signal::Heartbeat
        | Signal::CatalogueChanged
        | Signal::Nothing => News::default(),
    })
}

impl Intake {
    /// One that tells `hub` and `herald` what it hears.
    pub(super) fn new(
        seen: &Seen<'_>,
        hub: &Hub,
        herald: &Herald,
        catalogue: &Catalogue,
        metrics: &Arc<Metrics>,
        Backlog { in_hand, numbers }: Backlog,
    ) -> Self {
        Self {
            registry: Arc::clone(seen.registry),
            catalogue: catalogue.clone(),
            hub: hub.clone(),
            herald: herald.clone(),
            doubts: seen.doubts.clone(),
            client: seen.client.clone(),
            metrics: Arc::clone(metrics),
            overtaken: Overtaken::default(),
            gaps: Gaps::default(),
            in_hand,
            numbers,
            machine: Arc::clone(seen.machine),
        }
    }

    /// Nobody has listened since then, if ever.
    pub(super) fn was_away(&self, since_ms: Option<u64>) {
        if let Some(since_ms) = since_ms {
            self.gaps.away_since(since_ms);
        }
    }

    fn set_state(&self, key: ServerKey, state: State, told: ServerChange) {
        let before = self.registry.servers.get(key).map(|server| server.state);
        if before.is_none_or(|before| before == state) {
            return;
        }
        if let Some(server) = self.registry.servers.change(key, |server| server.state = state) {
            tracing::info!(server = %server.id, address = %server.address, state = state.as_str(), "server changed");
            self.herald.server(told, &server);
        }
    }

    /// Asks which sessions are busy, in the directories in use: before we listened, or while we could not, turns may
    /// have begun and ended.
    async fn catch_up(&self, server: &Arc<Server>) {
        // What is asked sooner could be true no more before the stream tells of it.
        tokio::time::sleep(SUBSCRIBED).await;
        let agent = agent(&self.client, server);
        let mut busy = HashSet::new();
        let mut asked: Vec<Arc<str>> = Vec::new();
        for directory in server.directories.all() {
            match agent.status(Some(&directory)).await {
                Ok(status) => {
                    busy.extend(working(status));
                    asked.push(directory);
                }
                Err(error) => {
                    tracing::debug!(server = %server.id, %error, "cannot ask which sessions are busy");
                }
            }
        }
        let told = self.overtaken.end(server.key);
        busy.retain(|session| !told.contains(session));
        let all_asked = server.directories.all().len() == asked.len();
        let silent_about = |session: &SessionId, directory: &str| {
            let reached = all_asked || asked.iter().any(|asked| same_directory(asked, directory));
            reached && !told.contains(session) && !busy.contains(session)
        };
        self.herald.cry(self.registry.confirm_busy(server, &busy, silent_about));
    }
}

/// How a server is named to subscribers.
pub(super) fn emitter(server: &Server) -> Emitter {
    Emitter { key: server.key, id: Arc::clone(&server.id.0) }
}

/// Whether a number may stand behind an event in its stream. The pieces of a text, of which there are most, have none.
fn may_be_numbered(event: &Decoded) -> bool {
    event.kind != "message.part.delta" && !matches!(event.signal, Signal::Sync { .. })
}

fn working(status: impl IntoIterator<Item = (SessionId, Activity)>) -> impl Iterator<Item = SessionId> {
    status.into_iter().filter(|(_, activity)| *activity != Activity::Idle).map(|(session, _)| session)
}

impl feed::Intake for Intake {
    fn connected(&self, server: ServerKey) {
        self.set_state(server, State::Up, ServerChange::Changed);
        if let Some(server) = self.registry.servers.get(server) {
            self.numbers.begins(&server, self.registry.clock.now_ms());
            // What changed while nobody listened was told to nobody.
            self.hub.missed(&server.id.0);
            self.catalogue.changed(server.store);
            self.overtaken.begin(server.key);
            let repairs = self.hub.repairs() && self.gaps.connected(&server.id, self.registry.clock.now_ms());
            let intake = self.clone();
            tokio::spawn(async move {
                intake.catch_up(&server).await;
                if repairs {
                    intake.repair(&server).await;
                }
            });
        }
    }

    fn received(&self, server: ServerKey, event: Decoded) {
        let Some(server) = self.registry.servers.get(server) else { return };
        self.overtaken.tell(server.key, &event);
        let now_ms = self.registry.clock.now_ms();
        self.gaps.heard(&server.id, event.stamp.map_or(now_ms, |stamp| stamp.at_ms(now_ms)));
        if matches!(event.signal, Signal::CatalogueChanged | Signal::Disposed) {
            // Before anybody is told, since clients read anew upon it.
            self.catalogue.changed(server.store);
        }
        if let Signal::Sync { session, seq } = &event.signal {
            self.numbered(&server, session, *seq);
        }
        match observe(&self.registry, &server, &event) {
            Observed::PassOn(news) => {
                self.metrics.events(1);
                let may_be_numbered = may_be_numbered(&event);
                let position = self.hub.publish(&emitter(&server), event);
                if let Some(position) = position.filter(|_| may_be_numbered) {
                    self.numbers.told(server.key, position);
                }
                self.herald.cry(news);
            }
            Observed::Withhold => self.metrics.idle_withheld(),
        }
    }

    fn malformed(&self, server: ServerKey, why: Skipped) {
        let (reason, count) = match &why {
            Skipped::TooLarge(count) => ("too-large", *count),
            Skipped::Malformed(_) => ("malformed", 1),
        };
        self.metrics.skipped(reason, count);
        if let Some(server) = self.registry.servers.get(server) {
            self.numbers.disturbed(server.store, self.registry.clock.now_ms());
        }
        tracing::debug!(server = server.0, %why, "event skipped");
    }

    fn silent(&self, server: ServerKey) {
        self.set_state(server, State::Stalled, ServerChange::Stalled);
    }

    fn awake(&self, server: ServerKey) {
        self.set_state(server, State::Up, ServerChange::Changed);
    }

    fn lost(&self, server: ServerKey, why: Lost) {
        tracing::debug!(server = server.0, %why, "stream lost");
        self.metrics.reconnected();
        let store = self.registry.servers.get(server).map(|server| server.store);
        self.numbers.ends(server, store, self.registry.clock.now_ms());
        self.doubts.doubt(server);
    }
}
