//! Asking an address, with growing patience, until it is clear what it is.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    opencode::{
        client::{Agent, AgentClient, AskError},
        wire::Health,
    },
    registry::server::{Address, Credentials},
};

/// How long a question has a place among those asked at once. It stays open afterwards, so one that hangs holds up
/// no other.
const TURN: Duration = Duration::from_secs(1);

/// After how long one more question is asked beside those still open. A question that meets a server in the instant
/// it begins to listen is never answered, while the next one is, within milliseconds; so the second comes soon. A busy
/// machine's servers take longer.
const SILENCE: [Duration; 8] = [
    Duration::from_millis(250),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(15),
];

/// How soon a refused question is asked again: at once where a server is being started, in the end as often as
/// somebody who starts one can bear to wait.
const REFUSED: [Duration; 6] = [
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

/// What an address is.
#[derive(Debug)]
pub(super) enum Answer {
    /// An agent that answers when told these credentials.
    Agent(Health, Option<Credentials>),
    /// An agent that wants other credentials than we have.
    Locked,
    /// A plugin's listener, which registers by itself.
    Unregistered,
    /// Something else.
    Foreign(&'static str),
}

/// What a probe knows before it asks.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    pub(super) client: AgentClient,
    pub(super) address: Address,
    /// What it is told at first.
    pub(super) credentials: Option<Credentials>,
    /// What it is told if it wants a password.
    pub(super) fallback: Option<Credentials>,
    /// Whether somebody vouches that an agent is there, so that any refusal of ours means a password.
    pub(super) vouched: bool,
    /// How many are asked at once.
    pub(super) turns: Arc<Semaphore>,
}

impl Probe {
    /// Asks until the answer is clear; `unclear` is called after each question that brought none.
    pub(super) async fn run(self, mut unclear: impl FnMut(&AskError)) -> Answer {
        let mut open = FuturesUnordered::new();
        for attempt in 0_usize.. {
            open.push(self.ask());
            let mut again = Instant::now() + at(&SILENCE, attempt);
            loop {
                tokio::select! {
                    Some(outcome) = open.next(), if !open.is_empty() => match outcome {
                        Ok(answer) => return answer,
                        Err(error) => {
                            unclear(&error);
                            if open.is_empty() {
                                again = again.min(Instant::now() + at(&REFUSED, attempt));
                            }
                        }
                    },
                    () = sleep_until(again) => break,
                }
            }
        }
        std::future::pending().await
    }

    async fn ask(&self) -> Result<Answer, AskError> {
        let first = self.credentials.as_ref();
        match self.health(first).await {
            Err(AskError::Locked { basic }) if basic || self.vouched => {}
            outcome => return judge(outcome, first),
        }
        let Some(fallback) = self.fallback.as_ref() else { return Ok(Answer::Locked) };
        judge(self.health(Some(fallback)).await, Some(fallback))
    }

    async fn health(&self, credentials: Option<&Credentials>) -> Result<Health, AskError> {
        let agent: Agent = self.client.at(&self.address.url(), credentials.map(Credentials::header));
        let mut asked = std::pin::pin!(agent.health());
        {
            let _turn = self.turns.acquire().await;
            if let Ok(outcome) = timeout(TURN, &mut asked).await {
                return outcome;
            }
        }
        asked.await
    }
}

fn judge(outcome: Result<Health, AskError>, credentials: Option<&Credentials>) -> Result<Answer, AskError> {
    match outcome {
        Ok(health) => Ok(Answer::Agent(health, credentials.cloned())),
        Err(AskError::Unregistered) => Ok(Answer::Unregistered),
        Err(AskError::Locked { basic: true }) => Ok(Answer::Locked),
        Err(AskError::Locked { basic: false }) => Ok(Answer::Foreign("it refuses to answer")),
        Err(AskError::Foreign { what }) => Ok(Answer::Foreign(what)),
        Err(AskError::TooLarge) => Ok(Answer::Foreign("its health does not end")),
        Err(AskError::Status { status }) if status.is_client_error() => {
            Ok(Answer::Foreign("it knows no /global/health"))
        }
        Err(error) => Err(error),
    }
}

/// The step of `attempt`, the last for all beyond.
fn at(steps: &[Duration], attempt: usize) -> Duration {
    steps.get(attempt).or(steps.last()).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_grows_and_then_stays() {
        let waits: Vec<u64> = (2..10).map(|attempt| at(&SILENCE, attempt).as_secs()).collect();
        assert_eq!(waits, [0, 1, 2, 4, 8, 15, 15, 15]);
        assert_eq!(at(&REFUSED, 99), Duration::from_secs(5));
    }
}
