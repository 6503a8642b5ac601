//! What exists at the moment of a scrape.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

/// What is counted only when somebody asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Servers that answer.
    pub up: u64,
    /// Servers that have fallen silent.
    pub stalled: u64,
    /// Servers that want a password we do not have.
    pub locked: u64,
    /// Known sessions.
    pub sessions: u64,
    /// Stores of the known servers.
    pub stores: u64,
    /// Open event streams of clients.
    pub subscribers: u64,
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
        Ok(())
    }
}

fn gauge(count: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX))
}
