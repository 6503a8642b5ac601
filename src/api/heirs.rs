//! Sub-agents' sessions that follow their parents.
//!
//! A walk over all sessions sees each one's own claims only, and may not look at others meanwhile. Those whose
//! parent's evidence may decide are looked at afterwards, one by one.

use std::collections::HashMap;

use crate::{
    domain::{
        evidence::Evidence,
        ids::{ServerKey, SessionId, StoreKey},
        ownership::{Owner, Witness},
    },
    registry::{
        servers::Snapshot,
        sessions::{Sessions, glance::Glance},
    },
};

/// Which session of which store.
pub(super) type Place = (SessionId, StoreKey);

/// The server that owns a session by its own claims, in passing.
pub(super) fn own_owner(glance: &Glance<'_>, servers: &Snapshot) -> Option<Owner> {
    glance.own_owner().filter(|owner| servers.lives(owner.server))
}

/// Whether the parent's evidence may count for more than the session's own.
pub(super) fn may_inherit(glance: &Glance<'_>, servers: &Snapshot) -> bool {
    glance.has_parent() && own_owner(glance, servers).is_none_or(|owner| owner.evidence < Evidence::Inherited)
}

/// All sessions for which [`may_inherit`] holds and that some server owns, with that server.
pub(super) fn all(sessions: &Sessions, servers: &Snapshot) -> HashMap<Place, ServerKey> {
    let mut places: Vec<Place> = Vec::new();
    sessions.glance(|glance| {
        if may_inherit(&glance, servers) {
            places.push((glance.id.clone(), glance.store()));
        }
    });
    let owned = |(session, store): Place| {
        let owner = sessions.owner_in(&session, store, servers).filter(|owner| owner.evidence.owns())?;
        Some(((session, store), owner.server))
    };
    places.into_iter().filter_map(owned).collect()
}
