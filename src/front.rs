//! The side that clients see: the listening socket, their connections, and what becomes of each request.

pub mod address;
pub mod describe;
pub mod dispatch;
mod fast_path;
mod lent;
mod long_way;
mod page;
mod plain_words;
mod prefixed;
pub mod programs;
mod socket;
mod subscribe;
pub mod workers;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    dispatch::{Connection, Dispatch},
    fast_path::FastPath,
    programs::Ends,
    workers::Workers,
};
use crate::{
    guard::{InstanceId, Peer, PeerUser},
    machine::Machine,
    proxy::{forward::Forwarder, headers::Forwarding},
};

/// How long a client may take over the head of a request. Nobody who means it takes longer; who does not must not
/// hold a connection for ever.
const HEAD: Duration = Duration::from_secs(30);

/// How large the head of a request may be: far above what browsers and agents send, far below what would hurt.
const MOST_HEAD: usize = 64 * 1024;

/// How often in a row a connection comes back to the fast path although its next request was not plain. After that it
/// stays on the long way: the client speaks that way, as web pages do.
const MOST_IN_VAIN: u32 = 4;

/// How long a failure to accept is waited out: when file descriptors have run out, some must be closed first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long open requests have to end once we are told to stop. Streams end at once; a turn that runs for minutes
/// goes on in its server without us.
const GRACE: Duration = Duration::from_secs(5);

/// The listening side.
pub struct Front {
    /// What every request passes through.
    pub dispatch: Arc<Dispatch>,
    /// Who carries them.
    pub workers: Arc<Workers>,
    /// Knows whose process a client is.
    pub machine: Arc<dyn Machine>,
    /// Whether clients must be processes of our own user.
    pub user_check: bool,
    /// Our mark on requests.
    pub instance: InstanceId,
}

impl Front {
    /// Serves clients until `stop`; then ends its connections, waiting `GRACE` for open requests. Returns how many had
    /// not ended by then.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) -> usize {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => match stream.into_std() {
                    Ok(stream) => self.workers.give(stream, |stream, forwarder, tasks| {
                        Arc::clone(&self).connection(stream, peer, (forwarder, tasks), stop.clone())
                    }),
                    Err(error) => tracing::warn!(%error, "cannot hand a connection over"),
                },
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        // Whether all have ended is told by how many are left.
        let _ = timeout(GRACE, self.workers.ended()).await;
        self.workers.connections()
    }

    async fn connection(
        self: Arc<Self>,
        stream: std::net::TcpStream,
        address: SocketAddr,
        (forwarder, tasks): (Arc<Forwarder>, TaskTracker),
        stop: CancellationToken,
    ) {
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot take a connection over");
                return;
            }
        };
        // Small answers and events go out at once; without it they would only come later, so failing is no error.
        let _ = stream.set_nodelay(true);
        let user = self.user_of(&stream, address);
        let connection = Connection {
            peer: Peer { address, user },
            ends: Ends::new(stream.local_addr().ok(), address),
            forwarding: Forwarding::new(address.ip(), &self.instance),
            forwarder,
            tasks,
        };
        let dispatch = &self.dispatch;
        let fast_path = FastPath::new(dispatch, &connection, &stop);
        let mut come = (stream, Vec::new());
        let mut in_vain = 0;
        loop {
            if let Some(fast_path) = fast_path.as_ref().filter(|_| in_vain < MOST_IN_VAIN) {
                match fast_path.carry(come).await {
                    fast_path::Left::Ended => return,
                    fast_path::Left::LongWay { stream, begun, carried } => {
                        come = (stream, begun);
                        in_vain = if carried { 0 } else { in_vain + 1 };
                    }
                }
            }
            let may_return = fast_path.is_some() && in_vain < MOST_IN_VAIN;
            match long_way::carry(dispatch, &connection, come, may_return, &stop).await {
                long_way::Left::Ended => return,
                long_way::Left::Back(stream, begun) => come = (stream, begun),
            }
        }
    }

    /// Whose process is at the other end, asked once for each connection, and only where it matters.
    fn user_of(&self, stream: &TcpStream, peer: SocketAddr) -> PeerUser {
        if !self.user_check || !self.machine.tells_peers() || !peer.ip().to_canonical().is_loopback() {
            return PeerUser::Unknown;
        }
        let (Ok(local), Some(own)) = (stream.local_addr(), self.machine.uid()) else {
            return PeerUser::Unknown;
        };
        PeerUser::of(self.machine.peer_uid(local, peer), own)
    }
}
