//! A scriptable agent server: answers like a real `OpenCode` where the daemon can tell the difference, and misbehaves
//! on demand.
//!
//! It lives in the test's process, on a port of its own. Several may share one [`FakeStore`]; each has its own event
//! bus, turns, permissions and instances, which is what makes the wrong server the wrong one. What it promises:
//! every request is recorded, every answer names its server in `x-fake-server`, and every directory that a real
//! server would have opened an instance of is in [`FakeServer::opened`].

mod answer;
mod bus;
mod fault;
mod lists;
mod record;
mod script;
mod store;
mod turn;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    os::fd::AsFd,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    task::{AbortHandle, JoinSet},
};

use self::{bus::Bus, fault::Faults, record::Record, script::Scripts, turn::Turns};
pub use self::{
    fault::Fault,
    record::{Outcome, Recorded},
    script::{Question, Reply},
    store::{FakeSession, FakeStore, new_id, now_ms, session_id},
};
pub use super::stand_in::Invocation;
use super::{eventually::patiently, ports::free_port, stand_in::StandIn};

/// The version the fake claims: the one it was compared with.
pub const VERSION: &str = "1.18.33";

/// One fake server process.
pub struct FakeServer {
    inner: Arc<Inner>,
    accepting: Mutex<Option<AbortHandle>>,
    /// A second handle of the socket it listens on.
    socket: Mutex<Option<std::os::fd::OwnedFd>>,
    invocation: Option<Invocation>,
    stand_in: Mutex<Option<StandIn>>,
}

/// How to start one.
pub struct Builder {
    store: FakeStore,
    directory: String,
    port: Option<u16>,
    password: Option<(String, String)>,
    bearer: Option<String>,
    realm: &'static str,
    heartbeat: Duration,
    invocation: Option<Invocation>,
}

struct Inner {
    address: SocketAddr,
    directory: String,
    password: Option<(String, String)>,
    bearer: RwLock<Option<String>>,
    /// What it says it wants to be told instead of a token.
    realm: &'static str,
    heartbeat: Duration,
    /// What a restart replaces: everything a process has only in its memory, and possibly its store.
    life: RwLock<Arc<Life>>,
    record: Arc<Record>,
    faults: Faults,
    scripts: Scripts,
    connections: AtomicUsize,
}

/// One run of the process.
struct Life {
    store: FakeStore,
    bus: Bus,
    turns: Turns,
    ptys: Mutex<BTreeMap<String, Value>>,
    opened: Mutex<Vec<String>>,
    tasks: Mutex<JoinSet<()>>,
}

impl FakeServer {
    /// Starts a server of `directory` on a free port.
    pub async fn start(store: &FakeStore, directory: &str) -> Self {
        Self::builder(store, directory).start().await
    }

    /// Starts an `opencode serve` in `directory`, which exists: see [`FakeStore::directory`].
    pub async fn serve(store: &FakeStore, directory: &str) -> Self {
        Self::builder(store, directory).invocation(Invocation::Serve).start().await
    }

    /// Starts an `opencode`, the terminal program, in `directory`.
    pub async fn screen(store: &FakeStore, directory: &str) -> Self {
        Self::builder(store, directory).invocation(Invocation::Screen).start().await
    }

    pub fn builder(store: &FakeStore, directory: &str) -> Builder {
        Builder {
            store: store.clone(),
            directory: directory.to_owned(),
            port: None,
            password: None,
            bearer: None,
            realm: "Bearer realm=\"pointsman\"",
            heartbeat: Duration::from_secs(10),
            invocation: None,
        }
    }

