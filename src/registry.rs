//! What exists: servers, their stores, and every session with the claims on it.
//!
//! The registry turns what is observed into claims, keeps those that must outlive a restart, and answers who owns a
//! session. It knows nothing of HTTP and asks nobody anything; discovery, feeds and the proxy tell it.

pub mod asked;
pub mod graves;
pub mod kept;
pub mod names;
mod news;
mod record;
pub mod screens;
pub mod server;
pub mod servers;
pub mod sessions;
pub mod stores;
pub mod succession;
pub mod unseen;
pub mod usage;

pub use self::news::{Conflict, Crier, Move, News, View};

use std::{collections::HashSet, sync::Arc};

use parking_lot::Mutex;

use self::{
    asked::Asked,
    graves::Graves,
    kept::{Kept, KeptClaim, KeptStatus, Remembered, is_kept},
    screens::Screens,
    server::{Server, ServerId},
    servers::{Servers, Snapshot},
    sessions::{Effect, Found, Sessions},
    stores::Stores,
    succession::Succession,
    unseen::Unseen,
};
use crate::{
    clock::Clock,
    domain::{
        claim::Claim,
        evidence::Evidence,
        ids::{ServerKey, SessionId, StoreKey},
        ownership::Owner,
    },
};

/// How late an event may arrive and still count from when it happened. Streams on one machine lag by milliseconds, a
/// suspended reader by seconds; a server whose clock is further off than this is read as if everything happened when
/// it arrived, so that it is not outdone for ever by what others did long ago.
const LATENESS_MS: u64 = 60_000;

/// See the module.
#[derive(Debug)]
pub struct Registry {
    /// The servers.
    pub servers: Servers,
    /// Their stores.
    pub stores: Stores,
    /// The sessions.
    pub sessions: Sessions,
    /// Permissions, questions and terminals, and who raised them.
    pub asked: Asked,
    /// Sessions deleted lately.
    pub graves: Graves,
    /// Sessions that somebody writes whom we cannot hear.
    pub unseen: Unseen,
    /// What screens show.
    pub screens: Screens,
    /// The one clock.
    pub clock: Clock,
    kept: Option<Kept>,
    remembered: Mutex<Remembered>,
    /// Servers whose processes run and have not answered yet.
    expected: Mutex<HashSet<ServerId>>,
    succession: Succession,
}

impl Registry {
    /// A registry that keeps its claims in `kept`, with those that an earlier run left; or nowhere.
    pub fn new(kept: Option<(Kept, Remembered)>) -> Self {
        let clock = Clock::default();
        let (kept, remembered) =
            kept.map_or((None, Remembered::new()), |(kept, remembered)| (Some(kept), remembered));
        let latest =
            remembered.values().flat_map(|kept| &kept.claims).map(|claim| claim.at_ms).max().unwrap_or(0);
        clock.not_before(latest);
        Self {
            servers: Servers::default(),
            stores: Stores::default(),
            sessions: Sessions::default(),
            asked: Asked::default(),
            graves: Graves::default(),
            unseen: Unseen::default(),
            screens: Screens::default(),
            clock,
            kept,
            remembered: Mutex::new(remembered),
            expected: Mutex::default(),
            succession: Succession::default(),
        }
    }

    /// The same, with no more than about so many titles of sessions.
    pub fn keeping_titles(self, most: usize) -> Self {
        Self { sessions: self.sessions.keeping_titles(most), ..self }
    }

    /// How far the writing of claims is behind.
    pub fn kept_status(&self) -> KeptStatus {
        self.kept.as_ref().map(Kept::status).unwrap_or_default()
    }

    /// A process runs that will be the server called `id` once it answers.
    pub fn expect(&self, id: ServerId) {
        self.expected.lock().insert(id);
    }

    /// A process that was expected has ended, or has been met.
    pub fn expect_no_more(&self, id: &ServerId) {
        self.expected.lock().remove(id);
    }

    /// Whether the process of this server runs and has not answered yet.
    pub fn is_expected(&self, id: &ServerId) -> bool {
        self.expected.lock().contains(id)
    }

    /// Whether an earlier run knew that `session` belongs to a server whose process still runs and has not answered
    /// yet: then no other may have it meanwhile.
    pub fn is_awaited(&self, session: &SessionId) -> bool {
        let remembered = self.remembered.lock();
        if remembered.is_empty() {
            return false;
        }
        let owns = |kept: &KeptClaim| kept.session == *session && kept.evidence.owns();
        let expected = self.expected.lock();
        expected.iter().filter_map(|id| remembered.get(id)).flat_map(|kept| &kept.claims).any(owns)
    }

