//! After a gap in what streams tell: asks a server what it says now, and tells what nobody was told.
//!
//! Bounded in sessions, messages and questions at once. Asks only about directories in use, so that none is opened.

mod present;
mod session;

pub(super) use self::session::{InHand, Occasion};

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use serde_json::Value;

use self::present::Present;
use super::intake::{Intake, Observed, emitter, observe};
use crate::{
    discovery::agent,
    domain::{directory::same_directory, ids::SessionId},
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

/// Why a server is asked, as metrics and `pointsman.repaired` name it: its stream has begun anew.
const RECONNECT: &str = "reconnect";

/// The same: we did not run.
const RESTART: &str = "restart";

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
        let present = Present::ask(&agent, since.ms, server.directories.all()).await?;
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
        let reason = if self.gaps.makes_up() { RESTART } else { RECONNECT };
        self.repaired(server, reason, &sessions, events);
        looked.map(drop)
    }

    /// Counts a repair, and tells of it if anything was amiss.
    fn repaired(&self, server: &Server, reason: &'static str, sessions: &[SessionId], events: usize) {
        self.metrics.repaired(reason, events);
        if events > 0 {
            let count = sessions.len();
            tracing::info!(server = %server.id, reason, sessions = count, events, "what was missed was told");
            self.hub.announce(own::repaired(&Repaired { server: &server.id.0, reason, sessions, events }));
        }
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
        let info = present.rows.get(session).cloned();
        let shown = self.hub.shown(session);
        let is_new = if self.gaps.makes_up() {
            // The first list shows it as well, and was not there when it was made.
            shown.is_unknown()
        } else {
            !self.registry.sessions.is_announced(server.store, session)
        };
        let mut found = Found { info, is_new, ..Found::default() };
        let Some((directory, _)) = self.place(session, present) else { return Ok(Vec::new()) };
        if server.directories.contains(&directory) {
            match agent.messages(session, MESSAGES).await? {
                Some(list) => {
                    let is_whole = list.len() < MESSAGES;
                    found.messages = Some(Messages { list, is_whole });
                    if found.info.is_some() || shown.has_singles() {
                        found.todo = agent.list_of(session, "todo").await?.map(Value::Array);
                        found.diff = agent.list_of(session, "diff").await?.map(Value::Array);
                    }
                }
                None if agent.exists(session, self.registry.clock.now_ms()).await?.is_none() => {
                    return Ok(self.hub.shown(session).end(session.as_str(), None).into_iter().collect());
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
        // Of one that is only remembered to be claimed no more is known than that.
        let mut known = known.into_iter().map(|known| known.row).filter(|row| !row.directory.is_empty());
        let known = known.next().map(|row| (row.directory, row.project));
        known.or_else(|| self.hub.shown(session).place())
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
        self.tell_in(server, (&directory, &project), changes, found_at)
    }

    fn tell_in(
        &self,
        server: &Arc<Server>,
        (directory, project): (&str, &str),
        changes: Vec<Change>,
        found_at: u64,
    ) -> usize {
        let mut decoder = Decoder::new();
        let mut told = 0;
        for change in changes {
            let Ok(event) = decoder.decode(change.frame(directory, project)) else { continue };
            let speaks_of_the_server =
                matches!(event.signal, Signal::Asked { .. } | Signal::Answered { .. } | Signal::Deleted);
            if speaks_of_the_server && let Observed::PassOn(news) = observe(&self.registry, server, &event) {
                self.herald.cry(news);
            }
            let signal = event.signal.clone();
            if self.hub.publish_found(&emitter(server), event, found_at) {
                self.learn(server, &signal);
                told += 1;
            }
        }
        told
    }

    /// What was told is known, as if the server's stream had told it.
    fn learn(&self, server: &Server, told: &Signal) {
        let sessions = &self.registry.sessions;
        if let Signal::Created(row) | Signal::Updated(row) = told {
            sessions.row(server.store, row, 0);
            sessions.announce(server.store, &row.id);
        }
    }
}
