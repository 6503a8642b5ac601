//! The session lists, on a scripted server with real sockets.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Query, State as Given},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::*;
use crate::{
    domain::{evidence::Evidence, ids::SessionId},
    machine::{Process, StoreFile, scripted::Scripted},
    registry::{
        server::{Address, ServerId, ServerProcess, Source, State},
        sessions::Found,
        stores::StoreIdentity,
    },
};

const QUICK: Pace = Pace {
    tick: Duration::from_millis(20),
    unasked: Duration::from_millis(60),
    written: Duration::from_millis(60),
    heard_within: Duration::from_millis(100),
};

/// Nothing is done without a sign.
const ONLY_ASKED: Pace = Pace { unasked: Duration::from_hours(1), written: Duration::from_hours(1), ..QUICK };

/// A store as its servers list it.
#[derive(Default)]
struct List {
    rows: Mutex<Vec<(String, u64)>>,
    /// Titles other than the id.
    titles: Mutex<HashMap<String, String>>,
    pages: AtomicUsize,
    /// Pages that nothing was left out of before.
    wholes: AtomicUsize,
    look_ups: AtomicUsize,
    failing: AtomicBool,
    hanging: AtomicBool,
    /// Answers are made, then held back until this is notified.
    holding: AtomicBool,
    /// The same for those alone that tell what changed.
    hold_changes: AtomicBool,
    held: AtomicUsize,
    go: Notify,
}

type Asked = Query<HashMap<String, String>>;

impl List {
    fn put(&self, id: &str, updated_ms: u64) {
        let mut rows = self.rows.lock();
        rows.retain(|(known, _)| known != id);
        rows.push((id.to_owned(), updated_ms));
    }

    fn retitle(&self, id: &str, title: &str) {
        self.titles.lock().insert(id.to_owned(), title.to_owned());
    }

    fn remove(&self, id: &str) {
        self.rows.lock().retain(|(known, _)| known != id);
    }

    async fn serve(self: &Arc<Self>) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/experimental/session", get(page))
            .route("/api/session", get(api_page))
            .with_state(Arc::clone(self));
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }
}

async fn page(Given(list): Given<Arc<List>>, Query(asked): Asked) -> Response {
    list.pages.fetch_add(1, Ordering::SeqCst);
    let is_whole = !asked.contains_key("start") && !asked.contains_key("cursor");
    list.wholes.fetch_add(usize::from(is_whole), Ordering::SeqCst);
    if list.hanging.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    if list.failing.load(Ordering::SeqCst) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let number = |name: &str| asked.get(name).map(|text| text.parse::<u64>().unwrap());
    let mut rows = list.rows.lock().clone();
    rows.sort_by_key(|(_, updated_ms)| std::cmp::Reverse(*updated_ms));
    rows.retain(|(_, updated_ms)| {
        number("cursor").is_none_or(|cursor| *updated_ms < cursor)
            && number("start").is_none_or(|start| *updated_ms >= start)
    });
    let limit = usize::try_from(number("limit").unwrap()).unwrap();
    let cursor = (rows.len() > limit).then(|| [("x-next-cursor", rows[limit - 1].1.to_string())]);
    rows.truncate(limit);
    let rows: Vec<Value> = rows
        .into_iter()
        .map(|(id, updated)| {
            let title = list.titles.lock().get(&id).cloned().unwrap_or_else(|| id.clone());
            json!({"id": id, "directory": "/a", "title": title, "projectID": "p",
                "time": {"created": updated, "updated": updated}})
        })
        .collect();
    if list.holding.load(Ordering::SeqCst) || !is_whole && list.hold_changes.load(Ordering::SeqCst) {
        list.held.fetch_add(1, Ordering::SeqCst);
        list.go.notified().await;
    }
    (cursor.map(axum::response::AppendHeaders), Json(rows)).into_response()
}

