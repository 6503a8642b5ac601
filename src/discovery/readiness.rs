//! Whether the first picture of the world is complete.

use tokio::sync::watch;

/// Ready once discovery has had its first look and the session lists found by it have been read or given up. Stays
/// ready from then on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Readiness {
    servers: watch::Receiver<bool>,
    sessions: watch::Receiver<bool>,
}

impl Readiness {
    /// Ready when both are: see [`super::Discovery::first_round`] and [`crate::sync::Sync::first_round`].
    pub fn new(servers: watch::Receiver<bool>, sessions: watch::Receiver<bool>) -> Self {
        Self { servers, sessions }
    }

    /// Whether it is so now.
    pub fn is_ready(&self) -> bool {
        *self.servers.borrow() && *self.sessions.borrow()
    }

    /// Waits until it is so; for ever if discovery ended before.
    pub async fn ready(&self) {
        let (mut servers, mut sessions) = (self.servers.clone(), self.sessions.clone());
        if servers.wait_for(|done| *done).await.is_err() || sessions.wait_for(|done| *done).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
