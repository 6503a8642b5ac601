//! Where servers come in: those that are found, and those that register.

use std::{net::SocketAddr, sync::Arc};

use super::herald::Herald;
use crate::{
    config::{self, Config, Secret},
    discovery::{self, Discovery, Doubts},
    machine::Machine,
    opencode::client::AgentClient,
    registration::{Desk, Parts, Rules, notice},
    registry::{
        Registry,
        server::{Address, Credentials},
    },
    state_dir::{StateDir, StateDirError},
};

/// See the module.
pub(super) struct Reception {
    own: SocketAddr,
    url: Arc<str>,
    /// What whoever registers must know.
    pub(super) secret: Secret,
}

/// What both find their servers with.
#[derive(Clone)]
pub(super) struct Seen<'a> {
    pub(super) registry: &'a Arc<Registry>,
    pub(super) machine: &'a Arc<dyn Machine>,
    pub(super) client: AgentClient,
    pub(super) doubts: Doubts,
}

impl Reception {
    /// Writes into the state directory how a daemon is found that listens on `address`.
    pub(super) fn open(
        state_dir: &StateDir,
        address: SocketAddr,
        base_path: Option<&str>,
    ) -> Result<Self, StateDirError> {
        let url = format!("http://{}{}", notice::reached_at(address), base_path.unwrap_or_default());
        let secret = notice::post(state_dir, &url)?;
        Ok(Self { own: address, url: url.into(), secret })
    }

    /// Discovery, and the desk whose door it keeps.
    pub(super) fn staff(&self, config: &Config, seen: Seen<'_>, herald: Herald) -> (Discovery, Desk) {
        let settings = discovery_settings(config, self.own);
        let Seen { registry, machine, client, doubts } = seen;
        let default_credentials = settings.default_credentials.clone();
        let discovery =
            Discovery::new(settings, Arc::clone(registry), Arc::clone(machine), client.clone(), doubts);
        let desk = Desk::new(Parts {
            rules: Rules { own: self.own, allowed: config.discovery.registrants.clone() },
            secret: self.secret.clone(),
            url: Arc::clone(&self.url),
            registry: Arc::clone(registry),
            machine: Arc::clone(machine),
            client,
            default_credentials,
            door: discovery.door(),
            crier: Arc::new(herald),
        });
        (discovery, desk)
    }
}

fn discovery_settings(config: &Config, own_address: SocketAddr) -> discovery::Settings {
    let address = |url: &config::ServerUrl| Address::from_authority(&url.authority(), url.port());
    let credentials = |credentials: &config::Credentials| {
        Credentials::basic(&credentials.username, credentials.password.expose())
    };
    let configured = config.discovery.servers.iter().map(|server| discovery::Configured {
        address: address(&server.url),
        credentials: server.credentials.as_ref().map(credentials),
    });
    discovery::Settings {
        configured: configured.collect(),
        default_credentials: config.discovery.credentials.as_ref().map(credentials),
        ports: config.discovery.ports.as_ref().map(config::Ports::range),
        scan: config.discovery.scan,
        tick: config.discovery.tick,
        own_address,
        preferred: config.routing.default_server.as_ref().map(address),
        connect_timeout: config.discovery.connect_timeout,
    }
}
