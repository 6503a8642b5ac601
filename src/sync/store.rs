//! The list of one store, kept true.

use std::{
    collections::VecDeque,
    convert::Infallible,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval_at, sleep},
};

use super::{
    Pace, Shared, beat,
    changes::{self, Stamp},
    settled::{self, Settled},
    unheard::{Unheard, Waiting, Waits},
    walk::{Step, Walk, changes_since},
};
use crate::{
    discovery::{agent, unreachable_of},
    domain::{
        ids::{ServerKey, SessionId, StoreKey},
        session::SessionRow,
    },
    registry::{server::State, sessions::Standing, unseen::Suspicion},
};

mod ask;

/// The pauses between attempts at the first list.
const FIRST_PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(15)];

/// How many sessions that the list no longer shows are looked for in one tick, at least.
const LOOKED_FOR: usize = 4;

/// For how long more of them are looked for: where a hundred thousand are deleted at once, a server that answers within
/// a millisecond is through with them in some minutes, and is left alone nine tenths of the time.
const LOOKING: Duration = Duration::from_millis(100);

/// How many rounds show what was deleted before the first of them: what changed in a round counts as listed in it.
const ROUNDS_AFTER_WRITING: u32 = 2;

/// How long it is remembered which agents cannot be reached.
const AGENTS_FOR: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct StoreTask {
    shared: Arc<Shared>,
    store: StoreKey,
    /// The round of the walk through the whole list.
    round: u32,
    walk: Walk,
    /// The latest change seen, by the store's clock.
    newest_ms: u64,
    /// Sessions that a whole round has not shown.
    missing: VecDeque<SessionId>,
    settled: Settled,
    /// Rows that came or changed without a stream's word so far.
    waiting: Waiting,
    agents: Option<(Instant, Vec<u32>)>,
    database: Option<(ServerKey, Option<PathBuf>)>,
    stamp: Option<Stamp>,
    refreshed: Instant,
    paged: Instant,
    /// How many rounds are still to be gone through with some haste.
    rounds_due: u32,
    failed: Option<ServerKey>,
    malformed: usize,
    /// What the first walk shows may have changed long ago; what later ones show changed under our eyes.
    has_read_all: bool,
}

impl StoreTask {
    pub(super) fn new(shared: Arc<Shared>, store: StoreKey) -> Self {
        let now = Instant::now();
        let round = shared.next_round();
        let has_read_all = shared.read.lock().contains(&store);
        Self {
            shared,
            store,
            round,
            walk: Walk::new(None),
            newest_ms: 0,
            missing: VecDeque::new(),
            settled: Settled::default(),
            waiting: Waiting::default(),
            agents: None,
            database: None,
            stamp: None,
            refreshed: now,
            paged: now,
            rounds_due: 0,
            failed: None,
            malformed: 0,
            has_read_all,
        }
    }

    /// Runs while the store has a server; drops `first_list` once the first list was read or has failed.
    pub(super) async fn run(mut self, first_list: Option<mpsc::Sender<Infallible>>) -> StoreKey {
        self.read_all(first_list).await;
        let Pace { tick, unasked, .. } = self.shared.pace;
        let now = Instant::now();
        let asked = now.checked_sub(beat::sooner(self.store, unasked)).unwrap_or(now);
        (self.refreshed, self.paged) = (asked, asked);
        let mut tick = interval_at(beat::next(self.shared.epoch, tick, now), tick);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while self.has_server() {
            tick.tick().await;
            self.tick().await;
        }
        self.store
    }

    fn has_server(&self) -> bool {
        self.shared.registry.servers.now().of_store(self.store).next().is_some()
    }

    async fn read_all(&mut self, mut first_list: Option<mpsc::Sender<Infallible>>) {
        let mut pauses = FIRST_PAUSES.into_iter();
        let mut pause = Duration::ZERO;
        self.stamp = self.stamp_now().await;
        loop {
            match self.page_of_all().await {
                Some(Step::On) => {}
                Some(Step::Whole | Step::Broken(_)) => {
                    self.has_read_all = true;
                    self.shared.read.lock().insert(self.store);
                    break;
                }
                None if !self.has_server() => break,
                None => {
                    first_list = None;
                    pause = pauses.next().unwrap_or(pause);
                    sleep(pause).await;
                }
            }
        }
        drop(first_list);
    }

