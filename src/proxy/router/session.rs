//! The server of a session: its owner, one chosen for it, or one that is started for it.

use http::{Method, request::Parts};

use super::{Router, UnreachableOwner, names};
use crate::{
    domain::{
        ids::{SessionId, StoreKey},
        ownership::Owner,
    },
    proxy::{
        named,
        route::{Route, RouteError, Target},
    },
    registry::sessions::Found,
};

impl Router {
    /// Who has a session, after a look into the stores if nobody has mentioned it yet.
    pub(super) async fn find(&self, session: &SessionId, request: &Parts) -> Found {
        let found = self.registry.find(session);
        if found != Found::Unknown {
            return found;
        }
        let directory = named::directory(&request.uri, &request.headers);
        match self.scout.look_up(session, directory.as_deref()).await {
            // A feed may have told more about it in the meantime.
            Some(store) => match self.registry.find(session) {
                Found::Unknown => Found::In(store, None),
                found => found,
            },
            None => found,
        }
    }

    /// The server for a request about `session`, where that can be told from memory alone and nothing stands against
    /// it. Whatever else there is to say, [`Self::route`] says.
    pub fn at_hand(&self, session: &SessionId) -> Option<Target> {
        let Found::In(store, owner) = self.registry.find(session) else { return None };
        if !self.scout.unreachable_writers(session).is_empty() {
            return None;
        }
        self.held(session, store, owner).ok().flatten()
    }

    /// The server of a session that stands in `store`: its owner, or one chosen for it. `None` if none is left.
    fn held(
        &self,
        session: &SessionId,
        store: StoreKey,
        owner: Option<Owner>,
    ) -> Result<Option<Target>, RouteError> {
        let is_owned = owner.is_some_and(|owner| owner.evidence.owns());
        if !is_owned && self.registry.is_awaited(session) {
            return Err(RouteError::OwnerSilent { session: session.clone() });
        }
        let owner = owner.or_else(|| self.registry.choose(store, session));
        Ok(owner.and_then(|owner| {
            let server = self.registry.servers.get(owner.server)?;
            Some(Target::new(server, Route::Owner(owner.evidence)))
        }))
    }

    pub(super) async fn session(&self, session: &SessionId, request: &Parts) -> Result<Target, RouteError> {
        match self.find(session, request).await {
            Found::Unknown => self.directory(request).await,
            Found::InSeveral(stores) => Err(self.several(session, &stores)),
            Found::In(store, owner) => {
                if let Some(target) = self.unreachable(session, store, request)? {
                    return Ok(target);
                }
                match self.held(session, store, owner)? {
                    Some(target) => Ok(target),
                    None => self.started_for(session, store).await,
                }
            }
        }
    }

    /// Where a session goes that a process without a port seems to run: for a turn as configured, else as ever.
    fn unreachable(
        &self,
        session: &SessionId,
        store: StoreKey,
        request: &Parts,
    ) -> Result<Option<Target>, RouteError> {
        let pids = self.scout.unreachable_writers(session);
        if pids.is_empty() {
            return Ok(None);
        }
        let reads = request.method == Method::GET || request.method == Method::HEAD;
        if !reads && self.unreachable_owner == UnreachableOwner::Refuse {
            return Err(RouteError::OwnerUnreachable { session: session.clone(), pids });
        }
        let server =
            self.registry.choose(store, session).and_then(|owner| self.registry.servers.get(owner.server));
        Ok(server.map(|server| Target::new(server, Route::OwnerUnreachable)))
    }

    fn several(&self, session: &SessionId, stores: &[StoreKey]) -> RouteError {
        let servers = self.registry.servers.now();
        let one_of_each = stores.iter().filter_map(|&store| servers.of_store(store).next());
        RouteError::SeveralStores { session: session.clone(), servers: names(one_of_each) }
    }
}
