//! Claims: which server a session may belong to, by what evidence, since when.
//!
//! A [`Claims`] is a set with a merge that does not depend on the order in which observations of different servers
//! arrive: for one server and one kind of evidence the newest time counts, for `busy` the oldest.

use smallvec::SmallVec;

use super::{evidence::Evidence, ids::ServerKey};

/// One reason to believe that `server` owns a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Who would own it.
    pub server: ServerKey,
    /// Why.
    pub evidence: Evidence,
    /// Since when, in milliseconds since 1970 by our clock.
    pub at_ms: u64,
}

/// All claims on one session, at most one for each server and kind of evidence.
///
/// `Listed` and `Inherited` are never stored: the first follows from the store, the second from the parent.
#[derive(Clone, Debug, Default)]
pub struct Claims(SmallVec<[Claim; 1]>);

impl Claims {
    /// Adds a claim or renews an equal one. Tells whether anything changed.
    ///
    /// Busy counts from when it began: with two busy servers the first keeps the session, however often the second
    /// repeats itself.
    pub fn assert(&mut self, claim: Claim) -> bool {
        let known =
            self.0.iter_mut().find(|known| known.server == claim.server && known.evidence == claim.evidence);
        match known {
            Some(known) => {
                let at_ms = match claim.evidence {
                    Evidence::Busy => known.at_ms.min(claim.at_ms),
                    _ => known.at_ms.max(claim.at_ms),
                };
                std::mem::replace(&mut known.at_ms, at_ms) != at_ms
            }
            None => {
                self.0.push(claim);
                true
            }
        }
    }

    /// Takes back the claims of `server` by `evidence`. Tells whether there was one.
    pub fn retract(&mut self, server: ServerKey, evidence: Evidence) -> bool {
        self.keep(|claim| claim.server != server || claim.evidence != evidence)
    }

    /// Keeps the claims for which `wanted` holds. Tells whether any went.
    pub fn keep(&mut self, wanted: impl Fn(&Claim) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|claim| wanted(claim));
        if self.0.len() <= 1 {
            self.0.shrink_to_fit();
        }
        self.0.len() != before
    }

    /// When `server` came to hold `evidence`.
    pub fn held_since(&self, server: ServerKey, evidence: Evidence) -> Option<u64> {
        self.iter()
            .find(|claim| claim.server == server && claim.evidence == evidence)
            .map(|claim| claim.at_ms)
    }

    /// Every claim, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Claim> {
        self.0.iter()
    }

    /// Whether nothing is claimed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Claim> for Claims {
    fn from_iter<I: IntoIterator<Item = Claim>>(claims: I) -> Self {
        let mut set = Self::default();
        for claim in claims {
            set.assert(claim);
        }
        set
    }
}
