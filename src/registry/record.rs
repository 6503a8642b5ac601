//! What is kept of one session: who claims it, and the row of its store's list.

use crate::{
    domain::{
        claim::Claims,
        ids::{SessionId, StoreKey},
        ownership::{Owner, Witness, resolve},
    },
    registry::names::{Name, Names},
};

/// One session of one store. What changes together stands together: whoever holds the record sees claims and owner
/// in agreement. Some 100 bytes, titles apart, since there may be a million.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) store: StoreKey,
    /// The owner that `claims` gave when they last changed, its parent's part left out.
    pub(super) owner: Option<Owner>,
    pub(super) claims: Claims,
    pub(super) directory: Name,
    pub(super) project: Name,
    pub(super) title: Box<str>,
    pub(super) parent: Option<Box<SessionId>>,
    pub(super) updated_ms: u64,
    /// The round of reconciliation that saw the session in its store's list; 0 if none has yet.
    pub(super) round: u32,
    /// Subscribers were told that it exists, or it was there before they could be.
    pub(super) is_announced: bool,
}

impl Record {
    pub(super) fn new(store: StoreKey) -> Self {
        Self {
            store,
            owner: None,
            claims: Claims::default(),
            directory: Names::NONE,
            project: Names::NONE,
            title: Box::default(),
            parent: None,
            updated_ms: 0,
            round: 0,
            is_announced: false,
        }
    }

    /// Takes over what another record of the same session says. The owner is as it was until settled. Returns the title
    /// that is not kept.
    pub(super) fn merge(&mut self, mut other: Self) -> Box<str> {
        for claim in other.claims.iter() {
            self.claims.assert(*claim);
        }
        self.round = self.round.max(other.round);
        self.is_announced |= other.is_announced;
        if other.updated_ms > self.updated_ms {
            self.updated_ms = other.updated_ms;
            self.directory = other.directory;
            self.project = other.project;
            std::mem::swap(&mut self.title, &mut other.title);
            self.parent = other.parent;
        }
        other.title
    }

    /// Computes the owner anew. Returns the one before.
    pub(super) fn settle(&mut self, witness: &impl Witness) -> Option<Owner> {
        std::mem::replace(&mut self.owner, resolve(&self.claims, None, witness))
    }
}