    /// Takes in a server that answered, with the claims it had before a restart of ours and those of a predecessor
    /// whose place it took. `None` if it is known already.
    pub fn arrive(&self, make: impl FnOnce(ServerKey) -> Server) -> Option<Arc<Server>> {
        let server = self.servers.add(make)?;
        self.expect_no_more(&server.id);
        let snapshot = self.servers.now();
        let remembered = self.remembered.lock().remove(&server.id).unwrap_or_default();
        for kept in remembered.claims {
            let claim = Claim { server: server.key, evidence: kept.evidence, at_ms: kept.at_ms };
            self.sessions.claim(server.store, &kept.session, claim, &snapshot);
        }
        if let Some(kept) = self.kept.clone() {
            let id = server.id.clone();
            let keep = move |directory: &str| kept.put_directory(&id, directory);
            server.directories.kept(&remembered.directories, keep);
        }
        let now_ms = self.clock.now_ms();
        if let Some(gone) = self.succession.predecessor(&server, now_ms) {
            self.succeed(gone, &server, &snapshot);
        }
        Some(server)
    }

    /// Takes out a server that is gone; its claims count for nothing from here on. Returns what moved, `None` if it
    /// was out already.
    pub fn depart(&self, key: ServerKey) -> Option<(Arc<Server>, News)> {
        let server = self.servers.remove(key)?;
        let now_ms = self.clock.now_ms();
        let orphans = self.asked.forget_server(key);
        let snapshot = self.servers.now();
        let moves = self.sessions.resettle(key, &snapshot);
        let lapsed = self.succession.gone(&server, now_ms);
        self.sessions.drop_claims(&lapsed, &snapshot);
        if let Some(kept) = &self.kept {
            kept.forget(&server.id);
        }
        let owned =
            moves.into_iter().filter(|(_, _, from, _)| from.is_some_and(|owner| owner.evidence.owns()));
        let moves = owned.map(|(session, _, _, to)| Move {
            session,
            from: Some(server.id.clone()),
            to: to.and_then(|owner| snapshot.get(owner.server)).map(|server| server.id.clone()),
            evidence: to.map(|owner| owner.evidence),
        });
        let moves = moves.collect();
        Some((server, News { moves, orphans, ..News::default() }))
    }

    /// Places a server in its store, once that is known. What it claimed before moves along.
    pub fn place(&self, key: ServerKey, store: StoreKey) {
        let Some(server) = self.servers.get(key) else { return };
        let before = server.store;
        if before == store {
            return;
        }
        self.servers.change(key, |server| server.store = store);
        let snapshot = self.servers.now();
        if snapshot.of_store(before).next().is_none() {
            self.stores.give_up(before);
            for (session, claim) in self.sessions.rehome(before, store, &snapshot) {
                if is_kept(claim.evidence)
                    && let (Some(kept), Some(server)) = (&self.kept, snapshot.get(claim.server))
                {
                    kept.put(&server.id, &session, claim.evidence, claim.at_ms);
                }
            }
        }
        let now_ms = self.clock.now_ms();
        if let Some(server) = snapshot.get(key)
            && let Some(gone) = self.succession.predecessor(server, now_ms)
        {
            self.succeed(gone, server, &snapshot);
        }
    }

    fn succeed(&self, gone: ServerKey, heir: &Server, servers: &Snapshot) {
        for (session, at_ms) in self.sessions.succeed(gone, heir, servers) {
            if let Some(kept) = &self.kept {
                kept.put(&heir.id, &session, Evidence::Succeeded, at_ms);
            }
        }
    }

    /// Who has this session. Runs on every request.
    pub fn find(&self, session: &SessionId) -> Found {
        self.sessions.find(session, &self.servers.now())
    }

    /// Adds a claim of a live server, as of now. A server that has gone claims nothing.
    pub fn claim(&self, server: &Server, session: &SessionId, evidence: Evidence) -> News {
        self.claim_at(server, session, evidence, self.clock.now_ms())
    }

    /// Adds a claim that rests on something which happened at `at_ms`, by the clock of this machine: streams overtake
    /// one another, and what arrives last need not have happened last. That reaches back a minute.
    ///
    /// A busy server runs a turn, so it claims `emitted` as well: that outlives the turn, and a restart of ours.
    pub fn claim_at(&self, server: &Server, session: &SessionId, evidence: Evidence, at_ms: u64) -> News {
        let at_ms = happened(at_ms, self.clock.now_ms());
        let snapshot = self.servers.now();
        // The caller's view of the server may be older than its place in its store.
        let Some(server) = snapshot.get(server.key) else { return News::default() };
        let mut news = self.assert(server, session, evidence, at_ms, &snapshot);
        if evidence == Evidence::Busy {
            news.add(self.assert(server, session, Evidence::Emitted, at_ms, &snapshot));
        }
        news
    }

    fn assert(
        &self,
        server: &Server,
        session: &SessionId,
        evidence: Evidence,
        at_ms: u64,
        servers: &Snapshot,
    ) -> News {
        let claim = Claim { server: server.key, evidence, at_ms };
        if evidence > Evidence::Inherited {
            self.unseen.clear(session);
        }
        let effect = self.sessions.claim(server.store, session, claim, servers);
        if effect.keep
            && is_kept(evidence)
            && let Some(kept) = &self.kept
        {
            kept.put(&server.id, session, evidence, at_ms);
            if let Some((newest, by)) =
                effect.overtaken.and_then(|newest| Some((newest, servers.get(newest.server)?)))
            {
                kept.put(&by.id, session, newest.evidence, newest.at_ms);
            }
        }
        self.news(session, server.key, effect)
    }

