//! Where instances register, renew and say goodbye: the rules, the book of leases and the registry brought together.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::Semaphore, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{
    Applicant, LEASE, MOST, Refused, Report,
    admission::{Admitted, Attached, Rules},
    challenge,
    inspection::Inspector,
    lease::Leases,
    screen::{self, Shown},
};
use crate::{
    clock,
    config::Secret,
    discovery::Door,
    domain::{ids::ServerKey, kind::Kind},
    machine::Machine,
    opencode::client::AgentClient,
    registry::{
        Crier, News, Registry,
        screens::Screen,
        server::{Address, Credentials},
    },
};

/// How often it is looked for leases that have ended.
const LOOK: Duration = Duration::from_secs(1);

/// How many applicants are looked at at once.
const AT_ONCE: usize = 16;

/// What the desk works with.
pub struct Parts {
    /// Who may register.
    pub rules: Rules,
    /// What both sides know.
    pub secret: Secret,
    /// Where this daemon is to be asked, as `registration.json` has it.
    pub url: Arc<str>,
    /// What exists.
    pub registry: Arc<Registry>,
    /// What runs.
    pub machine: Arc<dyn Machine>,
    /// Asks applicants for their health.
    pub client: AgentClient,
    /// What a server that wants a password is told.
    pub default_credentials: Option<Credentials>,
    /// Where servers come in.
    pub door: Door,
    /// Who tells everybody.
    pub crier: Arc<dyn Crier>,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Desk(Arc<Inner>);

struct Inner {
    parts: Parts,
    book: Mutex<Leases<Registered>>,
    inspector: Inspector,
    turns: Semaphore,
}

/// What is held of a registered instance.
#[derive(Clone, Debug)]
struct Registered {
    applicant: Applicant,
    stands_for: StandsFor,
    shown: Option<Shown>,
}

/// What a registration is for.
#[derive(Clone, Debug)]
enum StandsFor {
    /// A server, as the registry has it.
    Server(ServerKey),
    /// A screen without one.
    Screen(Attached),
}

/// A registration that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// By what it is renewed.
    pub id: Arc<str>,
    /// Whether the instance was not registered before.
    pub new: bool,
}

impl Desk {
    /// A desk at which nobody has registered yet.
    pub fn new(parts: Parts) -> Self {
        let book = Mutex::new(Leases::new(LEASE, MOST));
        let inspector = Inspector {
            machine: Arc::clone(&parts.machine),
            client: parts.client.clone(),
            default_credentials: parts.default_credentials.clone(),
        };
        Self(Arc::new(Inner { parts, book, inspector, turns: Semaphore::new(AT_ONCE) }))
    }

    /// How many are registered, and how many may be.
    pub fn held(&self) -> (usize, usize) {
        (self.0.book.lock().iter().count(), MOST)
    }

    /// What proves that this daemon wrote `registration.json`; see [`challenge`]. `None` if `nonce` is none.
    pub fn prove(&self, nonce: &str) -> Option<String> {
        challenge::proof(&self.0.parts.secret, nonce, &self.0.parts.url)
    }

    /// Registers an instance, or renews what it has.
    pub async fn register(&self, applicant: Applicant) -> Result<Granted, Refused> {
        let admitted = self.0.parts.rules.admit(&applicant)?;
        let known = self.known(&applicant.instance);
        if let Some((id, before)) = &known
            && before.says_the_same(&applicant)
            && self.renew(id, &applicant.report).is_ok()
        {
            return Ok(Granted { id: Arc::clone(id), new: false });
        }
        if known.is_none() {
            self.0.book.lock().room()?;
        }
        let _turn = self.0.turns.acquire().await;
        let (id, stands_for) = match admitted {
            Admitted::Screen(attached) => {
                self.0.inspector.screen(&applicant).await?;
                let drawn = || format!("scr_{:016x}", rand::random::<u64>()).into();
                (known.as_ref().map_or_else(drawn, |(id, _)| Arc::clone(id)), StandsFor::Screen(attached))
            }
            Admitted::Server { address, sockets, here } => {
                let registrant = self.0.inspector.server(&applicant, address, sockets, here).await?;
                let server = self.0.parts.door.register(registrant).await.ok_or(Refused::Stopping)?;
                (Arc::clone(&server.id.0), StandsFor::Server(server.key))
            }
        };
        let new = known.is_none();
        if let Some((before, _)) = known.filter(|(before, _)| *before != id) {
            self.end(&before, true).await;
        }
        let report = applicant.report.clone();
        let (kind, pid) = (applicant.kind, applicant.pid);
        let registered = Registered { applicant, stands_for, shown: None };
        let news = self.grant(&id, registered, &report)?;
        self.0.parts.crier.cry(news);
        tracing::info!(registration = %id, %kind, pid, "registered");
        Ok(Granted { id, new })
    }

