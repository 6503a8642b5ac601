//! Every session we know, with its claims: the table that routing reads.
//!
//! One entry for each session id, which holds one record for each store that has the id, nearly always one. The owner is
//! resolved when claims change and only read by requests. No part of the table is locked while the table is touched
//! again: what concerns a parent is read first and passed along.

pub mod glance;
mod moves;
mod table;
mod tally;
mod titles;
mod upheaval;
mod view;

pub use self::tally::Standing;
use self::{
    moves::Moves,
    table::{Table, Values},
    tally::Tally,
    titles::Titles,
};
use super::{names::Names, record::Record, servers::Snapshot};
use crate::domain::{
    candidate,
    claim::{Claim, Claims},
    evidence::Evidence,
    ids::{ServerKey, SessionId, StoreKey},
    ownership::{Owner, Witness, resolve},
    session::SessionRow,
};

/// How many generations of sub-agents are followed up to the session that a person started.
const GENERATIONS: usize = 8;

/// What we know of a session id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Never seen.
    Unknown,
    /// In one store; with its owner, if evidence names one.
    In(StoreKey, Option<Owner>),
    /// In several stores, which makes it several sessions.
    InSeveral(Vec<StoreKey>),
}

/// What a claim changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// Owner before and after, if it is another server now.
    pub moved: Option<(Option<Owner>, Option<Owner>)>,
    /// Another live server is busy with the session while this one runs a turn of it, and nobody was told yet.
    pub conflict: Option<ServerKey>,
    /// The claim changed what would be known after a restart.
    pub keep: bool,
    /// A newer claim by the same evidence whose renewals were not kept, and must be now: else an older one that
    /// arrived late would look newer after a restart.
    pub overtaken: Option<Claim>,
}

/// A session as people see it.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its row.
    pub row: SessionRow,
    /// The store it stands in.
    pub store: StoreKey,
    /// Who owns it, by evidence.
    pub owner: Option<Owner>,
    /// All claims on it.
    pub claims: Claims,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Sessions {
    records: Table<Record>,
    names: Names,
    tally: Tally,
    moves: Moves,
    titles: Titles,
}

impl Sessions {
    /// Who has this session. Runs on every request.
    pub fn find(&self, session: &SessionId, servers: &Snapshot) -> Found {
        let settled = |records: &[Record]| {
            let [record] = records else {
                return Ok(Found::InSeveral(records.iter().map(|record| record.store).collect()));
            };
            match (&record.owner, &record.parent) {
                (Some(owner), _) if owner.evidence > Evidence::Inherited && servers.lives(owner.server) => {
                    Ok(Found::In(record.store, Some(*owner)))
                }
                (owner, None) if owner.is_none_or(|owner| servers.lives(owner.server)) => {
                    Ok(Found::In(record.store, *owner))
                }
                _ => Err(record.store),
            }
        };
        match self.records.read(session, settled) {
            None => Found::Unknown,
            Some(Ok(found)) => found,
            Some(Err(store)) => Found::In(store, self.owner_in(session, store, servers)),
        }
    }

    /// The owner of a session in one store, its parents asked where its own evidence is weaker than theirs.
    pub fn owner_in(&self, session: &SessionId, store: StoreKey, servers: &Snapshot) -> Option<Owner> {
        self.inherited(session, store, servers, GENERATIONS)
    }

    fn inherited(
        &self,
        session: &SessionId,
        store: StoreKey,
        servers: &Snapshot,
        generations: usize,
    ) -> Option<Owner> {
        let (claims, parent) =
            self.with(session, store, |record| (record.claims.clone(), record.parent.clone()))?;
        let parent = parent
            .filter(|_| generations > 0)
            .and_then(|parent| self.inherited(&parent, store, servers, generations - 1));
        resolve(&claims, parent, servers)
    }

    /// Adds or renews a claim.
    pub fn claim(&self, store: StoreKey, session: &SessionId, claim: Claim, servers: &Snapshot) -> Effect {
        self.change(store, session, |record| {
            let newest_of_kind = record
                .claims
                .iter()
                .filter(|known| known.evidence == claim.evidence)
                .max_by_key(|known| known.at_ms)
                .copied();
            let conflict = conflict(&record.claims, claim, servers);
            let changed = record.claims.assert(claim);
            let before = record.settle(servers);
            Effect {
                moved: moved(before, record.owner),
                conflict,
                // A renewal by the server that spoke last decides nothing anew: streams renew at every word.
                keep: changed && newest_of_kind.map(|newest| newest.server) != Some(claim.server),
                overtaken: newest_of_kind
                    .filter(|newest| newest.server != claim.server && newest.at_ms >= claim.at_ms),
            }
        })
    }

    /// Takes back a claim.
    pub fn retract(
        &self,
        store: StoreKey,
        session: &SessionId,
        server: ServerKey,
        evidence: Evidence,
        servers: &Snapshot,
    ) -> Effect {
        self.change_known(store, session, |record| {
            let keep = record.claims.retract(server, evidence);
            let before = record.settle(servers);
            Effect { moved: moved(before, record.owner), conflict: None, keep, overtaken: None }
        })
        .unwrap_or_default()
    }

