//! The composition root: wires the parts, starts them in order, and stops them in order.
//!
//! Start: state directory, kept claims, port, discovery, then requests. Stop: no new connections, streams ended,
//! discovery and feeds ended, open requests waited for, the state directory let go last.

mod counting;
mod feeds;
mod gaps;
mod herald;
mod intake;
mod keeping;
mod listening;
mod numbers;
mod reception;
mod repair;
mod restart;
mod scout;
mod second;
mod spawning;

pub use self::intake::{Observed, observe};

use std::{
    io,
    net::SocketAddr,
    num::NonZero,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use thiserror::Error;
use tokio::{net::TcpListener, runtime::Handle, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use utoipa::OpenApi;

use self::{
    counting::Counting,
    feeds::Feeds,
    herald::Herald,
    intake::Intake,
    keeping::Merged,
    reception::{Reception, Seen},
    scout::Rider,
    second::Second,
    spawning::{Spawning, starter},
};
use crate::{
    api::{self, Api},
    config::{self, BasePath, Config},
    discovery::{Discovery, Doubts, Readiness},
    events::{hub::Hub, journal::JournalError, log::Limits, occasional::Occasional},
    front::{Front, describe::Streams, dispatch::Dispatch, programs::Programs, workers::Workers},
    guard::{Guard, InstanceId, Tickets},
    machine,
    metrics::Metrics,
    opencode::client::{AgentClient, AskError},
    proxy::{
        catalogue::Catalogue,
        forward::Forwarder,
        merge,
        router::{Router, Scout, UnreachableOwner},
    },
    registration::Desk,
    registry::{
        Crier, Registry,
        kept::{Kept, KeptError},
        server::State,
    },
    spawn::Spawner,
    state_dir::{StateDir, StateDirError},
    sync::Sync,
};

/// How often idle connections and default choices are looked after.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// When a server that an earlier run knew, and that this one has not met, will not come back: its process has ended
/// while we were not there. Long enough for a configured one on a machine that still starts.
const MET_BY: Duration = Duration::from_mins(10);

/// How long our own tasks have to end. They wait for nothing but each other.
const STOP: Duration = Duration::from_secs(2);

/// How often a silent connection of a feed is asked whether it still stands.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Why the daemon does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The state directory cannot be used.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The kept claims cannot be used.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Somebody listens there already.
    #[error("{address} is in use by {holder}; stop that one or choose another address with --listen")]
    InUse {
        /// The address.
        address: SocketAddr,
        /// Who holds it.
        holder: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// No threads can be started.
    #[error("cannot start the threads that carry requests: {0}")]
    Workers(#[source] io::Error),
    /// No client for servers can be made.
    #[error("cannot prepare to ask servers: {0}")]
    Client(#[from] AskError),
    /// No client for streams can be made.
    #[error("cannot prepare to read streams: {0}")]
    Streams(#[from] reqwest::Error),
}

/// A daemon that listens and is ready to run.
pub struct App {
    state_dir: StateDir,
    listener: TcpListener,
    url: Arc<str>,
    front: Arc<Front>,
    /// Carries questions of our own.
    asking: Arc<Forwarder>,
    feeds: Arc<Feeds>,
    discovery: Discovery,
    sync: Sync,
    merged: Merged,
    second: Second,
    desk: Desk,
    spawner: Spawner,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl App {
    /// Takes the state directory and the port, and puts the parts together. Nothing is contacted yet. Needs a runtime.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let machine = machine::native();
        let state_dir = StateDir::open(&config.state_dir)?;
        let kept = Kept::open(&state_dir.path().join("claims"))?;
        let listener = listening::listen(config.listen, machine.as_ref())?;
        let cannot_listen = |source| StartError::Listen { address: config.listen, source };
        let address = listener.local_addr().map_err(cannot_listen)?;
        let base_path = config.base_path.as_ref().map(BasePath::as_str);
        let url: Arc<str> = format!("http://{address}{}", base_path.unwrap_or_default()).into();
        state_dir.announce(&url)?;
        let reception = Reception::open(&state_dir, address, base_path)?;

        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let instance = InstanceId::draw();
        let registry = Arc::new(Registry::new(Some(kept)).keeping_titles(config.routing.titles));
        let merged = Merged::open(&config, state_dir.path())?;
        let hub = merged.hub.clone();
        let tickets = Arc::new(Tickets::default());
        let (asking, workers) = carriers(&registry, config.routing.connect_timeout, &tickets)?;
        let catalogue = Catalogue::new(Arc::clone(&asking), config.routing.catalogue_ttl, Handle::current());
        let streams = Occasional::new(Hub::new(Limits::default()));
        let hubs = [hub.clone(), streams.hub().clone()];
        let spawning = Spawning::default();
        let counting = Counting::new(&registry, &hubs, &catalogue, &spawning, &tickets);
        let (backlog, late) = (counting.backlog.clone(), Arc::clone(&counting.late));
        let metrics = Arc::new(Metrics::new(move || counting.census()));
        let (client, doubts) = (AgentClient::try_new(config.discovery.connect_timeout)?, Doubts::default());
        let herald =
            Herald::new(hub.clone(), streams.hub().clone(), Arc::clone(&registry), Arc::clone(&metrics));

        let sync = Sync::new(Arc::clone(&registry), Arc::clone(&machine), client.clone());
        let merging = merging(&config);
        let scout: Arc<dyn Scout> = Arc::new(Rider::new(&registry, &sync, &asking, merging, &doubts));
        let seen = Seen { registry: &registry, machine: &machine, client, doubts };
        let intake = Intake::new(&seen, &hub, &herald, &catalogue, &metrics, backlog);
        intake.was_away(merged.away_since_ms);
        sync.tell(Box::new(intake.clone()));
        let stream_client = stream_client(&config)?;
        let second = Second::new(streams.clone(), &registry, &metrics, &stream_client, &tasks);
        tasks.spawn(intake.clone().watch_numbers(stop.child_token()));
        let feeds = Feeds::new(intake, herald.clone(), stream_client, tasks.clone(), stop.child_token());
        let (discovery, desk) = reception.staff(&config, seen.clone(), herald.clone());
        let spawner = spawning.begin(&config, state_dir.shelf(), seen, discovery.door(), hubs);
        let readiness = Readiness::new(discovery.first_round(), sync.first_round());

        let endpoints = api::router(Api {
            registry: Arc::clone(&registry),
            machine: Arc::clone(&machine),
            scout: Arc::clone(&scout),
            ready: readiness,
            metrics: Arc::clone(&metrics),
            tell: teller(herald.clone()),
            scans: config.discovery.scan,
            own_url: Arc::clone(&url),
            desk: desk.clone(),
            spawner: spawner.clone(),
            streams: Streams::openapi().into(),
        });
        let unreachable_owner = unreachable_owner(&config);
        let has_token = config.access.token.is_some();
        let user_check = config.access.user_check && !has_token;
        let dispatch = Dispatch {
            guard: Guard::new(config.access, reception.secret, address, instance.clone(), tickets),
            has_token,
            base_path: base_path.map(Into::into),
            endpoints,
            hub: hub.clone(),
            second: streams,
            registry: Arc::clone(&registry),
            router: Router::new(registry, Arc::clone(&scout), unreachable_owner).starting(starter(&spawner)),
            catalogue,
            merging,
            scout,
            crier: Arc::new(herald),
            programs: Programs::new(Arc::clone(&machine)),
            metrics,
            first_round: discovery.first_round(),
        };
        let dispatch = Arc::new(dispatch);
        late.set(&dispatch, &desk);
        let front = Front { dispatch, workers: Arc::new(workers), machine, user_check, instance };
        Ok(Self {
            state_dir,
            listener,
            url,
            front: Arc::new(front),
            asking,
            feeds: Arc::new(feeds),
            discovery,
            sync,
            merged,
            second,
            desk,
            spawner,
            tasks,
            stop,
        })
    }

    /// Where it is to be asked: the address it listens on, and the base path.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Runs until `stop` is done, and then stops in order.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self {
            state_dir,
            listener,
            front,
            asking,
            feeds,
            discovery,
            sync,
            merged,
            second,
            desk,
            spawner,
            tasks,
            stop: stopping,
            ..
        } = self;
        let second_hub = second.hub();
        let hub = merged.hub.clone();
        let makes_up = merged.away_since_ms.is_some();
        let keeping = merged.begin();
        let discovered = discovery.first_round();
        if makes_up {
            tasks.spawn(feeds.intake().make_up(discovered.clone(), stopping.child_token()));
        }
        tasks.spawn(second.run(stopping.child_token()));
        tasks.spawn(desk.run(stopping.child_token()));
        tasks.spawn(discovery.run(feeds, stopping.child_token()));
        tasks.spawn(housekeeping(Arc::clone(&front), asking, sync.clone(), stopping.child_token()));
        tasks.spawn({
            let stopping = stopping.child_token();
            async move { sync.run(discovered, stopping).await }
        });
        // Before the first request: nobody else may get what belongs to a server that was started before.
        spawner.take_over().await;
        let serving = tokio::spawn(front.serve(listener, stopping.clone()));

        stop.await;
        tracing::info!("stopping");
        stopping.cancel();
        hub.close();
        second_hub.close();
        tasks.close();
        if timeout(STOP, tasks.wait()).await.is_err() {
            tracing::warn!(tasks = tasks.len(), "tasks did not end in time");
        }
        match serving.await {
            Ok(0) => tracing::info!("stopped"),
            Ok(left) => tracing::info!(connections = left, "stopped; requests still open were cut"),
            Err(error) => tracing::error!(%error, "the listening side ended badly"),
        }
        spawner.end().await;
        keeping.end().await;
        drop(state_dir);
    }
}

/// What carries requests to servers: our own questions, and on each thread those of clients.
fn carriers(
    registry: &Arc<Registry>,
    connect_timeout: Duration,
    tickets: &Arc<Tickets>,
) -> Result<(Arc<Forwarder>, Workers), StartError> {
    let carrier = || Forwarder::new(Arc::clone(registry), connect_timeout).noting(Arc::clone(tickets));
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let workers = Workers::start((0..threads).map(|_| carrier())).map_err(StartError::Workers)?;
    Ok((Arc::new(carrier()), workers))
}

/// What follows from changes of the servers, and the closing of idle connections.
async fn housekeeping(front: Arc<Front>, asking: Arc<Forwarder>, sync: Sync, stop: CancellationToken) {
    let begun = Instant::now();
    let dispatch = &front.dispatch;
    let mut changes = dispatch.registry.servers.changes();
    let mut tick = tokio::time::interval(HOUSEKEEPING);
    let mut first_round = dispatch.first_round.clone();
    loop {
        // Once chosen it stays, so the choice waits for all that were there, not for whoever answered first.
        if *first_round.borrow_and_update() {
            let default = dispatch.router.default_server();
            let default = default.and_then(|server| server.directory.clone());
            dispatch.second.hub().set_default_directory(default.clone());
            dispatch.hub.set_default_directory(default);
        }
        let servers = dispatch.registry.servers.now();
        let passwords =
            servers.iter().any(|server| server.credentials.is_some() || server.state == State::Locked);
        dispatch.guard.set_passwords_behind(passwords);
        drop(servers);
        tokio::select! {
            () = stop.cancelled() => return,
            alive = changes.changed() => if alive.is_err() { return },
            _ = tick.tick() => {
                asking.tidy();
                dispatch.catalogue.tidy();
                dispatch.hub.tidy();
                dispatch.metrics.rows(sync.take_rows());
                if begun.elapsed() > MET_BY {
                    dispatch.registry.forget_unmet();
                }
            }
        }
    }
}

/// Tells through `herald` what a pin has moved.
fn teller(herald: Herald) -> api::Tell {
    Arc::new(move |news| herald.cry(news))
}

fn merging(config: &Config) -> merge::Settings {
    merge::Settings { deadline: config.routing.merge_deadline, owner_port: config.routing.owner_port }
}

fn unreachable_owner(config: &Config) -> UnreachableOwner {
    match config.routing.unreachable_owner {
        config::UnreachableOwner::Fallback => UnreachableOwner::Fallback,
        config::UnreachableOwner::Refuse => UnreachableOwner::Refuse,
    }
}

/// The client that reads streams: no limit on how long one may last.
fn stream_client(config: &Config) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(config.discovery.connect_timeout)
        .tcp_keepalive(KEEP_ALIVE)
        .build()
}