    /// A heartbeat.
    pub fn renew(&self, id: &str, report: &Report) -> Result<(), Refused> {
        let unknown = || Refused::Unknown { id: id.to_owned() };
        let parts = &self.0.parts;
        let mut book = self.0.book.lock();
        let registered = book.renew(id, clock::since_start()).ok_or_else(unknown)?;
        if let StandsFor::Server(key) = registered.stands_for
            && parts.registry.servers.get(key).is_none()
        {
            // Its listener was out of reach for a moment; it comes back by registering anew.
            drop(book.end(id));
            drop(book);
            parts.crier.cry(parts.registry.show(&id.into(), None));
            return Err(unknown());
        }
        registered.shown = screen::after(registered.shown.as_ref(), report, parts.registry.clock.now_ms());
        let screen = self.screen(registered);
        if let StandsFor::Server(key) = registered.stands_for {
            self.note_changes(key, report);
        }
        let id: Arc<str> = id.into();
        // Told while the book is held, so that two reports are taken in the order in which they were written down.
        let news = parts.registry.show(&id, screen);
        drop(book);
        parts.crier.cry(news);
        Ok(())
    }

    /// A goodbye. Tells whether there was a registration.
    pub async fn leave(&self, id: &str) -> bool {
        self.end(id, true).await
    }

    /// Ends what is not renewed, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = look.tick() => {}
            }
            let lapsed = self.0.book.lock().lapsed(clock::since_start());
            for (id, registered) in lapsed {
                tracing::info!(registration = %id, pid = registered.applicant.pid, "registration lapsed");
                self.let_go(&id, &registered, false).await;
            }
            for id in self.orphaned() {
                self.end(&id, false).await;
            }
        }
    }

    fn known(&self, instance: &str) -> Option<(Arc<str>, Registered)> {
        let book = self.0.book.lock();
        let found = book.iter().find(|(_, registered)| registered.applicant.instance == instance);
        found.map(|(id, registered)| (Arc::clone(id), registered.clone()))
    }

    /// The registrations of servers that have gone.
    fn orphaned(&self) -> Vec<Arc<str>> {
        let servers = self.0.parts.registry.servers.now();
        let book = self.0.book.lock();
        let gone = |registered: &Registered| match &registered.stands_for {
            StandsFor::Server(key) => servers.get(*key).is_none(),
            StandsFor::Screen(_) => false,
        };
        book.iter().filter(|(_, registered)| gone(registered)).map(|(id, _)| Arc::clone(id)).collect()
    }

    fn grant(&self, id: &Arc<str>, mut registered: Registered, report: &Report) -> Result<News, Refused> {
        let registry = &self.0.parts.registry;
        let mut news = News::default();
        let mut book = self.0.book.lock();
        registered.shown = screen::after(None, report, registry.clock.now_ms());
        let screen = self.screen(&registered);
        if let StandsFor::Server(key) = registered.stands_for {
            news.add(registry.reports_screen(key, registered.applicant.kind == Kind::Tui));
        }
        book.grant(Arc::clone(id), registered, clock::since_start())?;
        news.add(registry.show(id, screen));
        Ok(news)
    }

    async fn end(&self, id: &str, farewell: bool) -> bool {
        let ended = self.0.book.lock().end(id);
        let Some(registered) = ended else { return false };
        self.let_go(id, &registered, farewell).await;
        true
    }

    async fn let_go(&self, id: &str, registered: &Registered, farewell: bool) {
        let parts = &self.0.parts;
        parts.crier.cry(parts.registry.show(&id.into(), None));
        if let StandsFor::Server(key) = registered.stands_for {
            parts.crier.cry(parts.registry.reports_screen(key, false));
            parts.door.leave(key, farewell).await;
        }
    }

    /// What a registered instance's screen shows, as everybody sees it.
    fn screen(&self, registered: &Registered) -> Option<Screen> {
        let Shown { session, since_ms } = registered.shown.clone()?;
        let server = match &registered.stands_for {
            StandsFor::Server(key) => Some(*key),
            StandsFor::Screen(Attached::Here) => None,
            StandsFor::Screen(Attached::To(address, sockets)) => self.server_at(address, sockets),
        };
        let (kind, pid) = (registered.applicant.kind, registered.applicant.pid);
        Some(Screen { kind, pid, server, session, since_ms })
    }

    fn server_at(&self, address: &Address, sockets: &[std::net::SocketAddr]) -> Option<ServerKey> {
        let servers = self.0.parts.registry.servers.now();
        let at = |address: &Address| servers.iter().find(|server| server.address == *address);
        let found = at(address).or_else(|| sockets.iter().find_map(|socket| at(&(*socket).into())));
        found.map(|server| server.key)
    }

    fn note_changes(&self, key: ServerKey, report: &Report) {
        let servers = &self.0.parts.registry.servers;
        let Some(server) = servers.get(key) else { return };
        let new = |told: &Option<String>, known: &Option<Arc<str>>| {
            told.as_deref().filter(|told| known.as_deref() != Some(*told)).map(Arc::<str>::from)
        };
        let directory = new(&report.directory, &server.directory);
        let worktree = new(&report.worktree, &server.worktree);
        let version = new(&report.version, &server.version);
        if directory.is_none() && worktree.is_none() && version.is_none() {
            return;
        }
        if let Some(directory) = &directory {
            server.directories.note(directory);
        }
        servers.change(key, |server| {
            server.directory = directory.or(server.directory.take());
            server.worktree = worktree.or(server.worktree.take());
            server.version = version.or(server.version.take());
        });
    }
}

impl Registered {
    /// Whether an instance that registers again is where it was before, and as it was.
    fn says_the_same(&self, applicant: &Applicant) -> bool {
        let told = |applicant: &Applicant| {
            (applicant.url.clone(), applicant.pid, applicant.kind, applicant.plugin, applicant.token.clone())
        };
        told(&self.applicant) == told(applicant)
    }
}
