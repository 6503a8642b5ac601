//! What it costs to find the owner of a session: one million of them known, ten thousand claims a second arriving.
//!
//! Prints the distribution of single decisions (a path classified, its id read and the owner found), each between two looks at the clock,
//! and what two looks alone cost; and what the sessions cost in resident memory, on Linux. Then divan times the same
//! decision in bulk.

use std::{
    fs,
    hint::black_box,
    str,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use http::Method;
use pointsman::{
    domain::{evidence::Evidence, ids::SessionId, kind::Kind, session::SessionRow},
    opencode::operations::{Subject, subject},
    registry::{
        Registry,
        server::{Address, Server, ServerId, State},
        sessions::Found,
        stores::StoreIdentity,
    },
};

const SESSIONS: u64 = 1_000_000;
const CLAIMS_PER_SECOND: u64 = 10_000;
/// More than a busy machine runs.
const SERVERS: u64 = 10;
/// Some people's working directories.
const DIRECTORIES: u64 = 300;
/// One in a thousand of these decides p99.9.
const SAMPLES: usize = 2_000_000;
/// A thread cannot wait for single ones that exactly; these go together every 10 ms.
const CLAIMS_AT_ONCE: u64 = CLAIMS_PER_SECOND / 100;

type Path = [u8; 47];

static WORLD: LazyLock<World> = LazyLock::new(World::new);

struct World {
    registry: Registry,
    servers: Vec<Arc<Server>>,
}

fn main() {
    let before = resident_kib();
    let world = &*WORLD;
    let after = resident_kib();
    if let (Some(before), Some(after)) = (before, after) {
        let mib = |kib: u64| kib / 1024;
        println!(
            "resident memory: {} MiB before, {} MiB with {SESSIONS} sessions, {} bytes for each",
            mib(before),
            mib(after),
            after.saturating_sub(before) * 1024 / SESSIONS,
        );
    }
    let (stop, claimed) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        // Dropped also when a print fails: the thread must not outlive its readers.
        let _stopping = Stopping(&stop);
        scope.spawn(|| claim_steadily(world, &stop, &claimed));
        let began = Instant::now();
        let mut random = Random(1);
        print("two looks at the clock", &mut sample(&mut random, |_| ()));
        print(
            "decision",
            &mut sample(&mut random, |path| {
                black_box(decide(world, path));
            }),
        );
        #[expect(clippy::cast_precision_loss, reason = "a rate to print")]
        let rate = claimed.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
        println!("claims meanwhile: {rate:.0} a second");
        divan::main();
    });
}

/// What a request costs: its path is classified, its session id read, the owner found.
#[divan::bench(sample_size = 1000, sample_count = 500)]
fn decision(bencher: divan::Bencher<'_, '_>) {
    let mut random = Random(2);
    let world = &*WORLD;
    bencher.with_inputs(|| path(random.below(SESSIONS))).bench_local_refs(|path| decide(world, path));
}

fn decide(world: &World, path: &Path) -> Option<Found> {
    let Subject::Session { id, .. } = subject(&Method::POST, str::from_utf8(path).ok()?) else { return None };
    let id = SessionId::try_new(id).ok()?;
    Some(world.registry.find(&id))
}

fn sample(random: &mut Random, decide: impl Fn(&Path)) -> Vec<u64> {
    (0..SAMPLES)
        .map(|_| {
            let path = black_box(path(random.below(SESSIONS)));
            let began = Instant::now();
            decide(&path);
            u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)
        })
        .collect()
}

fn print(what: &str, samples: &mut [u64]) {
    samples.sort_unstable();
    let at = |thousandth: usize| samples[(samples.len() - 1) * thousandth / 1000];
    println!("{what}: p50 {} ns, p99 {} ns, p99.9 {} ns", at(500), at(990), at(999));
}

fn claim_steadily(world: &World, stop: &AtomicBool, claimed: &AtomicU64) {
    let mut random = Random(3);
    let began = Instant::now();
    let mut due = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..CLAIMS_AT_ONCE {
            claim(world, random.below(SESSIONS));
        }
        claimed.fetch_add(CLAIMS_AT_ONCE, Ordering::Relaxed);
        due += Duration::from_millis(10);
        thread::park_timeout(due.saturating_sub(began.elapsed()));
    }
}

fn claim(world: &World, number: u64) {
    let server = &world.servers[usize::try_from(number % SERVERS).unwrap_or(0)];
    if let Some(id) = session(number) {
        world.registry.claim(server, &id, Evidence::Emitted);
    }
}

impl World {
    fn new() -> Self {
        let registry = Registry::new(None);
        let store = registry.stores.key(StoreIdentity::File { device: 1, inode: 1 });
        let servers = (0..SERVERS).filter_map(|number| {
            let port = 4096 + u16::try_from(number).ok()?;
            registry.arrive(|key| Server {
                key,
                id: ServerId(format!("server-{number}").into()),
                address: Address::new("127.0.0.1", port),
                credentials: None,
                kind: Kind::Serve,
                process: None,
                store,
                directory: Some("/home/somebody".into()),
                worktree: None,
                project: None,
                version: None,
                state: State::Up,
                since_ms: 0,
                sources: Vec::new(),
                preferred: false,
                plugin: false,
                reports_screen: false,
                usage: None,
                directories: Arc::default(),
            })
        });
        let world = Self { servers: servers.collect(), registry };
        for number in 0..SESSIONS {
            let Some(id) = session(number) else { continue };
            // Titles of 30 to 60 characters, as models write them.
            let length = 30 + usize::try_from(scrambled(number) % 31).unwrap_or(0);
            let row = SessionRow {
                id,
                directory: format!("/home/somebody/projects/{}", number % DIRECTORIES).into(),
                title: format!("{number:length$}").into(),
                project: format!("project-{}", number % DIRECTORIES).into(),
                parent: None,
                created_ms: number,
                updated_ms: number,
            };
            world.registry.sessions.row(store, &row, 0);
            claim(&world, number);
        }
        world
    }
}

fn session(number: u64) -> Option<SessionId> {
    SessionId::try_new(str::from_utf8(&id(number)).ok()?).ok()
}

/// A turn of the session with this number.
fn path(number: u64) -> Path {
    let mut path = *b"/session/ses_00000000000000000000000000/message";
    path[9..39].copy_from_slice(&id(number));
    path
}

/// The id of the session with this number, as random as real ones look.
fn id(number: u64) -> [u8; 30] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut id = *b"ses_00000000000000000000000000";
    let mut bits = u128::from(scrambled(number)) << 64 | u128::from(scrambled(!number));
    for place in &mut id[4..] {
        *place = DIGITS[usize::try_from(bits & 15).unwrap_or(0)];
        bits >>= 4;
    }
    id
}

/// Splitmix64: every number has another result.
fn scrambled(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Ends the steady claims when dropped.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = scrambled(self.0);
        self.0 % end
    }
}

fn resident_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}
