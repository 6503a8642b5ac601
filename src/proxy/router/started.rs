//! When a request needs a server that does not run yet.
//!
//! A directory that a request names gets one of its own if no server has it in use. Where that is not possible, whoever
//! could serve it without us serves it; only if nobody could, the client is told why none was started.

use std::sync::Arc;

use super::Router;
use crate::{
    domain::{
        candidate,
        directory::trimmed,
        ids::{SessionId, StoreKey},
    },
    proxy::route::{Route, RouteError, Target},
    registry::server::Server,
};

impl Router {
    /// The server for a directory that a request names.
    pub(super) async fn at(&self, directory: &str) -> Result<Target, RouteError> {
        let mut unstarted = None;
        if !self.is_in_use(directory) {
            match self.start(directory).await {
                Ok(Some(server)) => return Ok(Target::new(server, Route::Directory)),
                Ok(None) => {}
                Err(error) => unstarted = Some(error),
            }
        }
        match self.directory_server(directory) {
            Some(server) => Ok(Target::new(server, Route::Directory)),
            None => self.by_default().map_err(|none| unstarted.unwrap_or(none)),
        }
    }

    /// The server for a session of which no server runs any more.
    pub(super) async fn started_for(
        &self,
        session: &SessionId,
        store: StoreKey,
    ) -> Result<Target, RouteError> {
        let known = self.registry.sessions.describe(session, &self.registry.servers.now());
        let own = known.into_iter().find(|known| known.store == store).map(|known| known.row.directory);
        if let Some(directory) = own.filter(|directory| !directory.is_empty())
            && let Some(server) = self.start(&directory).await?
        {
            return Ok(Target::new(server, Route::Directory));
        }
        Err(self.no_server_of_store(session))
    }

    /// Sees to it that a list of `directory` has somebody to be asked: whoever is asked opens the directory, and has it
    /// in use from then on.
    pub async fn has_somebody(&self, directory: &str) -> Result<(), RouteError> {
        if self.is_in_use(directory) {
            return Ok(());
        }
        match self.start(directory).await {
            Err(error) if self.default_server().is_none() => Err(error),
            _ => Ok(()),
        }
    }

    async fn start(&self, directory: &str) -> Result<Option<Arc<Server>>, RouteError> {
        match &self.starter {
            Some(starter) => starter.start(directory).await.map_err(RouteError::Unstarted),
            None => Ok(None),
        }
    }

    /// Whether a server has it in use that takes its work; where none is ever started, nobody needs to know.
    fn is_in_use(&self, directory: &str) -> bool {
        if self.starter.is_none() {
            return true;
        }
        let servers = self.registry.servers.now();
        let directory = trimmed(directory);
        let open = |key| servers.get(key).is_some_and(|server| server.directories.contains(directory));
        candidate::in_use(&servers.candidates(None), directory, open)
    }
}
