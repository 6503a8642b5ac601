//! The address that clients ask.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

use super::StartError;
use crate::machine::Machine;

/// How many clients may wait to be let in. After a restart all come back at once, and whoever finds no place tries again
/// only a second later. The system may allow fewer.
const WAITING: u32 = 1024;

/// Listens on `address`, or says who does.
pub(super) fn listen(address: SocketAddr, machine: &dyn Machine) -> Result<TcpListener, StartError> {
    let listening = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Else a restart would wait for the system to forget our last connections.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(WAITING)
    };
    listening().map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => {
            let holder = machine.holder(address).map_or_else(
                || String::from("a process that cannot be seen"),
                |process| format!("{} (pid {})", process.name, process.pid),
            );
            StartError::InUse { address, holder }
        }
        _ => StartError::Listen { address, source },
    })
}
