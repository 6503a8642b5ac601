//! A byte relay in front of a server: it knows nothing of HTTP bodies, counts what passes, and breaks it at a place.
//!
//! Put one before each of two servers and its records say which was asked; the servers themselves stay untouched. A
//! request that carries [`MARK`] is recognised among those that the daemon makes by itself.

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

use super::{
    eventually::patiently,
    opencode::{OpenCode, Store},
    ports::free_port,
    stand_in::{Invocation, StandIn},
};

/// The header by which a test tells its own requests.
pub const MARK: &str = "x-test-mark";

/// One relay. Dropped, it cuts everything that passes through it.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
    _stand_in: Option<StandIn>,
}

struct Shared {
    upstream: SocketAddr,
    connections: AtomicUsize,
    requests: Mutex<Vec<Request>>,
    marked: watch::Sender<()>,
    plan: watch::Sender<Option<Break>>,
    cut: Notify,
}

/// One request as it passed.
#[derive(Clone, Debug)]
struct Request {
    /// Such as `GET /path HTTP/1.1`.
    line: String,
    mark: Option<String>,
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
        Self::start(upstream, |_| None).await
    }

    /// Relays to a real server and seems to be its process: of the same store, in the same directory.
    pub async fn posing_as(server: &OpenCode, store: &Store) -> Self {
        let stand_in = |listener: &TcpListener| {
            let (program, database) = (store.program(), store.database());
            Some(StandIn::start(Invocation::Serve, &program, &database, server.directory(), listener))
        };
        Self::start(&server.url(), stand_in).await
    }

    async fn start(upstream: &str, stand_in: impl FnOnce(&TcpListener) -> Option<StandIn>) -> Self {
        let upstream = upstream.trim_start_matches("http://").trim_end_matches('/');
        let upstream = upstream.parse().expect("the upstream is an address");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let listener = TcpListener::bind(address).await.expect("a free port");
        let stand_in = stand_in(&listener);
        let shared = Arc::new(Shared {
            upstream,
            connections: AtomicUsize::new(0),
            requests: Mutex::default(),
            marked: watch::Sender::new(()),
            plan: watch::Sender::new(None),
            cut: Notify::new(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, shared.clone()));
        Self { address, shared, _tasks: tasks, _stand_in: stand_in }
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
        self.shared.requests.lock().iter().map(|request| request.line.clone()).collect()
    }

    /// The request lines among them that carried this [`MARK`].
    pub fn marked(&self, mark: &str) -> Vec<String> {
        let requests = self.shared.requests.lock();
        let marked = requests.iter().filter(|request| request.mark.as_deref() == Some(mark));
        marked.map(|request| request.line.clone()).collect()
    }

    /// Waits until a request with this [`MARK`] has passed: for one that is not answered.
    pub async fn wait_for_mark(&self, mark: &str) {
        let mut marked = self.shared.marked.subscribe();
        let passed = marked.wait_for(|()| !self.marked(mark).is_empty());
        patiently(&format!("a request marked {mark}"), passed).await.expect("the relay lives");
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
    let mut heads = Heads::default();
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        heads.note(&bytes[..count], shared);
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

/// What one connection's requests look like.
#[derive(Default)]
struct Heads {
    /// What has come of a line that is not complete.
    line: Vec<u8>,
    /// The place of the latest request among those that were noted.
    latest: Option<usize>,
}

impl Heads {
    /// Keeps the lines that look like the first of a request, and their marks, also when one is split over two reads.
    fn note(&mut self, bytes: &[u8], shared: &Shared) {
        self.line.extend_from_slice(bytes);
        while let Some(end) = memmem::find(&self.line, b"\r\n") {
            let text = String::from_utf8_lossy(&self.line[..end]).into_owned();
            self.line.drain(..end + 2);
            let mut requests = shared.requests.lock();
            if text.ends_with(" HTTP/1.1") {
                self.latest = Some(requests.len());
                requests.push(Request { line: text, mark: None });
            } else if let (Some(latest), Some((MARK, mark))) = (self.latest, text.split_once(": ")) {
                requests[latest].mark = Some(mark.to_owned());
                drop(requests);
                shared.marked.send_replace(());
            }
        }
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
