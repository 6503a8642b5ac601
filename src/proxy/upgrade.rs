//! Two upgraded connections joined into one: a terminal's WebSocket.

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use crate::registry::usage::Using;

/// Copies bytes both ways between a client and a server, once both have switched protocols, until either ends. The server counts
/// as used meanwhile. Frames, sub-protocols and close codes are theirs alone.
pub fn join(client: OnUpgrade, server: OnUpgrade, using: Option<Using>) {
    tokio::spawn(async move {
        let _using = using;
        if let Err(error) = copy(client, server).await {
            // Either side has gone, as sides of terminals do.
            tracing::debug!(%error, "upgraded connection ended");
        }
    });
}

async fn copy(client: OnUpgrade, server: OnUpgrade) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (client, server): (Upgraded, Upgraded) = tokio::try_join!(client, server)?;
    copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(server)).await?;
    Ok(())
}