    /// Whether another live server than `server` is busy with the session while `server` is not: then an idle from
    /// `server` speaks of a turn that never ran there.
    pub fn idle_is_foreign(
        &self,
        store: StoreKey,
        session: &SessionId,
        server: ServerKey,
        servers: &Snapshot,
    ) -> bool {
        self.with(session, store, |record| {
            record.claims.held_since(server, Evidence::Busy).is_none()
                && record
                    .claims
                    .iter()
                    .any(|claim| claim.evidence == Evidence::Busy && servers.lives(claim.server))
        })
        .unwrap_or(false)
    }

    /// Takes over what a list or an event tells of a session. An older row than the known one changes nothing but the
    /// round in which it was seen. Tells whether the session is new to us.
    pub fn row(&self, store: StoreKey, row: &SessionRow, round: u32) -> bool {
        let (directory, project) = (self.names.number(&row.directory), self.names.number(&row.project));
        let known = self.with(&row.id, store, |_| ()).is_some();
        self.change(store, &row.id, |record| {
            self.tally.told(record.store, record.round, round);
            record.round = record.round.max(round);
            if row.updated_ms >= record.updated_ms {
                record.updated_ms = row.updated_ms;
                record.directory = directory;
                record.project = project;
                record.parent = row.parent.clone().map(Box::new);
                self.titles.put(&mut record.title, &row.title, row.updated_ms);
            }
        });
        !known
    }

    /// Notes that the list of `round` shows a session as it is known already, which is so of nearly all rows and costs one
    /// look; false, and nothing noted, if it tells anything new.
    pub fn still_listed(&self, store: StoreKey, row: &SessionRow, round: u32) -> bool {
        let (directory, project) = (self.names.number(&row.directory), self.names.number(&row.project));
        let note = |record: &mut Record| {
            let is_known = record.is_announced
                && record.updated_ms == row.updated_ms
                && record.directory == directory
                && record.project == project
                && record.parent.as_deref() == row.parent.as_ref()
                && (record.title.is_empty() || *record.title == *row.title);
            if is_known {
                self.tally.listed(record.store, record.round, round);
                record.round = record.round.max(round);
            }
            is_known
        };
        self.change_known(store, &row.id, note).unwrap_or(false)
    }

    /// This table, with the titles kept of no more than about `most` sessions: those that changed last.
    pub fn keeping_titles(self, most: usize) -> Self {
        Self { titles: Titles::new(most), ..self }
    }

    /// How many titles are kept, and how many may be.
    pub fn titles(&self) -> (usize, usize) {
        self.titles.kept()
    }

    /// Takes titles out if there are too many. Walks over all sessions then, so it is nothing for a thread that
    /// requests wait for.
    pub fn drop_old_titles(&self) {
        if !self.titles.are_too_many() {
            return;
        }
        let mut changes = Vec::new();
        self.records.for_each(|_, records| {
            changes.extend(
                records.iter().filter(|record| !record.title.is_empty()).map(|record| record.updated_ms),
            );
        });
        let since_ms = self.titles.draw_line(changes);
        self.records.for_each_mut(|_, record| {
            if record.updated_ms < since_ms {
                self.titles.put(&mut record.title, "", record.updated_ms);
            }
        });
    }

    /// Subscribers know that the session exists: they were told, or it was there before they could be.
    pub fn announce(&self, store: StoreKey, session: &SessionId) {
        self.change_known(store, session, |record| record.is_announced = true);
    }

    /// Whether they do.
    pub fn is_announced(&self, store: StoreKey, session: &SessionId) -> bool {
        self.with(session, store, |record| record.is_announced).unwrap_or(false)
    }

    /// The last known change of a session, in milliseconds since 1970 by its server's clock, and its project.
    pub fn last_change(&self, store: StoreKey, session: &SessionId) -> Option<(u64, std::sync::Arc<str>)> {
        let (updated_ms, project) =
            self.with(session, store, |record| (record.updated_ms, record.project))?;
        Some((updated_ms, self.names.text(project)))
    }

    /// Forgets a session that its store no longer has.
    pub fn forget(&self, store: StoreKey, session: &SessionId) -> bool {
        self.records
            .change_known(session, |records| {
                let store = self.moves.resolve(store);
                let before = records.len();
                for record in records.iter().filter(|record| record.store == store) {
                    self.tally.forgotten(store, record.round);
                    self.titles.forgotten(&record.title);
                }
                records.retain(|record| record.store != store);
                records.len() < before
            })
            .unwrap_or(false)
    }