async fn api_page(Given(list): Given<Arc<List>>, Query(asked): Asked) -> Response {
    list.look_ups.fetch_add(1, Ordering::SeqCst);
    if list.failing.load(Ordering::SeqCst) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let cursor = URL_SAFE_NO_PAD.decode(&asked["cursor"]).unwrap();
    let cursor: Value = serde_json::from_slice(&cursor).unwrap();
    assert_eq!(cursor["order"], "desc");
    let rows = list.rows.lock().clone();
    let rows = rows.into_iter().map(|(id, updated)| {
        json!({"id": id, "location": {"directory": "/a"}, "title": id, "projectID": "p",
            "time": {"created": updated, "updated": updated}})
    });
    Json(json!({"data": rows.collect::<Vec<_>>(), "cursor": {}})).into_response()
}

struct Lab {
    registry: Arc<Registry>,
    machine: Arc<Scripted>,
    stop: CancellationToken,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// An id whose time of creation can be read.
fn id(number: usize) -> String {
    format!("ses_e021c7fa2ffe8VGOoFNM{number:06}")
}

fn session(number: usize) -> SessionId {
    SessionId::try_new(&id(number)).unwrap()
}

fn file(inode: u64) -> StoreIdentity {
    StoreIdentity::File { device: 1, inode }
}

impl Lab {
    fn new() -> Self {
        Self {
            registry: Arc::new(Registry::new(None)),
            machine: Arc::default(),
            stop: CancellationToken::new(),
        }
    }

    fn server(
        &self,
        address: SocketAddr,
        store: StoreIdentity,
        process: Option<ServerProcess>,
    ) -> Arc<Server> {
        let store = self.registry.stores.key(store);
        let server = self.registry.arrive(|key| Server {
            key,
            id: ServerId(address.to_string().into()),
            address: Address::from(address),
            credentials: None,
            kind: Kind::Serve,
            process,
            store,
            directory: None,
            worktree: None,
            project: None,
            version: None,
            state: State::Up,
            since_ms: 0,
            sources: vec![Source::Socket],
            preferred: false,
            plugin: false,
            reports_screen: false,
            usage: None,
            directories: Arc::default(),
        });
        server.unwrap()
    }

    fn sync(&self, pace: Pace) -> Sync {
        let client = AgentClient::try_new(Duration::from_secs(2)).unwrap();
        let machine: Arc<dyn Machine> = self.machine.clone();
        Sync::paced(Arc::clone(&self.registry), machine, client, pace)
    }

    /// Starts, and waits for the first round.
    async fn start(&self, pace: Pace) -> Sync {
        let sync = self.sync(pace);
        let (discovered, receiver) = watch::channel(true);
        let (running, stop) = (sync.clone(), self.stop.clone());
        tokio::spawn(async move {
            let _discovered = discovered;
            running.run(receiver, stop).await;
        });
        let mut ready = sync.first_round();
        tokio::time::timeout(Duration::from_secs(20), ready.wait_for(|done| *done)).await.unwrap().unwrap();
        sync
    }

