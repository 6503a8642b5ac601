//! What the daemon counts about itself, as `/metrics` shows it.
//!
//! Counting never waits and, on the path of a request, costs a few atomic additions. What can be read off the
//! registry and the hub at the moment of a scrape is not counted at all: a [`Census`] is taken then.
//! `docs/operations.md` says of every metric what it means; a test holds that list and this file together.

mod bounds;
mod census;
mod histogram;

use std::{fmt, time::Duration};

use http::StatusCode;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, info::Info},
    registry::{Registry, Unit},
};

pub use self::bounds::{Bounds, Held};
pub use self::census::{CatalogueCensus, Census, JournalCensus, SpawnCensus};
use self::{census::Survey, histogram::Histogram};
use crate::domain::evidence::Evidence;

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds for the time to the head of an answer, in seconds: from what the proxy itself costs to a turn that
/// takes minutes.
const REQUEST_SECONDS: &[f64] = &[0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0, 600.0];

/// Upper bounds for one look around of discovery, in seconds. It happens every second and should take none of it.
const TICK_SECONDS: &[f64] = &[0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0];

/// How a request was dealt with: what its place in the metrics is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It went to the session's owner, by this evidence.
    Owner(Evidence),
    /// It went to the server that the client named.
    Explicit,
    /// It went to the server that raised the permission, question or terminal.
    Raised,
    /// It went to the server that saw the first step.
    Flow,
    /// It went to the server for the directory.
    Directory,
    /// It went to the only server that could be meant.
    Only,
    /// It went to the default server.
    Default,
    /// It went to some server of the store, for the owner cannot be reached.
    OwnerUnreachable,
    /// It was answered from several servers.
    Merged,
    /// It became a subscriber of a stream.
    Stream,
    /// One of our own endpoints answered it.
    Own,
    /// The guard refused it.
    Refused,
    /// No server could be found for it.
    Nowhere,
}

impl Decision {
    const OTHERS: [Self; 12] = [
        Self::Explicit,
        Self::Raised,
        Self::Flow,
        Self::Directory,
        Self::Only,
        Self::Default,
        Self::OwnerUnreachable,
        Self::Merged,
        Self::Stream,
        Self::Own,
        Self::Refused,
        Self::Nowhere,
    ];
    const COUNT: usize = Evidence::ALL.len() + Self::OTHERS.len();

    fn all() -> impl Iterator<Item = Self> {
        Evidence::ALL.into_iter().map(Self::Owner).chain(Self::OTHERS)
    }

    /// Its place in [`Decision::all`].
    fn index(self) -> usize {
        let others = Evidence::ALL.len();
        match self {
            Self::Owner(evidence) => evidence as usize,
            Self::Explicit => others,
            Self::Raised => others + 1,
            Self::Flow => others + 2,
            Self::Directory => others + 3,
            Self::Only => others + 4,
            Self::Default => others + 5,
            Self::OwnerUnreachable => others + 6,
            Self::Merged => others + 7,
            Self::Stream => others + 8,
            Self::Own => others + 9,
            Self::Refused => others + 10,
            Self::Nowhere => others + 11,
        }
    }

    const fn route(self) -> &'static str {
        match self {
            Self::Owner(_) => "owner",
            Self::Explicit => "explicit",
            Self::Raised => "raised",
            Self::Flow => "flow",
            Self::Directory => "directory",
            Self::Only => "only",
            Self::Default => "default",
            Self::OwnerUnreachable => "owner-unreachable",
            Self::Merged => "merged",
            Self::Stream => "stream",
            Self::Own => "own",
            Self::Refused => "refused",
            Self::Nowhere => "nowhere",
        }
    }

    const fn evidence(self) -> &'static str {
        match self {
            Self::Owner(evidence) => evidence.as_str(),
            _ => "",
        }
    }
}

/// The first digits of statuses, as a label. 101 stands for what was upgraded.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    route: &'static str,
    evidence: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabels {
    cause: &'static str,
}

