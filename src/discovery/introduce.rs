//! What is asked of a server once, after it can be routed to: paths, project, and what waits there.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{Watcher, agent, identity};
use crate::{
    domain::{
        ask::{Ask, Interface},
        ids::ServerKey,
    },
    machine::{Machine, Process},
    opencode::{
        client::{AgentClient, AskError},
        wire::{Pending, Terminal},
    },
    registry::{Registry, asked::Origin, server::Server},
};

/// The pauses before each attempt. A server that opens its directory slowly is given time; one that cannot is left
/// alone, for routing does without.
const PAUSES: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_mins(1),
    Duration::from_mins(5),
];

/// What asking needs. Cheap to clone.
#[derive(Clone)]
pub(super) struct Introducer {
    pub(super) registry: Arc<Registry>,
    pub(super) machine: Arc<dyn Machine>,
    pub(super) client: AgentClient,
    pub(super) watcher: Arc<dyn Watcher>,
}

impl Introducer {
    /// Asks, and tells registry and watcher. Ends early when the server goes.
    pub(super) async fn introduce(self, key: ServerKey) {
        for pause in PAUSES {
            sleep(pause).await;
            let Some(server) = self.registry.servers.get(key) else { return };
            match self.ask(&server).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(server = %server.id, %error, "server does not introduce itself yet");
                }
            }
        }
    }

    async fn ask(&self, server: &Server) -> Result<(), AskError> {
        let agent = agent(&self.client, server);
        let paths = agent.path(None).await?;
        let process = self.process(server);
        let store = identity::store_told(process.as_ref(), &server.address, &paths);
        self.registry.place(server.key, self.registry.stores.key(store));
        self.change(server.key, |server| {
            server.directories.note(&paths.directory);
            server.directory = Some(paths.directory.clone());
            server.worktree = Some(paths.worktree.clone());
        });
        let project = agent.project_current(None).await?;
        self.change(server.key, |server| {
            server.project = Some(project.id.clone());
            server.worktree = Some(project.worktree.clone());
        });
        let own = |directory: &str| server.directory.as_deref().or(Some(&paths.directory)) == Some(directory);
        for directory in server.directories.all() {
            // The own directory is not named, so that even one that is written in two ways is opened once.
            let named = (!own(&directory)).then_some(&*directory);
            let permissions = agent.permissions(named).await?;
            let questions = agent.questions(named).await?;
            let terminals = agent.ptys(named).await?;
            self.raised(server.key, &directory, permissions.into_iter().chain(questions), terminals);
        }
        Ok(())
    }

    /// The server's process as it is now: it may have opened its store since it was found.
    fn process(&self, server: &Server) -> Option<Process> {
        let known = server.process?;
        self.machine.process(known.pid).filter(|process| process.started == known.started)
    }

    fn change(&self, key: ServerKey, change: impl FnOnce(&mut Server)) {
        if let Some(server) = self.registry.servers.change(key, change) {
            self.watcher.changed(server);
        }
    }

    fn raised(
        &self,
        server: ServerKey,
        directory: &Arc<str>,
        pending: impl Iterator<Item = Pending>,
        terminals: Vec<Terminal>,
    ) {
        let directory = Some(Arc::clone(directory));
        for Pending { id, session } in pending {
            let ask = Ask::of(&id, Interface::First);
            let origin = Origin { server, session: Some(session), directory: directory.clone(), ask };
            self.registry.asked.raised(&id, origin);
        }
        for terminal in terminals {
            let origin = Origin { server, session: None, directory: directory.clone(), ask: None };
            self.registry.asked.raised(&terminal.id, origin);
        }
    }
}
