//! A byte relay in front of a server: it knows nothing of HTTP bodies, counts what passes, and breaks it at a place.
//!
//! Put one before each of two servers and the counts say which was asked; the servers themselves stay untouched.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use memchr::memmem;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, watch},
    task::JoinSet,
};

use super::ports::free_port;

/// One relay. Dropped, it cuts everything that passes through it.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    upstream: SocketAddr,
    connections: AtomicUsize,
    requests: Mutex<Vec<String>>,
    plan: watch::Sender<Option<Break>>,
    cut: Notify,
}

/// What happens to a connection once this many bytes of answers have passed on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    Cut(u64),
    Stall(u64),
    /// New connections are closed at once, as if the server were not there; open ones live.
    Refuse,
}

impl Relay {
    /// Relays to `upstream`, which is `127.0.0.1:PORT` or `http://127.0.0.1:PORT`.
    pub async fn to(upstream: &str) -> Self {
        let upstream = upstream.trim_start_matches("http://").trim_end_matches('/');
        let upstream = upstream.parse().expect("the upstream is an address");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let listener = TcpListener::bind(address).await.expect("a free port");
        let shared = Arc::new(Shared {
            upstream,
            connections: AtomicUsize::new(0),
            requests: Mutex::default(),
            plan: watch::Sender::new(None),
            cut: Notify::new(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, shared.clone()));
        Self { address, shared, _tasks: tasks }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// The request lines that passed, such as `GET /path HTTP/1.1`, in order.
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().clone()
    }

    /// Sets what happens to open and new connections from now on.
    pub fn set_break(&self, plan: Break) {
        self.shared.plan.send_replace(Some(plan));
    }

    /// Lets everything pass again; what was stalled goes on.
    pub fn mend(&self) {
        self.shared.plan.send_replace(None);
    }

    /// Cuts all open connections now.
    pub fn cut(&self) {
        self.shared.cut.notify_waiters();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut open = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while open.try_join_next().is_some() {}
        if *shared.plan.borrow() == Some(Break::Refuse) {
            continue;
        }
        shared.connections.fetch_add(1, Ordering::Relaxed);
        open.spawn(relay(client, shared.clone()));
    }
}

/// Both directions of one connection; it ends as a whole, so that a half-closed server is seen as gone.
async fn relay(client: TcpStream, shared: Arc<Shared>) {
    let Ok(server) = TcpStream::connect(shared.upstream).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = shared.cut.notified() => {}
        () = questions(from_client, to_server, &shared) => {}
        () = answers(from_server, to_client, &shared) => {}
    }
}

async fn questions(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared) {
    let mut bytes = vec![0; 64 * 1024];
    let mut line = Vec::new();
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        note_requests(&mut line, &bytes[..count], shared);
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

/// Keeps the lines that look like the first of a request, also when one is split over two reads.
fn note_requests(line: &mut Vec<u8>, bytes: &[u8], shared: &Shared) {
    line.extend_from_slice(bytes);
    while let Some(end) = memmem::find(line, b"\r\n") {
        let text = String::from_utf8_lossy(&line[..end]);
        if text.ends_with(" HTTP/1.1") {
            shared.requests.lock().push(text.into_owned());
        }
        line.drain(..end + 2);
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared) {
    let mut plan = shared.plan.subscribe();
    let mut bytes = vec![0; 64 * 1024];
    let mut passed = 0_u64;
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let mut rest = &bytes[..count];
        while !rest.is_empty() {
            let current = *plan.borrow_and_update();
            let room = match current {
                Some(Break::Cut(at) | Break::Stall(at)) => {
                    usize::try_from(at.saturating_sub(passed)).unwrap_or(usize::MAX)
                }
                Some(Break::Refuse) | None => usize::MAX,
            };
            let now = room.min(rest.len());
            if to.write_all(&rest[..now]).await.is_err() {
                return;
            }
            passed += now as u64;
            rest = &rest[now..];
            match current {
                Some(Break::Cut(at)) if passed >= at => return,
                Some(Break::Stall(_)) if !rest.is_empty() && plan.changed().await.is_err() => return,
                _ => {}
            }
        }
    }
}