/// See the module.
pub struct Metrics {
    registry: Registry,
    decisions: [Counter; Decision::COUNT],
    requests: [[Counter; CLASSES.len()]; Decision::COUNT],
    request_seconds: Histogram,
    tick_seconds: Histogram,
    events: Counter,
    skipped: Family<ReasonLabels, Counter>,
    reconnects: Counter,
    moves: Counter,
    conflicts: Counter,
    idles_withheld: Counter,
    partial: Family<ReasonLabels, Counter>,
    rows: Counter,
    missing: Family<CauseLabels, Counter>,
    repairs: Family<ReasonLabels, Counter>,
    repairs_left_out: Counter,
    repaired: Family<ReasonLabels, Counter>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Metrics that take `census` at every scrape. It must not block for longer than a scrape may take.
    pub fn new(census: impl Fn() -> Census + Send + Sync + 'static) -> Self {
        let mut registry = Registry::with_prefix("pointsman");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version that runs", build);
        registry.register_collector(Box::new(Survey::new(census)));

        let decisions = Family::<DecisionLabels, Counter>::default();
        let requests = Family::<RequestLabels, Counter>::default();
        registry.register("route_decisions", "Requests by where they went and why", decisions.clone());
        registry.register("requests", "Requests answered, by route and class of status", requests.clone());
        let mut of_decision = Decision::all().map(|decision| {
            let labels = DecisionLabels { route: decision.route(), evidence: decision.evidence() };
            decisions.get_or_create_owned(&labels)
        });
        let decisions = std::array::from_fn(|_| of_decision.next().unwrap_or_default());
        let mut of_request = Decision::all().map(|decision| {
            CLASSES.map(|status| {
                requests.get_or_create_owned(&RequestLabels { route: decision.route(), status })
            })
        });
        let requests = std::array::from_fn(|_| of_request.next().unwrap_or_default());

        let request_seconds = Histogram::new(REQUEST_SECONDS);
        let tick_seconds = Histogram::new(TICK_SECONDS);
        registry.register_with_unit(
            "request",
            "Time from the head of a request to the head of its answer",
            Unit::Seconds,
            request_seconds.clone(),
        );
        registry.register_with_unit(
            "discovery_tick",
            "Time that one look around of discovery takes",
            Unit::Seconds,
            tick_seconds.clone(),
        );
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let events = counter("events", "Events read from the servers' streams");
        let reconnects = counter("feed_reconnects", "Connections to a server's stream after the first one");
        let moves = counter("session_moves", "Sessions that another server came to own");
        let conflicts = counter("session_conflicts", "Turns run while another server was busy");
        let idles_withheld = counter("idle_withheld", "Idles of servers that never ran the turn, not told");
        let repairs_left_out = counter("repairs_left_out", "Sessions not asked about, since too many waited");
        let rows = counter("sync_rows", "Rows read from the servers' session lists");
        let skipped = Family::<ReasonLabels, Counter>::default();
        let partial = Family::<ReasonLabels, Counter>::default();
        registry.register("events_skipped", "Pieces of streams that were no events", skipped.clone());
        let missing = Family::<CauseLabels, Counter>::default();
        registry.register("changes_missing", "Stored changes that no stream has carried", missing.clone());
        let repairs = Family::<ReasonLabels, Counter>::default();
        let repaired = Family::<ReasonLabels, Counter>::default();
        registry.register("repairs", "Times that servers were asked for what was missed", repairs.clone());
        registry.register("repaired_events", "Events told that no stream has told", repaired.clone());
        registry.register("merge_partial", "Servers left out of merged answers", partial.clone());

        Self {
            registry,
            decisions,
            requests,
            request_seconds,
            tick_seconds,
            events,
            skipped,
            reconnects,
            moves,
            conflicts,
            idles_withheld,
            partial,
            rows,
            missing,
            repairs,
            repairs_left_out,
            repaired,
        }
    }

    /// It was decided where a request goes.
    pub fn decided(&self, decision: Decision) {
        self.decisions[decision.index()].inc();
    }

    /// The head of an answer is on its way, `took` after the head of the request came.
    pub fn answered(&self, decision: Decision, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        self.requests[decision.index()][class].inc();
        self.request_seconds.observe(took);
    }

    /// Events were read from a server's stream.
    pub fn events(&self, count: u64) {
        self.events.inc_by(count);
    }

    /// Something on a server's stream was no event. `reason` is one of few fixed words.
    pub fn skipped(&self, reason: &'static str, count: u64) {
        self.skipped.get_or_create(&ReasonLabels { reason }).inc_by(count);
    }

    /// A server's stream was connected to again.
    pub fn reconnected(&self) {
        self.reconnects.inc();
    }

    /// A session changed hands.
    pub fn moved(&self) {
        self.moves.inc();
    }

    /// Two servers run turns of one session.
    pub fn conflicted(&self) {
        self.conflicts.inc();
    }

    /// An idle was neither applied nor passed on.
    pub fn idle_withheld(&self) {
        self.idles_withheld.inc();
    }