    /// The process it seems to be; 0 if it has none of its own.
    pub fn pid(&self) -> u32 {
        self.stand_in.lock().as_ref().map_or(0, StandIn::pid)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.inner.address)
    }

    /// `127.0.0.1:PORT`, as `x-fake-server` and `X-Pointsman-Server` name it.
    pub fn address(&self) -> String {
        self.inner.address.to_string()
    }

    pub fn port(&self) -> u16 {
        self.inner.address.port()
    }

    pub fn directory(&self) -> &str {
        &self.inner.directory
    }

    pub fn store(&self) -> FakeStore {
        self.life().store.clone()
    }

    // --- what it saw

    /// Every request so far, in the order of arrival, over restarts.
    pub fn requests(&self) -> Vec<Recorded> {
        self.inner.record.all()
    }

    /// The requests that match `POST /session/ses_1/message`, or a pattern ending in `*`.
    pub fn requests_to(&self, pattern: &str) -> Vec<Recorded> {
        self.requests().into_iter().filter(|request| request.is(pattern)).collect()
    }

    /// Those that came through a proxy: a daemon's own questions are not among them.
    pub fn passed_on(&self) -> Vec<Recorded> {
        self.requests().into_iter().filter(|request| request.headers.contains_key("via")).collect()
    }

    /// Waits for a request that satisfies `wanted`, counting those already there.
    pub async fn wait_for(&self, wanted: impl Fn(&Recorded) -> bool) -> Recorded {
        let mut changes = self.inner.record.changes();
        let found = tokio::time::timeout(super::eventually::PATIENCE, async {
            loop {
                changes.borrow_and_update();
                if let Some(request) = self.requests().into_iter().find(&wanted) {
                    return request;
                }
                changes.changed().await.expect("the record outlives the wait");
            }
        });
        let Ok(request) = found.await else {
            panic!("{} never got that request; it got {:#?}", self.address(), self.lines());
        };
        request
    }

    /// Waits for a request to this method and path.
    pub async fn wait_for_request(&self, pattern: &str) -> Recorded {
        self.wait_for(|request| request.is(pattern)).await
    }

    /// Waits until the `count`th feed is open on it (1 is the daemon's own, usually).
    pub async fn wait_for_streams(&self, count: usize) {
        let life = self.life();
        let mut open = life.bus.watch();
        patiently("that many event streams", open.wait_for(|open| *open >= count))
            .await
            .expect("the bus lives");
    }

    /// How many event streams are open.
    pub fn streams(&self) -> usize {
        let life = self.life();
        life.bus.sweep();
        *life.bus.watch().borrow()
    }

    /// How many streams of the second interface are open.
    pub fn api_streams(&self) -> usize {
        self.life().bus.api()
    }

    /// Puts these bytes on every open stream of the second interface as they are.
    pub fn send_raw_api(&self, bytes: impl Into<Bytes>) {
        self.life().bus.raw_api(&bytes.into());
    }

    /// The directories a real server would have opened an instance of, in order, since the last start.
    pub fn opened(&self) -> Vec<String> {
        self.life().opened.lock().clone()
    }

    /// The sessions whose turns this process ran, in order: the truth to hold routing against.
    pub fn turns_run(&self) -> Vec<String> {
        self.life().turns.run()
    }

    /// `GET /path?directory=…` of every request, for failure texts.
    pub fn lines(&self) -> Vec<String> {
        self.requests().iter().map(|request| format!("{} {}", request.method, request.target())).collect()
    }

    // --- what it does on its own

    /// Creates a session in this process, as its own screen would: the row and the event.
    pub fn create_session(&self) -> FakeSession {
        self.create_session_in(&self.inner.directory.clone())
    }

    pub fn create_session_in(&self, directory: &str) -> FakeSession {
        answer::create(&self.inner, &self.life(), FakeSession::new(directory))
    }

    /// Starts a turn as if the user had typed on this process's own screen; it is busy on return.
    ///
    /// The text selects the script: `SLOW` lasts until [`Self::finish`], `ASK` asks for a permission, `QUESTION` asks
    /// a question, anything else answers at once.
    pub fn begin_turn(&self, session: &str, text: &str) {
        let prompt = json!({"parts": [{"type": "text", "text": text}]});
        assert!(turn::begin(&self.inner, &self.life(), session, &prompt).is_some(), "no session {session}");
    }

    /// Lets one more delta out of a slow turn.
    pub fn delta(&self, session: &str, text: &str) {
        turn::delta(&self.inner, &self.life(), session, text);
    }

    /// Ends a slow turn of `session`.
    pub fn finish(&self, session: &str) {
        self.life().turns.finish(session);
    }

    pub fn is_busy(&self, session: &str) -> bool {
        self.life().turns.is_busy(session)
    }

    /// The ids of open permissions of a session, oldest first.
    pub fn permissions(&self, session: &str) -> Vec<String> {
        self.life().turns.asked(turn::Kind::Permission, session)
    }

    pub fn questions(&self, session: &str) -> Vec<String> {
        self.life().turns.asked(turn::Kind::Question, session)
    }

    /// Sends an event of `directory` on `/global/event` and, if the directory is theirs, on `/event` streams.
    #[expect(clippy::needless_pass_by_value, reason = "tests write `json!` in place")]
    pub fn emit(&self, directory: &str, kind: &str, properties: Value) {
        self.inner.emit(&self.life(), Some(directory), kind, &properties);
    }

    /// Sends an event of the whole process, without a directory.
    #[expect(clippy::needless_pass_by_value, reason = "tests write `json!` in place")]
    pub fn emit_global(&self, kind: &str, properties: Value) {
        self.inner.emit(&self.life(), None, kind, &properties);
    }

    /// Says idle about a session, busy or not: what an abort on the wrong server does.
    pub fn forge_idle(&self, session: &str) {
        turn::say_idle(&self.inner, &self.life(), session);
    }

    /// Says busy about a session without running anything.
    pub fn forge_busy(&self, session: &str) {
        turn::say_busy(&self.inner, &self.life(), session);
    }

    /// Puts these bytes on every open event stream as they are.
    pub fn send_raw(&self, bytes: impl Into<Bytes>) {
        self.life().bus.raw(&bytes.into());
    }

    /// Answers matching requests by this script from now on, before anything of their body has been read. Patterns
    /// as for [`Self::fault`]; the latest script wins.
    pub fn script<F>(&self, pattern: &str, script: impl Fn(Question) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Reply> + Send + 'static,
    {
        self.inner.scripts.set(pattern, script);
    }

    /// Makes its listening socket look as if this user had opened it, as only root can.
    pub fn give_to(&self, user: u32) -> std::io::Result<()> {
        let socket = self.socket.lock();
        std::os::unix::fs::fchown(socket.as_ref().expect("it listens"), Some(user), None)
    }

    /// Wants another token from now on.
    pub fn change_bearer(&self, token: &str) {
        *self.inner.bearer.write() = Some(token.to_owned());
        self.cut_streams();
    }

    // --- what goes wrong

    /// Every matching request meets `fault` until [`Self::lift_faults`]. Patterns: `/session`, `GET /session`,
    /// `POST /session/*`, `*`.
    pub fn fault(&self, pattern: &str, fault: Fault) {
        self.inner.faults.set(pattern, None, fault);
    }

    /// The next `times` matching requests meet `fault`.
    pub fn fault_times(&self, pattern: &str, times: usize, fault: Fault) {
        self.inner.faults.set(pattern, Some(times), fault);
    }

    /// Ends all faults; what hangs or stalls goes on.
    pub fn lift_faults(&self) {
        self.inner.faults.lift();
    }

    /// Cuts every event stream in the middle, as a network does; the server itself lives on.
    pub fn cut_streams(&self) {
        self.life().bus.end(true);
    }

    /// Ends every event stream properly; the server itself lives on.
    pub fn finish_streams(&self) {
        self.life().bus.end(false);
    }

    /// Kills the process: every connection is cut, the port refuses, busy turns are lost.
    pub async fn kill(&self) {
        drop(self.stand_in.lock().take());
        drop(self.socket.lock().take());
        let accepting = self.accepting.lock().take();
        if let Some(accepting) = accepting {
            accepting.abort();
        }
        let mut tasks = std::mem::take(&mut *self.life().tasks.lock());
        tasks.shutdown().await;
        let address = self.inner.address;
        super::eventually::eventually("the port is free again", || async move {
            TcpListener::bind(address).await.map(drop)
        })
        .await;
    }

    /// Kills it, and starts a new process on the same port with the same store.
    pub async fn restart(&self) {
        let store = self.store();
        self.restart_as(&store).await;
    }

    /// Kills it, and starts a process of another store on the same port: a port that changes its owner.
    pub async fn restart_as(&self, store: &FakeStore) {
        self.kill().await;
        *self.inner.life.write() = Arc::new(Life::new(store));
        self.listen().await;
    }

    fn life(&self) -> Arc<Life> {
        self.inner.life()
    }

    async fn listen(&self) {
        let listener = TcpListener::bind(self.inner.address).await.expect("the fake's port is free");
        let life = self.life();
        *self.socket.lock() = Some(listener.as_fd().try_clone_to_owned().expect("a second handle"));
        let stand_in = self.invocation.map(|invocation| {
            let (program, database) = (life.store.program(), life.store.database());
            StandIn::start(invocation, &program, &database, self.inner.directory.as_ref(), &listener)
        });
        *self.stand_in.lock() = stand_in;
        let task = accept(listener, self.inner.clone(), Arc::downgrade(&life));
        *self.accepting.lock() = Some(life.tasks.lock().spawn(task));
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- fake {} of {} got:\n{:#?}\n---", self.address(), self.directory(), self.lines());
        }
        self.life().tasks.lock().abort_all();
    }
}

