//! What exists at the moment of a scrape.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

use super::bounds::Bounds;

/// What is counted only when somebody asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Servers that answer.
    pub up: u64,
    /// Servers that have fallen silent.
    pub stalled: u64,
    /// Servers that want a password we do not have.
    pub locked: u64,
    /// Known sessions.
    pub sessions: u64,
    /// What is held of what has a bound.
    pub bounds: Bounds,
    /// Claims that are not kept: too many waited.
    pub claims_left_out: u64,
    /// Stores of the known servers.
    pub stores: u64,
    /// Open event streams of clients.
    pub subscribers: u64,
    /// Reads of what servers offer.
    pub catalogue: CatalogueCensus,
    /// Servers that were started here.
    pub spawned: SpawnCensus,
    /// What is kept of events.
    pub journal: JournalCensus,
}

/// What is kept of events, and who came back to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalCensus {
    /// Bytes of files.
    pub bytes: u64,
    /// Their bound; nought if there are none.
    pub limit_bytes: u64,
    /// Events told that are in no file yet.
    pub behind: u64,
    /// Bytes of events in memory.
    pub log_bytes: u64,
    /// Their bound.
    pub log_limit_bytes: u64,
    /// Bytes kept for those who come late or read slowly.
    pub picture_bytes: u64,
    /// Their bound.
    pub picture_limit_bytes: u64,
    /// How often a subscriber that read slowly was told what events came to.
    pub conflated: u64,
    /// How often a subscriber could not be told what it missed.
    pub lost: u64,
    /// How often the files began anew, since the disk was too slow.
    pub restarts: u64,
    /// Deleted sessions whose names were forgotten too soon.
    pub forgotten: u64,
    /// Events told to nobody: they would have brought back what is gone.
    pub hidden: u64,
    /// Clients that came back with a cursor, by what became of it.
    pub resumes: Vec<(&'static str, u64)>,
}

/// The servers that the daemon starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpawnCensus {
    /// How many there are.
    pub running: u64,
    /// How many there may be.
    pub limit: u64,
    /// What came of it, each with its word.
    pub outcomes: [(&'static str, u64); 5],
}

/// How reads of what servers offer were answered since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CatalogueCensus {
    /// With what was kept.
    pub hits: u64,
    /// By a server.
    pub misses: u64,
    /// With what another had asked a server for at that time.
    pub shared: u64,
    /// With 304.
    pub unchanged: u64,
    /// Bytes that servers did not have to send.
    pub saved_bytes: u64,
    /// Times that all that was kept, of a store or at all, was dropped.
    pub drops: u64,
    /// Bytes kept now.
    pub kept_bytes: u64,
    /// Their bound.
    pub limit_bytes: u64,
}

/// Takes a census at every scrape.
pub(super) struct Survey(Box<dyn Fn() -> Census + Send + Sync>);

impl Survey {
    pub(super) fn new(census: impl Fn() -> Census + Send + Sync + 'static) -> Self {
        Self(Box::new(census))
    }
}

impl fmt::Debug for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Survey")
    }
}

impl Collector for Survey {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let census = (self.0)();
        let mut servers =
            encoder.encode_descriptor("servers", "Known servers, by state", None, MetricType::Gauge)?;
        for (state, count) in [("up", census.up), ("stalled", census.stalled), ("locked", census.locked)] {
            gauge(count).encode(servers.encode_family(&[("state", state)])?)?;
        }
        for (name, help, count) in [
            ("sessions", "Known sessions", census.sessions),
            ("stores", "Stores of the known servers", census.stores),
            ("subscribers", "Open event streams of clients", census.subscribers),
        ] {
            let encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            gauge(count).encode(encoder)?;
        }
        let help = "Claims that are not kept, since too many waited to be written";
        let left_out = encoder.encode_descriptor("claims_left_out", help, None, MetricType::Counter)?;
        ConstCounter::new(census.claims_left_out).encode(left_out)?;
        census.bounds.encode(&mut encoder)?;
        census.catalogue.encode(&mut encoder)?;
        census.journal.encode(&mut encoder)?;
        census.spawned.encode(&mut encoder)
    }
}

