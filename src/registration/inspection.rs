//! Looking at an applicant: whose process it is, and whether an agent answers there.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{
    Applicant, Refused,
    admission::judge,
    machine_facts::{self, Facts},
};
use crate::{
    discovery::Registrant,
    domain::kind::Kind,
    machine::Machine,
    opencode::{
        client::{AgentClient, AskError},
        wire::Health,
    },
    registry::server::{Address, Credentials, Source},
};

/// How long an applicant's listener has to say that it is an agent. A plugin answers at once; a busy machine takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Inspector {
    pub(super) machine: Arc<dyn Machine>,
    pub(super) client: AgentClient,
    /// What a server that wants a password is told.
    pub(super) default_credentials: Option<Credentials>,
}

impl Inspector {
    async fn look(&self, applicant: &Applicant, sockets: Vec<SocketAddr>) -> Facts {
        machine_facts::look(&self.machine, applicant.pid, sockets, applicant.store.clone()).await
    }

    /// Looks at a screen without a server of its own.
    pub(super) async fn screen(&self, applicant: &Applicant) -> Result<(), Refused> {
        let facts = self.look(applicant, Vec::new()).await;
        judge(applicant, facts.process.as_ref(), self.machine.uid(), false)
    }

    /// Looks at a server that wants in, and asks it for its health.
    pub(super) async fn server(
        &self,
        applicant: &Applicant,
        address: Address,
        sockets: Vec<SocketAddr>,
        here: bool,
    ) -> Result<Registrant, Refused> {
        let facts = self.look(applicant, sockets).await;
        let fit = judge(applicant, facts.process.as_ref(), self.machine.uid(), facts.listens.is_some());
        if here {
            fit?;
        }
        let (address, process, socket) = match facts.listens {
            Some((at, socket)) => (at.into(), facts.process, Some(socket)),
            // On another machine: what runs under that number here is somebody else.
            None => (address, None, None),
        };
        let (health, credentials) = self.ask(applicant, &address).await?;
        let report = &applicant.report;
        Ok(Registrant {
            address,
            credentials,
            health,
            kind: applicant.kind,
            process,
            socket,
            directory: report.directory.as_deref().map(Arc::from),
            worktree: report.worktree.as_deref().map(Arc::from),
            plugin: applicant.plugin,
            reports_screen: applicant.kind == Kind::Tui,
            source: Source::Registration,
            usage: None,
        })
    }

    /// The health of what answers at `address`, and what it was told. None where it wants a password that is not known:
    /// then it is a server all the same, as one that was found.
    async fn ask(
        &self,
        applicant: &Applicant,
        address: &Address,
    ) -> Result<(Option<Health>, Option<Credentials>), Refused> {
        let token = applicant.token.as_ref().map(|token| Credentials::bearer(token.expose()));
        match self.health(address, token.as_ref()).await {
            Ok(health) => return Ok((Some(health), token)),
            Err(AskError::Locked { basic: true }) if token.is_none() && !applicant.plugin => {}
            Err(error) => {
                let why = match error {
                    AskError::Unregistered | AskError::Locked { .. } => {
                        "it refuses what it is told".to_owned()
                    }
                    error => error.to_string(),
                };
                return Err(Refused::NotAnAgent { url: applicant.url.clone(), why });
            }
        }
        let Some(fallback) = self.default_credentials.clone() else { return Ok((None, None)) };
        match self.health(address, Some(&fallback)).await {
            Ok(health) => Ok((Some(health), Some(fallback))),
            Err(_) => Ok((None, None)),
        }
    }

    async fn health(&self, address: &Address, told: Option<&Credentials>) -> Result<Health, AskError> {
        let agent = self.client.at(&address.url(), told.map(Credentials::header));
        let asked = tokio::time::timeout(PATIENCE, agent.health());
        asked.await.unwrap_or(Err(AskError::TimedOut { after: PATIENCE }))
    }
}