impl Builder {
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Answers 401 to everything without these credentials.
    pub fn password(mut self, username: &str, password: &str) -> Self {
        self.password = Some((username.to_owned(), password.to_owned()));
        self
    }

    /// Answers 401 to everything without this token, as the listener of a plugin does.
    pub fn bearer(mut self, token: &str) -> Self {
        self.bearer = Some(token.to_owned());
        self
    }

    /// The same, but to everybody else it looks like a server with a password.
    pub fn basic_or_bearer(mut self, token: &str) -> Self {
        self.realm = "Basic realm=\"Secure Area\"";
        self.bearer(token)
    }

    /// Gives it a process of its own, started so. Without one it is like a server beyond a tunnel: it has no pid, and
    /// a store that it shares with nobody.
    pub fn invocation(mut self, invocation: Invocation) -> Self {
        self.invocation = Some(invocation);
        self
    }

    /// How often its streams beat; a day is as good as never.
    pub fn heartbeat(mut self, every: Duration) -> Self {
        self.heartbeat = every;
        self
    }

    pub async fn start(self) -> FakeServer {
        let port = self.port.unwrap_or_else(free_port);
        let inner = Arc::new(Inner {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            directory: self.directory,
            password: self.password,
            bearer: RwLock::new(self.bearer),
            realm: self.realm,
            heartbeat: self.heartbeat,
            life: RwLock::new(Arc::new(Life::new(&self.store))),
            record: Record::new(),
            faults: Faults::default(),
            scripts: Scripts::default(),
            connections: AtomicUsize::new(0),
        });
        let invocation = self.invocation;
        let server = FakeServer {
            inner,
            accepting: Mutex::default(),
            socket: Mutex::default(),
            invocation,
            stand_in: Mutex::default(),
        };
        server.listen().await;
        server
    }
}

