//! Servers that are started: what the router, the metrics and the streams have to do with them.

use std::sync::{Arc, OnceLock};

use super::reception::Seen;
use crate::{
    config::Config,
    discovery::Door,
    events::hub::Hub,
    metrics::SpawnCensus,
    proxy::{
        route::Unstarted,
        router::{Asking, Starter},
    },
    registry::server::Server,
    spawn::{Asked, Parts, SpawnError, Spawner},
    state_dir::Shelf,
};

/// What is started, for those who must be there before it.
#[derive(Clone, Default)]
pub(super) struct Spawning(Arc<OnceLock<Spawner>>);

impl Spawning {
    /// To be called once. `hubs` are where clients listen.
    pub(super) fn begin(
        &self,
        config: &Config,
        files: Shelf,
        seen: Seen<'_>,
        door: Door,
        hubs: [Hub; 2],
    ) -> Spawner {
        let Seen { registry, machine, client, .. } = seen;
        let listened = move |server: &Server| {
            let directory = server.directory.as_deref().unwrap_or_default();
            hubs.iter().any(|hub| hub.is_heard(&server.id.0, directory))
        };
        let make = || {
            Spawner::new(Parts {
                settings: config.spawn.clone(),
                shelf: files,
                registry: Arc::clone(registry),
                machine: Arc::clone(machine),
                client,
                door,
                listened: Arc::new(listened),
            })
        };
        self.0.get_or_init(make).clone()
    }

    pub(super) fn census(&self) -> SpawnCensus {
        let Some(spawner) = self.0.get() else { return SpawnCensus::default() };
        let counts = spawner.counts();
        SpawnCensus {
            running: counts.running,
            limit: counts.limit,
            outcomes: [
                ("started", counts.started),
                ("taken-over", counts.taken_over),
                ("failed", counts.failed),
                ("limited", counts.limited),
                ("idle", counts.idle),
            ],
        }
    }
}

/// What starts servers for requests, if any are started.
pub(super) fn starter(spawner: &Spawner) -> Option<Arc<dyn Starter>> {
    spawner.is_on().then(|| Arc::new(OnDemand(spawner.clone())) as Arc<dyn Starter>)
}

struct OnDemand(Spawner);

impl Starter for OnDemand {
    fn start<'a>(&'a self, directory: &'a str) -> Asking<'a, Result<Option<Arc<Server>>, Unstarted>> {
        Box::pin(async move {
            match self.0.server(directory, Asked::ByRequest).await {
                Ok((server, _)) => Ok(Some(server)),
                Err(SpawnError::Off | SpawnError::NoDirectory { .. } | SpawnError::NotAllowed { .. }) => {
                    Ok(None)
                }
                Err(full @ SpawnError::Full { .. }) => Err(Unstarted::Full(full.to_string())),
                Err(error @ (SpawnError::Failed { .. } | SpawnError::Stopping)) => {
                    Err(Unstarted::Failed(error.to_string()))
                }
            }
        })
    }
}
