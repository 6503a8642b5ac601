//! What a server's screens show, as a claim.

use super::{Effect, Sessions, moved};
use crate::{
    domain::{
        claim::Claim,
        evidence::Evidence,
        ids::{ServerKey, SessionId, StoreKey},
    },
    registry::servers::Snapshot,
};

impl Sessions {
    /// Has `server` view a session since `since_ms`, or no longer. Unlike other claims this one says when, and is not
    /// held to the newest time: of two screens the one that came later may leave first.
    pub fn view(
        &self,
        store: StoreKey,
        session: &SessionId,
        server: ServerKey,
        since_ms: Option<u64>,
        servers: &Snapshot,
    ) -> Effect {
        let Some(at_ms) = since_ms else {
            return self.retract(store, session, server, Evidence::Viewing, servers);
        };
        self.change(store, session, |record| {
            record.claims.retract(server, Evidence::Viewing);
            record.claims.assert(Claim { server, evidence: Evidence::Viewing, at_ms });
            let before = record.settle(servers);
            Effect { moved: moved(before, record.owner), ..Effect::default() }
        })
    }
}
