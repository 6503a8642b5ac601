//! Which screen is meant: the owner's, else the only one that can be.

use std::sync::Arc;

use http::request::Parts;

use super::{Router, names};
use crate::{
    domain::{directory::same_directory, ids::SessionId, kind::Kind},
    proxy::{
        named,
        route::{Route, RouteError, Target},
    },
    registry::{server::Server, sessions::Found},
};

impl Router {
    /// The screen on which a session is to be shown. A session that nobody owns is shown on the only screen of its
    /// directory: a choice that is good enough to read from is none to act on.
    pub(super) async fn screen_for(
        &self,
        session: &SessionId,
        request: &Parts,
    ) -> Result<Target, RouteError> {
        let store = match self.find(session, request).await {
            Found::Unknown => return self.screen(request),
            Found::In(store, owner)
                if owner.is_none_or(|owner| !owner.evidence.owns())
                    && !self.registry.is_awaited(session)
                    && self.scout.unreachable_writers(session).is_empty() =>
            {
                store
            }
            _ => return self.session(session, request).await,
        };
        if let Some(directory) = named::directory(&request.uri, &request.headers) {
            return self.screen_in(Some(&directory));
        }
        let known = self.registry.sessions.describe(session, &self.registry.servers.now());
        let own = known.iter().find(|known| known.store == store).map(|known| &*known.row.directory);
        self.screen_in(own)
    }

    /// A screen is somebody's: it is only typed into if no other can be meant.
    pub(super) fn screen(&self, request: &Parts) -> Result<Target, RouteError> {
        self.screen_in(named::directory(&request.uri, &request.headers).as_deref())
    }

    /// The only screen of `directory`; none where none is named.
    fn screen_in(&self, directory: Option<&str>) -> Result<Target, RouteError> {
        let servers = self.registry.servers.now();
        let screens = || servers.iter().filter(|server| server.kind == Kind::Tui);
        let in_directory = |server: &&Arc<Server>| match (directory, &server.directory) {
            (Some(named), Some(own)) => same_directory(named, own),
            _ => false,
        };
        let mut candidates = screens().filter(in_directory);
        match (candidates.next(), candidates.next()) {
            (Some(server), None) => Ok(Target::new(Arc::clone(server), Route::Only)),
            (Some(_), Some(_)) => {
                Err(RouteError::AmbiguousScreen { candidates: names(screens().filter(in_directory)) })
            }
            (None, _) => Err(RouteError::AmbiguousScreen { candidates: names(screens()) }),
        }
    }
}
