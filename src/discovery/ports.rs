//! The configured range of ports, where the machine does not tell who listens.

use std::{net::Ipv4Addr, ops::RangeInclusive, time::Duration};

use futures_util::{StreamExt, stream};
use tokio::{net::TcpStream, time::timeout};

/// How many ports are tried at once.
const AT_ONCE: usize = 32;

/// How long a port of this machine may take to say whether it is open.
const PATIENCE: Duration = Duration::from_millis(300);

/// The ports of `range` to which this machine accepts connections.
pub(super) async fn open(range: RangeInclusive<u16>) -> Vec<u16> {
    let tried = stream::iter(range).map(async |port| {
        let connected = timeout(PATIENCE, TcpStream::connect((Ipv4Addr::LOCALHOST, port))).await;
        matches!(connected, Ok(Ok(_))).then_some(port)
    });
    tried.buffer_unordered(AT_ONCE).filter_map(async |port| port).collect().await
}
