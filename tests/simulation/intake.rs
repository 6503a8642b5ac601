//! What an event means to the registry.

use pointsman::{
    domain::{evidence::Evidence, ids::SessionId, session::SessionRow},
    registry::{News, Registry, server::Server},
};

/// What an event of a feed says.
#[derive(Clone, Debug)]
pub(crate) enum Signal {
    Busy,
    Idle,
    Failed,
    Output,
    Created(SessionRow),
    Updated(SessionRow),
    Deleted,
}

/// Takes in what `server` said of `session` at `at_ms`. `None` for an idle that others must not hear of.
pub(crate) fn take_in(
    registry: &Registry,
    server: &Server,
    session: &SessionId,
    signal: &Signal,
    at_ms: u64,
) -> Option<News> {
    match signal {
        Signal::Busy => Some(registry.claim_at(server, session, Evidence::Busy, at_ms)),
        Signal::Output => Some(registry.claim_at(server, session, Evidence::Emitted, at_ms)),
        Signal::Idle => registry.idle(server, session),
        Signal::Failed => Some(registry.retract(server, session, Evidence::Busy)),
        Signal::Created(row) => {
            registry.sessions.row(server.store, row, 0);
            Some(registry.claim_at(server, session, Evidence::Emitted, at_ms))
        }
        Signal::Updated(row) => {
            registry.sessions.row(server.store, row, 0);
            Some(News::default())
        }
        Signal::Deleted => {
            registry.delete(server.store, session);
            Some(News::default())
        }
    }
}
