//! After a gap in a server's stream: asks the server what it says now, and tells what nobody was told.
//!
//! Bounded in sessions, messages and questions at once. Asks only about directories in use, so that none is opened.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream};
use serde_json::Value;

use super::intake::{Intake, Observed, emitter, observe};
use crate::{
    discovery::agent,
    domain::{ask::AskKind, directory::same_directory, ids::SessionId},
    events::{
        own::{self, Repaired},
        repair::{Change, Found, Messages, Since},
    },
    opencode::{
        client::{Agent, AskError},
        event::{Decoder, Signal},
    },
    registry::{Crier, server::Server},
};

/// How many sessions are looked at after one gap: those that changed last, and those that clients show.
const SESSIONS: usize = 100;

/// How many messages of each: as many as the clients fetch of a session they open.
const MESSAGES: usize = 100;

/// How many sessions are asked for at once.
const AT_ONCE: usize = 4;

/// How far back before the last event heard: rows are written out of order.
const OVERLAP_MS: u64 = 2000;

/// The first pause between attempts to ask; each is twice as long as the one before.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);

/// The longest of them: a server that lives and does not answer costs no more than that.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What a server says of one directory.
struct InDirectory {
    directory: Arc<str>,
    statuses: serde_json::Map<String, Value>,
    asks: Vec<(AskKind, Value)>,
}

/// What a server says, but for messages.
#[derive(Default)]
struct Present {
    rows: HashMap<SessionId, Value>,
    directories: Vec<InDirectory>,
}

impl Intake {
    /// Asks until nothing is missing any more of a server whose stream has begun anew.
    pub(super) async fn repair(&self, server: &Arc<Server>) {
        while let Some(since_ms) = self.gaps.next(&server.id) {
            let mut pause = SHORTEST_PAUSE;
            while let Err(error) = self.repair_since(server, since_ms).await {
                tracing::debug!(server = %server.id, %error, "cannot ask what was missed");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                if self.registry.servers.get(server.key).is_none() {
                    return self.gaps.gave_up(&server.id, since_ms);
                }
            }
        }
    }

    async fn repair_since(&self, server: &Arc<Server>, since_ms: u64) -> Result<(), AskError> {
        // Whatever streams tell from here on is newer than what is asked.
        let found_at = self.hub.position();
        let agent = agent(&self.client, server);
        let since = Since { server: &server.id.0, ms: since_ms.saturating_sub(OVERLAP_MS) };
        let present = Present::ask(&agent, server, since).await?;
        let sessions = present.sessions(self.hub.told_by(since.server, SESSIONS));
        let looks = stream::iter(sessions).map(|session| {
            let (present, agent) = (&present, &agent);
            async move {
                let changes = self.missed(server, agent, present, &session, since).await?;
                Ok((session.clone(), self.tell(server, &session, present, changes, found_at)))
            }
        });
        let looked: Vec<Result<(SessionId, usize), AskError>> =
            looks.buffer_unordered(AT_ONCE).collect().await;
        let looked = looked.into_iter().collect::<Result<Vec<_>, _>>();
        let told = looked.iter().flatten().filter(|(_, events)| *events > 0);
        let sessions: Vec<SessionId> = told.clone().map(|(session, _)| session.clone()).collect();
        let events = told.map(|(_, events)| events).sum();
        self.metrics.repaired("reconnect", events);
        if events > 0 {
            tracing::info!(server = %server.id, sessions = sessions.len(), events, "what a stream missed was told");
            let server = since.server;
            self.hub.announce(own::repaired(&Repaired { server, sessions: &sessions, events }));
        }
        looked.map(drop)
    }

