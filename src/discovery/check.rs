//! Whether a doubted server has gone.

use std::{io, time::Duration};

use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::{machine::Machine, registry::server::Server};

/// When to look, each after the one before. A process that is being killed closes its connections first and its port
/// a moment later; the sum stays below the second in which a death must be noticed.
const LOOKS: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(400)];

/// How many refusals in a row prove that a port is closed. One may be a full queue or the moment of a restart.
const REFUSALS: usize = 2;

/// Why the server has gone; `None` if it is still there, or nothing proves otherwise.
pub(super) async fn gone(
    machine: &dyn Machine,
    server: &Server,
    connect_timeout: Duration,
) -> Option<&'static str> {
    let mut refusals = 0;
    for pause in LOOKS {
        sleep(pause).await;
        if let Some(process) = server.process
            && !machine.alive(process.pid, process.started)
        {
            return Some("its process has ended");
        }
        let connected = timeout(connect_timeout, TcpStream::connect(&*server.address.authority)).await;
        let refused = matches!(connected, Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused);
        refusals = if refused { refusals + 1 } else { 0 };
        if refusals == REFUSALS {
            return Some("its port is closed");
        }
    }
    None
}