    /// A merged answer lacks a server. `reason` is one of few fixed words.
    pub fn partial(&self, reason: &'static str) {
        self.partial.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Rows of a session list were read.
    pub fn rows(&self, count: u64) {
        self.rows.inc_by(count);
    }

    /// A server was asked for what was missed, and so many events came of it. `reason` is one of few fixed words.
    pub fn repaired(&self, reason: &'static str, events: usize) {
        self.repairs.get_or_create(&ReasonLabels { reason }).inc();
        self.repaired.get_or_create(&ReasonLabels { reason }).inc_by(events as u64);
    }

    /// A session is not asked about, since too many wait. Tells whether it is the first.
    pub fn repair_left_out(&self) -> bool {
        self.repairs_left_out.inc() == 0
    }

    /// Numbers of stored changes were carried by no stream. `cause` is one of few fixed words.
    pub fn numbers_missing(&self, cause: &'static str, count: u64) {
        self.missing.get_or_create(&CauseLabels { cause }).inc_by(count);
    }

    /// Discovery has looked around once.
    pub fn ticked(&self, took: Duration) {
        self.tick_seconds.observe(took);
    }

    /// Everything, as [`CONTENT_TYPE`] says.
    pub fn render(&self) -> String {
        let mut rendered = String::with_capacity(16 * 1024);
        // Writing to a text fails only if a metric does, and ours do not.
        let written = text::encode(&mut rendered, &self.registry);
        debug_assert!(written.is_ok(), "a metric could not be written");
        rendered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> Metrics {
        Metrics::new(|| Census {
            up: 2,
            stalled: 1,
            sessions: 7,
            stores: 1,
            subscribers: 3,
            journal: JournalCensus { resumes: vec![("ok", 4)], ..JournalCensus::default() },
            ..Census::default()
        })
    }

    #[test]
    fn every_decision_has_a_place_of_its_own() {
        let places: Vec<usize> = Decision::all().map(Decision::index).collect();
        assert_eq!(places, (0..Decision::COUNT).collect::<Vec<_>>());
    }

    #[test]
    fn what_was_counted_is_shown_by_its_name_and_labels() {
        let metrics = metrics();
        metrics.decided(Decision::Owner(Evidence::Viewing));
        let took = Duration::from_millis(3);
        metrics.answered(Decision::Owner(Evidence::Viewing), StatusCode::OK, took);
        metrics.answered(Decision::Owner(Evidence::Busy), StatusCode::NO_CONTENT, took);
        metrics.answered(Decision::Nowhere, StatusCode::SERVICE_UNAVAILABLE, took);
        metrics.skipped("too-large", 2);
        metrics.moved();
        let shown = metrics.render();
        for line in [
            "pointsman_route_decisions_total{route=\"owner\",evidence=\"viewing\"} 1",
            "pointsman_requests_total{route=\"owner\",status=\"2xx\"} 2",
            "pointsman_requests_total{route=\"nowhere\",status=\"5xx\"} 1",
            "pointsman_request_seconds_bucket{le=\"0.001\"} 0",
            "pointsman_request_seconds_bucket{le=\"0.005\"} 3",
            "pointsman_request_seconds_bucket{le=\"+Inf\"} 3",
            "pointsman_request_seconds_count 3",
            "pointsman_events_skipped_total{reason=\"too-large\"} 2",
            "pointsman_session_moves_total 1",
            "pointsman_servers{state=\"up\"} 2",
            "pointsman_servers{state=\"locked\"} 0",
            "pointsman_sessions 7",
            "pointsman_subscribers 3",
            "pointsman_stream_resumes_total{outcome=\"ok\"} 4",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line} is not in\n{shown}");
        }
        assert!(shown.ends_with("# EOF\n"));
    }

    #[test]
    fn every_metric_stands_in_the_operations_document_and_no_other() {
        let document = include_str!("../docs/operations.md");
        let listed: std::collections::BTreeSet<&str> = document
            .lines()
            .filter_map(|line| line.strip_prefix("| `pointsman_")?.split(['`', '{']).next())
            .collect();
        let metrics = metrics();
        metrics.skipped("too-large", 1);
        metrics.partial("slow");
        metrics.repaired("reconnect", 1);
        metrics.numbers_missing("unseen", 1);
        let shown = metrics.render();
        let shown: std::collections::BTreeSet<String> = shown
            .lines()
            .filter_map(|line| {
                let (name, kind) = line.strip_prefix("# TYPE pointsman_")?.split_once(' ')?;
                Some(match kind {
                    "counter" => format!("{name}_total"),
                    "info" => format!("{name}_info"),
                    _ => name.to_owned(),
                })
            })
            .collect();
        assert_eq!(listed, shown.iter().map(String::as_str).collect());
    }
}