    /// What nobody was told of one session.
    async fn missed(
        &self,
        server: &Server,
        agent: &Agent,
        present: &Present,
        session: &SessionId,
        since: Since<'_>,
    ) -> Result<Vec<Change>, AskError> {
        let mut found = Found { info: present.rows.get(session).cloned(), ..Found::default() };
        let Some((directory, _)) = self.place(session, present) else { return Ok(Vec::new()) };
        if server.directories.contains(&directory) {
            match agent.messages(session, MESSAGES).await? {
                Some(list) => {
                    let is_whole = list.len() < MESSAGES;
                    found.messages = Some(Messages { list, is_whole });
                }
                None if agent.exists(session, self.registry.clock.now_ms()).await?.is_none() => {
                    return Ok(self.hub.shown(session).end(session.as_str()).into_iter().collect());
                }
                None => return Ok(Vec::new()),
            }
        }
        if let Some(there) =
            present.directories.iter().find(|there| same_directory(&there.directory, &directory))
        {
            found.status = Some(there.statuses.get(session.as_str()).cloned());
            let of_session = there.asks.iter().filter(|(_, ask)| ask["sessionID"] == session.as_str());
            found.asks = Some(of_session.cloned().collect());
        }
        Ok(self.hub.shown(session).differences(session.as_str(), found, since))
    }

    /// The directory and the project of a session.
    fn place(&self, session: &SessionId, present: &Present) -> Option<(Arc<str>, Arc<str>)> {
        if let Some(row) = present.rows.get(session) {
            return Some((row["directory"].as_str()?.into(), row["projectID"].as_str()?.into()));
        }
        let known = self.registry.sessions.describe(session, &self.registry.servers.now());
        known.into_iter().next().map(|known| (known.row.directory, known.row.project))
    }

    /// Tells what was missed of a session; gives the number of events.
    fn tell(
        &self,
        server: &Arc<Server>,
        session: &SessionId,
        present: &Present,
        changes: Vec<Change>,
        found_at: u64,
    ) -> usize {
        let Some((directory, project)) = self.place(session, present) else { return 0 };
        let mut decoder = Decoder::new();
        let mut told = 0;
        for change in changes {
            let Ok(event) = decoder.decode(change.frame(&directory, &project)) else { continue };
            let speaks_of_the_server =
                matches!(event.signal, Signal::Asked { .. } | Signal::Answered { .. } | Signal::Deleted);
            if speaks_of_the_server && let Observed::PassOn(news) = observe(&self.registry, server, &event) {
                self.herald.cry(news);
            }
            told += usize::from(self.hub.publish_found(&emitter(server), event, found_at));
        }
        told
    }
}

impl Present {
    async fn ask(agent: &Agent, server: &Server, since: Since<'_>) -> Result<Self, AskError> {
        let mut rows = HashMap::new();
        for mut row in agent.rows_since(since.ms, SESSIONS).await? {
            let id = row["id"].as_str().and_then(|id| SessionId::try_new(id).ok());
            if let (Some(id), Some(fields)) = (id, row.as_object_mut()) {
                // Only the list tells it.
                fields.remove("project");
                rows.insert(id, row);
            }
        }
        let mut directories = Vec::new();
        for directory in server.directories.all() {
            let statuses = agent.statuses(&directory).await?;
            let mut asks = Vec::new();
            for kind in [AskKind::Permission, AskKind::Question] {
                let waiting = agent.waiting(kind, &directory).await?;
                asks.extend(waiting.into_iter().map(|ask| (kind, ask)));
            }
            directories.push(InDirectory { directory, statuses, asks });
        }
        Ok(Self { rows, directories })
    }

    /// The sessions to look at: those that changed, that do something, and that clients show.
    fn sessions(&self, shown: Vec<SessionId>) -> BTreeSet<SessionId> {
        let named = |id: &str| SessionId::try_new(id).ok();
        let busy = self.directories.iter().flat_map(|there| there.statuses.keys());
        let asks = self.directories.iter().flat_map(|there| &there.asks);
        let asking = asks.filter_map(|(_, ask)| ask["sessionID"].as_str());
        let at_work = busy.map(String::as_str).chain(asking).filter_map(named);
        at_work.chain(self.rows.keys().cloned()).chain(shown).take(2 * SESSIONS).collect()
    }
}
