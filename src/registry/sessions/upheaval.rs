//! What changes for many sessions at once: a server comes, goes, is succeeded, or turns out to read another store.

use super::{Sessions, moved};
use crate::{
    domain::{
        claim::Claim,
        evidence::Evidence,
        ids::{ServerKey, SessionId, StoreKey},
        ownership::Owner,
    },
    registry::{server::Server, servers::Snapshot},
};

impl Sessions {
    /// Computes the owners anew of all sessions that `server` owned or claims. Call it after the server has left the
    /// snapshot or has come into it. Returns what moved.
    pub fn resettle(
        &self,
        server: ServerKey,
        servers: &Snapshot,
    ) -> Vec<(SessionId, StoreKey, Option<Owner>, Option<Owner>)> {
        let mut moves = Vec::new();
        self.records.for_each_mut(|session, record| {
            if record.claims.iter().any(|claim| claim.server == server) {
                let before = record.settle(servers);
                if let Some((from, to)) = moved(before, record.owner) {
                    moves.push((session.clone(), record.store, from, to));
                }
            }
        });
        moves
    }

    /// Lets `heir` succeed a server that has gone: it claims what that one owned, one step weaker, as of when that one
    /// last showed it, so that of several heirs the one of the last owner has it, whoever came first. Returns what it
    /// claims, and since when.
    pub fn succeed(&self, gone: ServerKey, heir: &Server, servers: &Snapshot) -> Vec<(SessionId, u64)> {
        let mut succeeded = Vec::new();
        self.records.for_each_mut(|session, record| {
            if record.store != heir.store {
                return;
            }
            let owned = record.claims.iter().filter(|claim| claim.server == gone && claim.evidence.owns());
            if let Some(at_ms) = owned.map(|claim| claim.at_ms).max() {
                record.claims.assert(Claim { server: heir.key, evidence: Evidence::Succeeded, at_ms });
                record.settle(servers);
                succeeded.push((session.clone(), at_ms));
            }
        });
        succeeded
    }

    /// Drops the claims of servers that will not come back.
    pub fn drop_claims(&self, gone: &[ServerKey], servers: &Snapshot) {
        self.records.for_each_mut(|_, record| {
            if record.claims.keep(|claim| !gone.contains(&claim.server)) {
                record.settle(servers);
            }
        });
    }

    /// The sessions that `server` has said it is busy with.
    pub fn busy_on(&self, server: ServerKey) -> Vec<(SessionId, StoreKey)> {
        let mut busy = Vec::new();
        self.records.for_each(|session, records| {
            for record in records {
                if record.claims.held_since(server, Evidence::Busy).is_some() {
                    busy.push((session.clone(), record.store));
                }
            }
        });
        busy
    }

    /// Moves what is known under a provisional store to the real one, once that is known, and what anybody still writes
    /// there. Returns the claims of the
    /// sessions that were known in both: who spoke last may be another one now than each record thought.
    pub fn rehome(&self, from: StoreKey, to: StoreKey, servers: &Snapshot) -> Vec<(SessionId, Claim)> {
        self.moves.note(from, to);
        let mut there = Vec::new();
        self.records.for_each(|session, records| {
            if records.iter().any(|record| record.store == from) {
                there.push(session.clone());
            }
        });
        let mut merged = Vec::new();
        for session in there {
            self.records.change_known(&session, |records| {
                let Some(place) = records.iter().position(|record| record.store == from) else { return };
                let mut moving = records.remove(place);
                self.tally.forgotten(from, moving.round);
                match records.iter_mut().find(|record| record.store == to) {
                    Some(record) => {
                        self.tally.told(to, record.round, moving.round);
                        let outdone = record.merge(moving);
                        self.titles.forgotten(&outdone);
                        record.settle(servers);
                        merged.extend(record.claims.iter().map(|claim| (session.clone(), *claim)));
                    }
                    None => {
                        self.tally.told(to, 0, moving.round);
                        moving.store = to;
                        records.push(moving);
                    }
                }
            });
        }
        merged
    }
}