impl Inner {
    fn life(&self) -> Arc<Life> {
        self.life.read().clone()
    }

    /// Sends an event, and its `sync` twin where a real server writes one.
    fn emit(&self, life: &Life, directory: Option<&str>, kind: &str, properties: &Value) {
        const DURABLE: [&str; 7] = [
            "session.created",
            "session.updated",
            "session.deleted",
            "message.updated",
            "message.removed",
            "message.part.updated",
            "message.part.removed",
        ];
        let id = new_id("evt");
        let project = life.store.project_of(directory.unwrap_or(&self.directory));
        let session = properties["sessionID"].as_str().map(str::to_owned);
        let durable = session.filter(|_| DURABLE.contains(&kind)).map(|session| {
            json!({"aggregateID": session, "seq": life.store.next_sequence(&session), "version": 1})
        });
        let event = json!({"id": id, "type": kind, "properties": properties});
        life.bus.publish(directory, &project, &event, durable.as_ref());
        if let Some(durable) = durable {
            let twin = json!({"type": "sync", "id": id, "syncEvent": {
                "id": id, "type": format!("{kind}.1"), "seq": durable["seq"],
                "aggregateID": durable["aggregateID"], "data": properties,
            }});
            life.bus.publish(directory, &project, &twin, None);
        }
    }

    /// Notes that a real server would have loaded this directory now.
    fn open(&self, life: &Life, directory: &str) {
        let mut opened = life.opened.lock();
        if opened.iter().any(|known| known == directory) {
            return;
        }
        opened.push(directory.to_owned());
        drop(opened);
        self.emit(life, Some(directory), "plugin.added", &json!({"id": "agent"}));
        self.emit(life, Some(directory), "catalog.updated", &json!({}));
    }
}

impl Life {
    fn new(store: &FakeStore) -> Self {
        Self {
            store: store.clone(),
            bus: Bus::new(),
            turns: Turns::default(),
            ptys: Mutex::default(),
            opened: Mutex::default(),
            tasks: Mutex::default(),
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().spawn(task);
    }
}

async fn accept(listener: TcpListener, server: Arc<Inner>, life: Weak<Life>) {
    while let Ok((stream, _)) = listener.accept().await {
        let Some(life) = life.upgrade() else { return };
        let connection = server.connections.fetch_add(1, Ordering::Relaxed);
        // Small frames must not wait for an acknowledgement.
        let _ = stream.set_nodelay(true);
        let (server, own) = (server.clone(), Arc::downgrade(&life));
        life.spawn(async move {
            let service = service_fn(|request| {
                let (server, life) = (server.clone(), own.upgrade());
                async move {
                    let Some(life) = life else { return Err(answer::Closed) };
                    answer::answer(server, life, connection, request).await
                }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // A client that leaves, and a fault that cuts, end here; both are what the test wanted.
            let _ = connection.with_upgrades().await;
        });
    }
}