    /// Takes back a claim.
    pub fn retract(&self, server: &Server, session: &SessionId, evidence: Evidence) -> News {
        let snapshot = self.servers.now();
        let Some(server) = snapshot.get(server.key) else { return News::default() };
        let effect = self.sessions.retract(server.store, session, server.key, evidence, &snapshot);
        if effect.keep
            && is_kept(evidence)
            && let Some(kept) = &self.kept
        {
            kept.remove(&server.id, session, evidence);
        }
        self.news(session, server.key, effect)
    }

    /// A server says that a session is idle there. `None` if that speaks of a turn which never ran there while
    /// another server is busy with the session: then nobody else should hear of it.
    pub fn idle(&self, server: &Server, session: &SessionId) -> Option<News> {
        if self.idle_is_foreign(server, session) {
            return None;
        }
        Some(self.retract(server, session, Evidence::Busy))
    }

    /// Whether an idle of `server` speaks of a turn that never ran there, while another server is busy with the
    /// session. Changes nothing.
    pub fn idle_is_foreign(&self, server: &Server, session: &SessionId) -> bool {
        let snapshot = self.servers.now();
        let store = snapshot.get(server.key).map_or(server.store, |server| server.store);
        self.sessions.idle_is_foreign(store, session, server.key, &snapshot)
    }

    /// After a gap in a server's stream: it is busy with `busy`, and no longer with those of which `ended` holds, told
    /// by session and directory.
    pub fn confirm_busy(
        &self,
        server: &Server,
        busy: &HashSet<SessionId>,
        ended: impl Fn(&SessionId, &str) -> bool,
    ) -> News {
        let mut news = News::default();
        for (session, store) in self.sessions.busy_on(server.key) {
            let known = self.sessions.describe(&session, &self.servers.now());
            let directory =
                known.iter().find(|known| known.store == store).map(|known| &*known.row.directory);
            if ended(&session, directory.unwrap_or_default()) {
                news.add(self.retract(server, &session, Evidence::Busy));
            }
        }
        for session in busy {
            news.add(self.claim(server, session, Evidence::Busy));
        }
        news
    }

    /// The server for a session that nobody claims; see [`Sessions::choose`].
    pub fn choose(&self, store: StoreKey, session: &SessionId) -> Option<Owner> {
        let at_ms = self.clock.now_ms();
        let snapshot = self.servers.now();
        let (owner, effect) = self.sessions.choose(store, session, at_ms, &snapshot)?;
        if effect.keep
            && owner.evidence == Evidence::Chosen
            && let (Some(kept), Some(server)) = (&self.kept, snapshot.get(owner.server))
        {
            kept.put(&server.id, session, Evidence::Chosen, at_ms);
        }
        Some(owner)
    }

    /// A session was deleted.
    pub fn delete(&self, store: StoreKey, session: &SessionId) {
        let snapshot = self.servers.now();
        for known in self.sessions.describe(session, &snapshot).iter().filter(|known| known.store == store) {
            for claim in known.claims.iter().filter(|claim| is_kept(claim.evidence)) {
                if let (Some(kept), Some(server)) = (&self.kept, snapshot.get(claim.server)) {
                    kept.remove(&server.id, session, claim.evidence);
                }
            }
        }
        self.graves.bury(store, session, self.clock.now_ms());
        self.sessions.forget(store, session);
        self.asked.forget_session(session);
    }

    /// Forgets what an earlier run kept of servers that have not been met since we started.
    pub fn forget_unmet(&self) {
        for (server, _) in self.remembered.lock().drain() {
            if let Some(kept) = &self.kept {
                kept.forget(&server);
            }
        }
    }

    /// Waits until all claims made so far would survive our own death.
    pub async fn settled(&self) {
        if let Some(kept) = &self.kept {
            kept.settled().await;
        }
    }

    fn news(&self, session: &SessionId, server: ServerKey, effect: Effect) -> News {
        // A first owner is no move: nobody has had it before.
        let moved = effect.moved.filter(|(from, _)| from.is_some_and(|owner| owner.evidence.owns()));
        let id = |owner: Option<Owner>| self.servers.id(owner?.server);
        let owner_changed = moved.map(|(from, to)| Move {
            session: session.clone(),
            from: id(from),
            to: id(to),
            evidence: to.map(|owner| owner.evidence),
        });
        let conflict = |busy| Conflict { session: session.clone(), busy, other: server };
        News {
            moves: owner_changed.into_iter().collect(),
            conflicts: effect.conflict.map(conflict).into_iter().collect(),
            ..News::default()
        }
    }
}

/// When something happened that is said to have happened at `at_ms`.
fn happened(at_ms: u64, now_ms: u64) -> u64 {
    if at_ms <= now_ms && now_ms - at_ms <= LATENESS_MS { at_ms } else { now_ms }
}