    /// Everything known of a session, once for each store that has it.
    pub fn describe(&self, session: &SessionId, servers: &Snapshot) -> Vec<Known> {
        let stores = |records: &[Record]| records.iter().map(|record| record.store).collect::<Vec<_>>();
        let stores = self.records.read(session, stores).unwrap_or_default();
        stores
            .into_iter()
            .filter_map(|store| {
                let known = self.with(session, store, |record| self.known(session, record))?;
                Some(Known { owner: self.owner_in(session, store, servers), ..known })
            })
            .collect()
    }

    /// Visits every session. Owners are those by the session's own claims; a guard of the map is held meanwhile, so
    /// `visit` must not touch the map.
    pub fn for_each(
        &self,
        mut visit: impl FnMut(&SessionId, StoreKey, Option<Owner>, u64, &dyn Fn() -> Known),
    ) {
        self.records.for_each(|session, records| {
            for record in records {
                let known = || self.known(session, record);
                visit(session, record.store, record.owner, record.updated_ms, &known);
            }
        });
    }

    /// How many sessions are known.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.records.len() == 0
    }

    /// The server for a session that nobody claims: chosen once among the servers of its store, by a rule that always
    /// gives the same answer, and kept as a claim. `None` if no server of the store lives.
    pub fn choose(
        &self,
        store: StoreKey,
        session: &SessionId,
        now_ms: u64,
        servers: &Snapshot,
    ) -> Option<(Owner, Effect)> {
        let (directory, updated_ms) = self
            .with(session, store, |record| (record.directory, record.updated_ms))
            .unwrap_or((Names::NONE, 0));
        let directory = self.names.text(directory);
        let directory = Some(&*directory).filter(|directory| !directory.is_empty());
        let server = candidate::for_session(&servers.candidates(Some(store)), directory, updated_ms)?;
        let claim = Claim { server, evidence: Evidence::Chosen, at_ms: now_ms };
        let effect = self.claim(store, session, claim, servers);
        Some((self.owner_in(session, store, servers)?, effect))
    }

    /// The sessions of a store that were listed in an earlier round but not in `round`.
    pub fn missing_since(&self, store: StoreKey, round: u32) -> Vec<SessionId> {
        if self.tally.is_complete(store, round) {
            return Vec::new();
        }
        let mut missing = Vec::new();
        self.records.for_each(|session, records| {
            let unseen = |record: &Record| record.store == store && (1..round).contains(&record.round);
            if records.iter().any(unseen) {
                missing.push(session.clone());
            }
        });
        missing
    }

    fn known(&self, session: &SessionId, record: &Record) -> Known {
        Known {
            row: SessionRow {
                id: session.clone(),
                directory: self.names.text(record.directory),
                project: self.names.text(record.project),
                title: (*record.title).into(),
                parent: record.parent.as_deref().cloned(),
                created_ms: 0,
                updated_ms: record.updated_ms,
            },
            store: record.store,
            owner: record.owner,
            claims: record.claims.clone(),
        }
    }

    fn with<T>(&self, session: &SessionId, store: StoreKey, read: impl FnOnce(&Record) -> T) -> Option<T> {
        let read = |records: &[Record]| {
            let store = self.moves.resolve(store);
            records.iter().find(|record| record.store == store).map(read)
        };
        self.records.read(session, read)?
    }

    fn change<T>(&self, store: StoreKey, session: &SessionId, change: impl FnOnce(&mut Record) -> T) -> T {
        self.records.change(session, |records| {
            // Asked while the record is locked: a store that moves is noted before its records move.
            let store = self.moves.resolve(store);
            let place = records.iter().position(|record| record.store == store).unwrap_or_else(|| {
                records.push(Record::new(store));
                records.len() - 1
            });
            change(&mut records[place])
        })
    }

    fn change_known<T>(
        &self,
        store: StoreKey,
        session: &SessionId,
        change: impl FnOnce(&mut Record) -> T,
    ) -> Option<T> {
        let change = |records: &mut Values<Record>| {
            let store = self.moves.resolve(store);
            records.iter_mut().find(|record| record.store == store).map(change)
        };
        self.records.change_known(session, change)?
    }
}

fn moved(before: Option<Owner>, after: Option<Owner>) -> Option<(Option<Owner>, Option<Owner>)> {
    let server = |owner: Option<Owner>| owner.map(|owner| owner.server);
    (server(before) != server(after)).then_some((before, after))
}

/// The live server that is busy with the session while `claim` says that another runs a turn of it, unless the other
/// has said so before.
fn conflict(claims: &Claims, claim: Claim, servers: &Snapshot) -> Option<ServerKey> {
    if !matches!(claim.evidence, Evidence::Busy | Evidence::Emitted) {
        return None;
    }
    let busy = claims.iter().find(|known| {
        known.evidence == Evidence::Busy && known.server != claim.server && servers.lives(known.server)
    })?;
    let said_before = [Evidence::Busy, Evidence::Emitted]
        .into_iter()
        .filter_map(|evidence| claims.held_since(claim.server, evidence))
        .any(|at_ms| at_ms >= busy.at_ms);
    (!said_before).then_some(busy.server)
}

#[cfg(test)]
mod tests;
