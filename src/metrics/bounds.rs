//! What grows with use, and how far it may: each a gauge beside that of its limit.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::MetricType,
};

use super::census::gauge;

/// How much of something is held, and how much may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// How much is.
    pub is: usize,
    /// How much may be.
    pub most: usize,
}

impl From<(usize, usize)> for Held {
    fn from((is, most): (usize, usize)) -> Self {
        Self { is, most }
    }
}

/// See the module. What is counted in bytes stands in the other parts of the census.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Sessions whose titles are kept.
    pub titles: Held,
    /// Claims that wait to be written.
    pub claims_waiting: Held,
    /// Permissions, questions and terminals whose servers are remembered.
    pub asked: Held,
    /// Deleted sessions that no list may bring back.
    pub deleted: Held,
    /// Deleted sessions of which the journal keeps nothing.
    pub erased: Held,
    /// Sessions that somebody unseen writes, or may write.
    pub unseen: Held,
    /// Sessions whose numbers are followed.
    pub numbered: Held,
    /// Sessions that wait to be asked about.
    pub repairs_waiting: Held,
    /// Events in memory.
    pub log_events: Held,
    /// Registered instances.
    pub registrations: Held,
    /// Directories whose server was chosen.
    pub directories: Held,
    /// Flows of several steps.
    pub flows: Held,
    /// Tickets for terminals.
    pub tickets: Held,
}

impl Bounds {
    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, held) in [
            ("session_titles", "Sessions whose titles are kept", self.titles),
            ("claims_waiting", "Claims that wait to be written", self.claims_waiting),
            ("asked", "Permissions, questions and terminals whose servers are remembered", self.asked),
            ("deleted_sessions", "Deleted sessions that no list may bring back", self.deleted),
            ("erased_sessions", "Deleted sessions of which the journal keeps nothing", self.erased),
            ("unseen_sessions", "Sessions that somebody unseen writes, or may write", self.unseen),
            ("numbered_sessions", "Sessions whose numbers are followed", self.numbered),
            ("repairs_waiting", "Sessions that wait to be asked about", self.repairs_waiting),
            ("log_events", "Events kept in memory", self.log_events),
            ("registrations", "Instances that made themselves known", self.registrations),
            ("directory_choices", "Directories whose server was chosen", self.directories),
            ("flows", "Flows of several steps whose server is remembered", self.flows),
            ("tickets", "Tickets for terminals that are out", self.tickets),
        ] {
            let limit = format!("{name}_limit");
            for (name, help, count) in [(name, help, held.is), (&limit, "How many there may be", held.most)] {
                let encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                gauge(count as u64).encode(encoder)?;
            }
        }
        Ok(())
    }
}
