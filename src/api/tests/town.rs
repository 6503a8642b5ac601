//! A few servers that exist only in a registry.

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;
use tower::ServiceExt;
use utoipa::OpenApi;

use crate::{
    api::{Api, router},
    discovery::{self, Discovery, Doubts, Readiness},
    domain::{
        claim::Claim,
        evidence::Evidence,
        ids::{SessionId, StoreKey},
        kind::Kind,
        session::SessionRow,
    },
    front::describe::Streams,
    machine::{Machine, scripted::Scripted},
    metrics::{Census, Metrics},
    opencode::client::AgentClient,
    proxy::router::{Asking, Scout},
    registration::{self, Desk},
    registry::{
        Crier, News, Registry,
        asked::Origin,
        server::{Address, Server, ServerId, ServerProcess, Source, State},
        stores::StoreIdentity,
    },
    spawn::{self, Spawner},
    state_dir::StateDir,
};

/// One id of the usual shape.
pub(in crate::api) const SESSION: &str = "ses_e021c7fa2ffe8VGOoFNM8lM5q9";

pub(in crate::api) fn id(text: &str) -> SessionId {
    SessionId::try_new(text).unwrap()
}

/// Servers on ports 4301 and up that share a store, and whoever looks at them through the endpoints.
pub(in crate::api) struct Town {
    pub(in crate::api) registry: Arc<Registry>,
    pub(in crate::api) machine: Arc<Scripted>,
    pub(in crate::api) servers: Vec<Arc<Server>>,
    pub(in crate::api) told: Arc<Mutex<Vec<News>>>,
    pub(in crate::api) ready: watch::Sender<bool>,
    scout: Arc<Guide>,
    metrics: Arc<Metrics>,
}

/// Knows sessions that the registry has not heard of.
#[derive(Default)]
struct Guide {
    hidden: Mutex<Vec<(SessionId, StoreKey)>>,
    suspected: Mutex<Vec<u32>>,
}

impl Scout for Guide {
    fn look_up<'a>(&'a self, session: &'a SessionId, _: Option<&'a str>) -> Asking<'a, Option<StoreKey>> {
        let hidden = self.hidden.lock();
        let store = hidden.iter().find(|(known, _)| known == session).map(|(_, store)| *store);
        Box::pin(async move { store })
    }

    fn who_raised<'a>(&'a self, _: &'a str) -> Asking<'a, Option<Origin>> {
        Box::pin(async { None })
    }

    fn doubt<'a>(&'a self, _: &'a Arc<Server>) -> Asking<'a, ()> {
        Box::pin(async {})
    }

    fn unreachable_writers(&self, _: &SessionId) -> Vec<u32> {
        self.suspected.lock().clone()
    }
}

struct Mute;

impl Crier for Mute {
    fn cry(&self, _: News) {}
}

impl Town {
    pub(in crate::api) fn new(servers: u16) -> Self {
        let registry = Arc::new(Registry::new(None));
        let mut town = Self {
            registry,
            machine: Arc::default(),
            servers: Vec::new(),
            told: Arc::default(),
            ready: watch::Sender::new(true),
            scout: Arc::default(),
            metrics: Arc::new(Metrics::new(Census::default)),
        };
        for number in 1..=servers {
            town.settle(4300 + number, 1, Kind::Tui, State::Up);
        }
        town
    }

    /// Adds a server on `port` that reads the store with this `inode`.
    pub(in crate::api) fn settle(&mut self, port: u16, inode: u64, kind: Kind, state: State) {
        let store = self.registry.stores.key(StoreIdentity::File { device: 1, inode });
        let pid = u32::from(port) + 10_000;
        let server = self.registry.arrive(|key| Server {
            key,
            id: ServerId(format!("{pid}-1").into()),
            address: Address::new("127.0.0.1", port),
            credentials: None,
            kind,
            process: Some(ServerProcess { pid, started: 1, started_ms: 5 }),
            store,
            directory: Some("/home/ann/shop".into()),
            worktree: None,
            project: None,
            version: Some("1.18.33".into()),
            state,
            since_ms: 7,
            sources: vec![Source::Socket],
            preferred: false,
            plugin: false,
            reports_screen: false,
            usage: None,
            directories: Arc::default(),
        });
        self.servers.push(server.unwrap());
    }

    /// A session stands in the list of the first server's store.
    pub(in crate::api) fn list(&self, session: &str, title: &str, updated_ms: u64) {
        self.list_of(0, session, title, updated_ms, None);
    }

    /// A session stands in the list of this server's store.
    pub(in crate::api) fn list_of(
        &self,
        server: usize,
        session: &str,
        title: &str,
        updated_ms: u64,
        parent: Option<&str>,
    ) {
        let row = SessionRow {
            id: id(session),
            directory: "/home/ann/shop".into(),
            title: title.into(),
            project: "p".into(),
            parent: parent.map(id),
            created_ms: updated_ms,
            updated_ms,
        };
        self.registry.sessions.row(self.servers[server].store, &row, 1);
    }