    async fn tick(&mut self) {
        let stamp = self.stamp_now().await;
        let written = stamp.is_some() && stamp != self.stamp;
        if (written || self.refreshed.elapsed() >= self.shared.pace.unasked) && self.refresh().await.is_some()
        {
            self.stamp = stamp;
            self.refreshed = Instant::now();
        }
        if written {
            self.rounds_due = ROUNDS_AFTER_WRITING;
        }
        let Pace { unasked, written, .. } = self.shared.pace;
        if self.paged.elapsed() >= if self.rounds_due > 0 { written } else { unasked } {
            self.paged = Instant::now();
            // A failure is in the log, and the same page is asked for next time.
            self.page_of_all().await;
        }
        self.look_for_missing().await;
        self.settle().await;
    }

    /// One page of the walk through the whole list; `None` if it was not had. At the end of the list a new round begins.
    async fn page_of_all(&mut self) -> Option<Step> {
        let answer = self.ask(self.walk.next()).await?;
        let print = self.settled.print(&self.walk, &answer.page);
        if self.settled.tells_nothing(print, self.standing()) {
            self.malformed = 0;
            self.begin_round();
            return Some(Step::Whole);
        }
        self.settled.forget();
        let (asked_ms, page) = self.read(answer).await?;
        let step = self.walk.took(&page);
        for row in &page.rows {
            if !self.is_current(row, asked_ms) {
                continue;
            }
            if self.has_read_all {
                self.took(row);
            } else {
                let sessions = &self.shared.registry.sessions;
                sessions.row(self.store, row, self.round);
                sessions.announce(self.store, &row.id);
            }
        }
        self.shared.registry.sessions.drop_old_titles();
        match step {
            Step::On => return Some(step),
            Step::Whole => {
                let missing = self.shared.registry.sessions.missing_since(self.store, self.round);
                self.missing = missing.into();
                let standing = self.standing();
                let may_settle = self.missing.is_empty() && settled::shows_all(&page, standing);
                if may_settle && page.rows.iter().all(|row| self.is_known(row, asked_ms)) {
                    self.settled.settle(print, standing);
                }
            }
            Step::Broken(why) => {
                tracing::warn!(store = self.store.0, why, "a session list cannot be followed to its end");
            }
        }
        self.begin_round();
        Some(step)
    }

    fn begin_round(&mut self) {
        self.walk = Walk::new(None);
        self.round = self.shared.next_round();
        self.rounds_due = self.rounds_due.saturating_sub(1);
    }

    fn standing(&self) -> Standing {
        self.shared.registry.sessions.standing(self.store)
    }

    /// Asks for what changed since the newest change known.
    async fn refresh(&mut self) -> Option<()> {
        let now_ms = self.shared.registry.clock.now_ms();
        let mut walk = Walk::new(Some(changes_since(self.newest_ms, now_ms)));
        loop {
            let answer = self.ask(walk.next()).await?;
            let (asked_ms, page) = self.read(answer).await?;
            let step = walk.took(&page);
            for row in &page.rows {
                if self.is_current(row, asked_ms) {
                    self.took(row);
                }
            }
            if step != Step::On {
                return Some(());
            }
        }
    }

    /// Whether a row tells anything: not if the session was deleted after the list was asked for.
    fn is_current(&mut self, row: &SessionRow, asked_ms: u64) -> bool {
        self.newest_ms = self.newest_ms.max(row.updated_ms);
        !self.shared.registry.graves.hold(self.store, &row.id, asked_ms)
    }

    /// Whether to take in this row once more would change nothing.
    fn is_known(&self, row: &SessionRow, asked_ms: u64) -> bool {
        let registry = &self.shared.registry;
        !registry.graves.hold(self.store, &row.id, asked_ms)
            && registry.sessions.still_listed(self.store, row, self.round)
    }

    fn took(&mut self, row: &SessionRow) {
        if !self.shared.registry.sessions.still_listed(self.store, row, self.round) {
            self.changed(row.clone());
        }
    }

    /// Takes in news, at once or after streams had time to tell of it themselves.
    fn changed(&mut self, row: SessionRow) {
        let sessions = &self.shared.registry.sessions;
        if !sessions.is_announced(self.store, &row.id) {
            sessions.row(self.store, &row, self.round);
            if !self.waiting.is_full() {
                self.waiting.add(row, Unheard::Made);
            }
            return;
        }
        // When sessions move to another project all of them change at once, and nobody wrote them.
        let advanced_since = sessions
            .last_change(self.store, &row.id)
            .filter(|(since_ms, project)| row.updated_ms > *since_ms && row.project == *project);
        match advanced_since {
            Some((since_ms, _)) if !self.waiting.is_full() => {
                // Listed it is, whatever becomes of the rest: a row this old changes nothing but the round.
                let listed = SessionRow { updated_ms: 0, ..row.clone() };
                sessions.row(self.store, &listed, self.round);
                self.waiting.add(row, Unheard::Changed { since_ms });
            }
            _ => drop(sessions.row(self.store, &row, self.round)),
        }
    }