    fn knows(&self, number: usize) -> bool {
        self.registry.find(&session(number)) != Found::Unknown
    }
}

async fn eventually(what: &str, wanted: impl Fn() -> bool) {
    for _ in 0..2000 {
        if wanted() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

#[tokio::test]
async fn the_first_round_reads_every_page_also_where_many_changed_at_once() {
    let (lab, list) = (Lab::new(), Arc::new(List::default()));
    for number in 0..1700 {
        list.put(&id(number), 1_000_000 + u64::try_from(number / 600).unwrap());
    }
    lab.server(list.serve().await, file(1), None);
    lab.start(ONLY_ASKED).await;
    assert_eq!(lab.registry.sessions.len(), 1700);
    assert!((4..10).contains(&list.pages.load(Ordering::SeqCst)));
}

#[tokio::test]
async fn one_server_of_a_store_is_asked_not_each() {
    let (lab, list) = (Lab::new(), Arc::new(List::default()));
    for _ in 0..3 {
        lab.server(list.serve().await, file(1), None);
    }
    list.put(&id(1), 1);
    lab.start(ONLY_ASKED).await;
    assert_eq!(list.pages.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_written_store_is_asked_for_what_changed_even_after_a_row_from_the_future() {
    let (lab, list) = (Lab::new(), Arc::new(List::default()));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("opencode.db");
    let journal = directory.path().join("opencode.db-wal");
    std::fs::write(&path, "").unwrap();
    lab.machine.start(Process {
        pid: 7,
        parent: None,
        started: 5,
        uid: None,
        name: "opencode".into(),
        args: vec!["opencode".into(), "serve".into()],
        cwd: None,
        store: Some(StoreFile { device: 1, inode: 1, path }),
    });
    list.put(&id(1), 32_503_680_000_000);
    let process = ServerProcess { pid: 7, started: 5, started_ms: 0 };
    lab.server(list.serve().await, file(1), Some(process));
    lab.start(ONLY_ASKED).await;
    assert!(lab.knows(1));
    list.put(&id(2), lab.registry.clock.now_ms());
    std::fs::write(&journal, "written").unwrap();
    eventually("the new session", || lab.knows(2)).await;
    let asked = list.pages.load(Ordering::SeqCst);
    tokio::time::sleep(QUICK.tick * 10).await;
    assert_eq!(list.pages.load(Ordering::SeqCst), asked, "nothing was written since");
}

#[tokio::test]
async fn what_the_list_no_longer_shows_is_looked_for_and_forgotten_if_it_is_gone() {
    let (lab, list) = (Lab::new(), Arc::new(List::default()));
    for number in 0..10 {
        list.put(&id(number), 1_000_000);
    }
    lab.server(list.serve().await, file(1), None);
    lab.start(QUICK).await;
    list.remove(&id(3));
    eventually("the deletion", || !lab.knows(3)).await;
    assert_eq!(lab.registry.sessions.len(), 9);
}

#[tokio::test]
async fn many_that_are_deleted_at_once_are_forgotten_soon() {
    let (lab, list) = (Lab::new(), Arc::new(List::default()));
    for number in 0..400 {
        list.put(&id(number), 1_000_000);
    }
    lab.server(list.serve().await, file(1), None);
    lab.start(Pace { tick: Duration::from_millis(500), ..QUICK }).await;
    for number in 1..400 {
        list.remove(&id(number));
    }
    eventually("all deletions", || lab.registry.sessions.len() == 1).await;
    assert!(lab.knows(0));
}

#[tokio::test]
async fn a_page_asked_for_before_a_deletion_brings_nothing_back() {
    let (lab, list) = (Lab::new(), Arc::new(List::default()));
    list.put(&id(1), 1_000_000);
    list.put(&id(2), 1_000_000);
    let server = lab.server(list.serve().await, file(1), None);
    lab.start(QUICK).await;
    list.holding.store(true, Ordering::SeqCst);
    eventually("a held page", || list.held.load(Ordering::SeqCst) > 0).await;
    list.remove(&id(1));
    lab.registry.delete(server.store, &session(1));
    list.holding.store(false, Ordering::SeqCst);
    list.go.notify_one();
    let later = list.pages.load(Ordering::SeqCst) + 3;
    eventually("later pages", || {
        list.go.notify_one();
        list.pages.load(Ordering::SeqCst) >= later
    })
    .await;
    assert!(!lab.knows(1) && lab.knows(2));
}

#[tokio::test]
async fn a_hanging_and_a_failing_list_delay_no_other() {
    let lab = Lab::new();
    let [hanging, failing, good] = [(); 3].map(|()| Arc::new(List::default()));
    hanging.hanging.store(true, Ordering::SeqCst);
    failing.failing.store(true, Ordering::SeqCst);
    good.put(&id(1), 1);
    failing.put(&id(2), 1);
    for (list, inode) in [(&hanging, 1), (&failing, 2), (&good, 3)] {
        lab.server(list.serve().await, file(inode), None);
    }
    let sync = lab.sync(QUICK);
    let (_discovered, receiver) = watch::channel(true);
    let (running, stop) = (sync.clone(), lab.stop.clone());
    tokio::spawn(async move { running.run(receiver, stop).await });
    eventually("the good list", || lab.knows(1)).await;
    failing.failing.store(false, Ordering::SeqCst);
    eventually("the list that failed", || lab.knows(2)).await;
}

#[tokio::test]
async fn an_unlisted_session_is_found_in_one_flight() {
    let (lab, list) = (Lab::new(), Arc::new(List::default()));
    let server = lab.server(list.serve().await, file(1), None);
    let sync = lab.sync(QUICK);
    list.put(&id(1), 1);
    let session = session(1);
    let found = tokio::join!(
        sync.look_up(&session, None),
        sync.look_up(&session, Some("/a")),
        sync.look_up(&session, None)
    );
    assert_eq!(found, (Some(server.store), Some(server.store), Some(server.store)));
    assert_eq!(list.look_ups.load(Ordering::SeqCst), 1);
    assert!(lab.knows(1));
}

#[tokio::test]
async fn an_id_that_is_unknown_is_not_looked_for_again_at_once_unless_a_store_could_not_tell() {
    let (lab, list) = (Lab::new(), Arc::new(List::default()));
    lab.server(list.serve().await, file(1), None);
    let sync = lab.sync(QUICK);
    assert_eq!(sync.look_up(&session(1), None).await, None);
    assert_eq!(sync.look_up(&session(1), None).await, None);
    assert_eq!(list.look_ups.load(Ordering::SeqCst), 1);
    list.failing.store(true, Ordering::SeqCst);
    assert_eq!(sync.look_up(&session(2), None).await, None);
    list.failing.store(false, Ordering::SeqCst);
    list.put(&id(2), 1);
    assert!(sync.look_up(&session(2), None).await.is_some());
}

#[tokio::test]
async fn every_store_that_has_the_id_gets_its_row_and_the_server_with_the_directory_is_asked() {
    let lab = Lab::new();
    let [one, two, other] = [(); 3].map(|()| Arc::new(List::default()));
    for list in [&one, &two, &other] {
        list.put(&id(1), 1);
    }
    lab.server(one.serve().await, file(1), None);
    let open = lab.server(two.serve().await, file(1), None);
    open.directories.note("/open");
    lab.server(other.serve().await, file(2), None);
    assert!(lab.sync(QUICK).look_up(&session(1), Some("/open")).await.is_some());
    assert!(matches!(lab.registry.find(&session(1)), Found::InSeveral(_)));
    assert_eq!(one.look_ups.load(Ordering::SeqCst), 0);
    assert_eq!(two.look_ups.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_session_that_advances_unheard_is_suspected_of_an_unseen_writer_until_one_is_heard() {
    let (lab, list) = (Lab::new(), Arc::new(List::default()));
    lab.machine.start(Process {
        pid: 77,
        parent: None,
        started: 5,
        uid: None,
        name: "opencode".into(),
        args: vec!["opencode".into()],
        cwd: None,
        store: Some(StoreFile { device: 1, inode: 1, path: "/nowhere/opencode.db".into() }),
    });
    list.put(&id(1), 1_000_000);
    list.put(&id(2), 1_000_000);
    let server = lab.server(list.serve().await, file(1), None);
    lab.start(QUICK).await;
    list.put(&id(1), 2_000_000);
    eventually("a suspicion", || lab.registry.unseen.suspected(&session(1)).is_some()).await;
    assert_eq!(lab.registry.unseen.suspected(&session(1)).unwrap().pids, [77]);
    assert_eq!(lab.registry.sessions.last_change(server.store, &session(1)).unwrap().0, 2_000_000);
    assert_eq!(lab.registry.unseen.suspected(&session(2)), None);
    lab.registry.claim(&server, &session(1), Evidence::Emitted);
    assert_eq!(lab.registry.unseen.suspected(&session(1)), None);
}

mod settled;
mod unheard;