impl SpawnCensus {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, count) in [
            ("spawned_servers", "Started servers that run", self.running),
            ("spawned_servers_limit", "How many started servers may run", self.limit),
        ] {
            gauge(count).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        let help = "What came of starting servers";
        let mut outcomes = encoder.encode_descriptor("spawns", help, None, MetricType::Counter)?;
        for (outcome, count) in self.outcomes.iter().filter(|(outcome, _)| !outcome.is_empty()) {
            ConstCounter::new(*count).encode(outcomes.encode_family(&[("outcome", *outcome)])?)?;
        }
        Ok(())
    }
}

impl JournalCensus {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let bytes = Some(&Unit::Bytes);
        for (name, help, unit, count) in [
            ("journal", "Bytes of events kept in files", bytes, self.bytes),
            ("journal_limit", "Bytes of events that may be kept in files", bytes, self.limit_bytes),
            ("journal_behind", "Events told that are in no file yet", None, self.behind),
            ("log", "Bytes of events kept in memory", bytes, self.log_bytes),
            ("log_limit", "Bytes of events that may be kept in memory", bytes, self.log_limit_bytes),
            ("picture", "Bytes kept for clients that come late or read slowly", bytes, self.picture_bytes),
            ("picture_limit", "Bytes that may be kept for them", bytes, self.picture_limit_bytes),
        ] {
            gauge(count).encode(encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?)?;
        }
        for (name, help, count) in [
            ("stream_conflations", "Times a slow subscriber was told what events came to", self.conflated),
            ("stream_losses", "Times a subscriber could not be told what it missed", self.lost),
            ("journal_restarts", "Times the journal began anew, the disk being too slow", self.restarts),
            ("erased_forgotten", "Deleted sessions the journal forgot too soon", self.forgotten),
            ("events_hidden", "Events that would have brought back what is gone", self.hidden),
        ] {
            ConstCounter::new(count).encode(encoder.encode_descriptor(
                name,
                help,
                None,
                MetricType::Counter,
            )?)?;
        }
        let help = "Subscribers that came back with a cursor";
        let mut resumes = encoder.encode_descriptor("stream_resumes", help, None, MetricType::Counter)?;
        for (outcome, count) in &self.resumes {
            ConstCounter::new(*count).encode(resumes.encode_family(&[("outcome", *outcome)])?)?;
        }
        Ok(())
    }
}

impl CatalogueCensus {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Reads of what servers offer, by where the answer came from";
        let mut reads = encoder.encode_descriptor("catalogue_reads", help, None, MetricType::Counter)?;
        for (cache, count) in [("hit", self.hits), ("miss", self.misses), ("shared", self.shared)] {
            ConstCounter::new(count).encode(reads.encode_family(&[("cache", cache)])?)?;
        }
        for (name, help, unit, count) in [
            ("catalogue_unchanged", "Reads answered with 304", None, self.unchanged),
            ("catalogue_saved", "Bytes servers did not have to send", Some(&Unit::Bytes), self.saved_bytes),
            ("catalogue_drops", "Times that what was kept was dropped", None, self.drops),
        ] {
            let encoder = encoder.encode_descriptor(name, help, unit, MetricType::Counter)?;
            ConstCounter::new(count).encode(encoder)?;
        }
        for (name, help, count) in [
            ("catalogue_kept", "Bytes of answers that are kept", self.kept_bytes),
            ("catalogue_limit", "How many there may be", self.limit_bytes),
        ] {
            let encoder = encoder.encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Gauge)?;
            gauge(count).encode(encoder)?;
        }
        Ok(())
    }
}

pub(super) fn gauge(count: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX))
}