    /// Takes in the rows that waited for a stream's word, tells of those of which none came, and suspects who wrote
    /// them.
    async fn settle(&mut self) {
        for Waits { row, what, .. } in self.waiting.over(self.shared.pace.heard_within) {
            let registry = &self.shared.registry;
            if registry.graves.hold(self.store, &row.id, 0) {
                continue;
            }
            let told = match what {
                Unheard::Made => registry.sessions.is_announced(self.store, &row.id),
                _ => registry
                    .sessions
                    .last_change(self.store, &row.id)
                    .is_none_or(|(updated_ms, _)| updated_ms >= row.updated_ms),
            };
            if told {
                continue;
            }
            registry.sessions.row(self.store, &row, self.round);
            if matches!(what, Unheard::Changed { .. }) {
                self.suspect(&row.id).await;
            }
            self.shared.tell(self.store, &row.id, what);
        }
    }

    /// Suspects those agents of writing a session whom we cannot hear.
    async fn suspect(&mut self, session: &SessionId) {
        let pids = self.unreachable().await.to_vec();
        let registry = &self.shared.registry;
        // A server whose stream is silent may have told nothing of its own sessions.
        let all_heard = registry.servers.now().of_store(self.store).all(|server| server.state == State::Up);
        if all_heard && !pids.is_empty() {
            registry.unseen.suspect(session, Suspicion { pids, at_ms: registry.clock.now_ms() });
        }
    }

    /// The agents that have this store open and cannot be reached.
    async fn unreachable(&mut self) -> &[u32] {
        let fresh = self.agents.as_ref().is_some_and(|(asked, _)| asked.elapsed() < AGENTS_FOR);
        if !fresh {
            let (shared, store) = (Arc::clone(&self.shared), self.store);
            let look = move || unreachable_of(&*shared.machine, &shared.registry, store);
            let found = tokio::task::spawn_blocking(look).await;
            self.agents = Some((Instant::now(), found.unwrap_or_default()));
        }
        self.agents.as_ref().map_or(&[], |(_, pids)| pids)
    }

    /// Looks for some of the sessions that the list no longer shows, and forgets those that are gone.
    async fn look_for_missing(&mut self) {
        let began = Instant::now();
        for looked_for in 0.. {
            if looked_for >= LOOKED_FOR && began.elapsed() >= LOOKING {
                return;
            }
            let Some(session) = self.missing.pop_front() else { return };
            let Some(server) = self.server() else { return self.missing.push_front(session) };
            let now_ms = self.shared.registry.clock.now_ms();
            match agent(&self.shared.client, &server).exists(&session, now_ms).await {
                Ok(Some(row)) => {
                    self.shared.registry.sessions.row(self.store, &row, self.round);
                }
                Ok(None) => {
                    tracing::debug!(%session, store = self.store.0, "session is gone from its store");
                    let registry = &self.shared.registry;
                    let known = registry.sessions.describe(&session, &registry.servers.now());
                    registry.delete(self.store, &session);
                    // Where a stream has told meanwhile, nothing is known any more.
                    if let Some(known) = known.into_iter().find(|known| known.store == self.store) {
                        self.shared.tell(self.store, &session, Unheard::Gone(known.row));
                    }
                }
                Err(error) => {
                    tracing::debug!(%session, server = %server.id, %error, "cannot tell whether a session is gone");
                    self.failed = Some(server.key);
                    return self.missing.push_back(session);
                }
            }
        }
    }

    async fn stamp_now(&mut self) -> Option<Stamp> {
        let server = self.server()?;
        if self.database.as_ref().is_none_or(|(asked, _)| *asked != server.key) {
            self.database = Some((server.key, changes::database(&*self.shared.machine, &server)));
        }
        let (_, path) = self.database.as_ref()?;
        Some(changes::stamp(path.as_deref()?).await)
    }
}

impl Shared {
    fn next_round(&self) -> u32 {
        self.rounds.fetch_add(1, Ordering::Relaxed) + 1
    }
}
