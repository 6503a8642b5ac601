//! From what the registry knows of a session to what our answers show of it.

use super::{
    Api,
    explain::{Explanation, explain},
    wire::{ClaimView, SessionDetail, SessionView, Status, UnseenWriter, Viewer},
};
use crate::{
    domain::{
        claim::Claim, evidence::Evidence, ids::SessionId, ids::StoreKey, ownership::Owner, ownership::Witness,
    },
    registry::{server::Server, servers::Snapshot, sessions::Known},
};

/// A session as lists show it.
pub(super) fn session(api: &Api, known: &Known, servers: &Snapshot) -> SessionView {
    let suspected = api.scout.unreachable_writers(&known.row.id);
    let owner = if suspected.is_empty() { known.owner } else { None };
    let server = owner.and_then(|owner| servers.get(owner.server));
    let busy =
        known.claims.iter().any(|claim| claim.evidence == Evidence::Busy && servers.lives(claim.server));
    SessionView {
        id: known.row.id.clone(),
        title: known.row.title.to_string(),
        directory: known.row.directory.to_string(),
        owner_port: server.map(|server| server.address.port),
        owner: server.map(|server| server.id.to_string()),
        evidence: owner.filter(|_| server.is_some()).map_or(Evidence::Listed, |owner| owner.evidence),
        status: if busy { Status::Busy } else { Status::Idle },
        updated: known.row.updated_ms,
        viewers: viewers(api, known, servers),
    }
}

/// The screens that show a session. One whose server reads another store shows another session of that id.
fn viewers(api: &Api, known: &Known, servers: &Snapshot) -> Vec<Viewer> {
    let viewers = api.registry.screens.viewers(&known.row.id).into_iter();
    let viewers = viewers.filter_map(|(id, screen)| {
        let server = screen.server.and_then(|server| servers.get(server));
        if server.is_some_and(|server| server.store != known.store) {
            return None;
        }
        Some(Viewer {
            id: id.to_string(),
            server: server.map(|server| server.id.to_string()),
            kind: screen.kind,
            pid: screen.pid,
            since: screen.since_ms,
        })
    });
    viewers.collect()
}

/// A session as it is shown alone.
pub(super) fn detail(api: &Api, known: &Known, servers: &Snapshot) -> SessionDetail {
    let suspected = api.scout.unreachable_writers(&known.row.id);
    let now_ms = api.registry.clock.now_ms();
    let Explanation { reason, until } =
        explain(known, servers, &suspected, now_ms, &jiff::tz::TimeZone::system());
    SessionDetail {
        session: session(api, known, servers),
        project: known.row.project.to_string(),
        parent: known.row.parent.clone(),
        store: api.registry.stores.label(known.store),
        claims: claims(known, servers),
        suspected,
        unseen_writer: api
            .registry
            .unseen
            .last_sighting(&known.row.id)
            .map(|sighting| UnseenWriter { at: sighting.at_ms, pids: sighting.pids }),
        reason,
        until,
    }
}

/// What is known of a session in one store.
pub(super) fn known(api: &Api, session: &SessionId, store: StoreKey, servers: &Snapshot) -> Option<Known> {
    let mut known = api.registry.sessions.describe(session, servers);
    let place = known.iter().position(|known| known.store == store)?;
    Some(known.swap_remove(place))
}

/// All claims, those included that are never stored: what it inherits, and who lists it.
fn claims(known: &Known, servers: &Snapshot) -> Vec<ClaimView> {
    let mut claims: Vec<Claim> = known.claims.iter().copied().collect();
    claims.sort_by_key(|claim| {
        (!servers.lives(claim.server), std::cmp::Reverse((claim.evidence, claim.at_ms)), claim.server)
    });
    let mut views: Vec<ClaimView> = claims
        .iter()
        .map(|claim| match servers.get(claim.server) {
            Some(server) => ClaimView { since: Some(claim.at_ms), ..living(server, claim.evidence) },
            None => ClaimView {
                server: None,
                address: None,
                pid: None,
                kind: None,
                evidence: claim.evidence,
                since: Some(claim.at_ms),
                gone: true,
            },
        })
        .collect();
    if let Some(Owner { server, evidence }) = known.owner
        && !claims.iter().any(|claim| claim.server == server && claim.evidence == evidence)
        && let Some(server) = servers.get(server)
    {
        let place =
            views.iter().position(|view| view.gone || view.evidence < evidence).unwrap_or(views.len());
        views.insert(place, living(server, evidence));
    }
    let end = views.iter().position(|view| view.gone).unwrap_or(views.len());
    let listing = servers.of_store(known.store).filter(|server| {
        let id = &*server.id.0;
        !views[..end].iter().any(|view| view.server.as_deref() == Some(id))
    });
    let listing: Vec<ClaimView> = listing.map(|server| living(server, Evidence::Listed)).collect();
    views.splice(end..end, listing);
    views
}

fn living(server: &Server, evidence: Evidence) -> ClaimView {
    ClaimView {
        server: Some(server.id.to_string()),
        address: Some(server.address.to_string()),
        pid: server.process.map(|process| process.pid),
        kind: Some(server.kind),
        evidence,
        since: None,
        gone: false,
    }
}