    pub(in crate::api) fn claim(&self, server: usize, session: &str, evidence: Evidence) {
        self.registry.claim(&self.servers[server], &id(session), evidence);
    }

    pub(in crate::api) fn claim_at(&self, server: usize, session: &str, evidence: Evidence, at_ms: u64) {
        let server = &self.servers[server];
        let claim = Claim { server: server.key, evidence, at_ms };
        self.registry.sessions.claim(server.store, &id(session), claim, &self.registry.servers.now());
    }

    /// A session that only a look into the first server's store finds.
    pub(in crate::api) fn hide(&self, session: &str) {
        self.scout.hidden.lock().push((id(session), self.servers[0].store));
    }

    pub(in crate::api) fn suspect(&self, pid: u32) {
        self.scout.suspected.lock().push(pid);
    }

    pub(in crate::api) fn endpoints(&self) -> Router {
        let told = Arc::clone(&self.told);
        router(Api {
            registry: Arc::clone(&self.registry),
            machine: self.machine.clone(),
            scout: self.scout.clone(),
            ready: Readiness::new(self.ready.subscribe(), watch::Sender::new(true).subscribe()),
            metrics: Arc::clone(&self.metrics),
            tell: Arc::new(move |news| told.lock().push(news)),
            scans: true,
            own_url: "http://127.0.0.1:4747".into(),
            desk: self.desk(),
            spawner: self.spawner(),
            streams: Streams::openapi().into(),
        })
    }

    /// One that starts nothing.
    fn spawner(&self) -> Spawner {
        let home = tempfile::tempdir().unwrap();
        Spawner::new(spawn::Parts {
            settings: None,
            shelf: StateDir::open(home.path()).unwrap().shelf(),
            registry: Arc::clone(&self.registry),
            machine: self.machine.clone(),
            client: AgentClient::try_new(Duration::from_secs(1)).unwrap(),
            door: self.discovery().door(),
            listened: Arc::new(|_| false),
        })
    }

    /// One that finds nobody.
    fn discovery(&self) -> Discovery {
        let settings = discovery::Settings {
            configured: Vec::new(),
            default_credentials: None,
            ports: None,
            scan: false,
            tick: Duration::from_secs(1),
            own_address: "127.0.0.1:4747".parse().unwrap(),
            preferred: None,
            connect_timeout: Duration::from_secs(1),
        };
        let client = AgentClient::try_new(settings.connect_timeout).unwrap();
        let machine: Arc<dyn Machine> = self.machine.clone();
        Discovery::new(settings, Arc::clone(&self.registry), machine, client, Doubts::default())
    }

    /// A desk whose door leads nowhere.
    fn desk(&self) -> Desk {
        let own: std::net::SocketAddr = "127.0.0.1:4747".parse().unwrap();
        let machine: Arc<dyn Machine> = self.machine.clone();
        let client = AgentClient::try_new(Duration::from_secs(1)).unwrap();
        Desk::new(registration::Parts {
            rules: registration::Rules { own, allowed: Vec::new() },
            secret: "0".repeat(64).into(),
            url: "http://127.0.0.1:4747".into(),
            registry: Arc::clone(&self.registry),
            machine,
            client,
            default_credentials: None,
            door: self.discovery().door(),
            crier: Arc::new(Mute),
        })
    }

    pub(in crate::api) async fn ask(&self, method: Method, path: &str, body: &str) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(path).body(Body::from(body.to_owned())).unwrap();
        let response = self.endpoints().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let whole = body.collect().await.unwrap().to_bytes();
        let json = parts.headers["content-type"] == "application/json";
        let value = if json {
            serde_json::from_slice(&whole).unwrap()
        } else {
            Value::from(String::from_utf8(whole.to_vec()).unwrap())
        };
        assert_eq!(
            parts.headers.contains_key("x-pointsman-error"),
            !parts.status.is_success(),
            "{path}: exactly errors are marked"
        );
        if !parts.status.is_success() {
            assert_eq!(parts.headers["x-pointsman-error"], value["name"].as_str().unwrap());
            assert!(!value["data"]["message"].as_str().unwrap().is_empty());
        }
        (parts.status, value)
    }

    pub(in crate::api) async fn get(&self, path: &str) -> Value {
        let (status, value) = self.ask(Method::GET, path, "").await;
        assert_eq!(status, StatusCode::OK, "{path}: {value}");
        value
    }

    pub(in crate::api) async fn refused(&self, path: &str) -> (u16, Value) {
        let (status, value) = self.ask(Method::GET, path, "").await;
        (status.as_u16(), value)
    }
}
