//! What a merged answer lacks, and why.

use std::{fmt, sync::Arc};

use http::HeaderValue;

use crate::registry::server::{Server, State};

/// Why a server has no part in a merged answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It wants a password that the configuration does not give. It was not asked, or said so.
    Locked,
    /// It has been silent for so long that it was not asked.
    Stalled,
    /// It did not answer in time.
    Timeout,
    /// It could not be reached, broke off, or refused.
    Failed,
    /// What it answered is no such list.
    Malformed,
}

impl Reason {
    /// The word in the header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Locked => "locked",
            Self::Stalled => "stalled",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
            Self::Malformed => "malformed",
        }
    }

    /// Why a server in this state is not asked.
    pub(super) const fn of(state: State) -> Option<Self> {
        match state {
            State::Up => None,
            State::Stalled => Some(Self::Stalled),
            State::Locked => Some(Self::Locked),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A server without a part in an answer.
#[derive(Clone, Debug)]
pub struct Absence {
    /// The server.
    pub server: Arc<Server>,
    /// Why.
    pub reason: Reason,
}

/// The value of `X-Pointsman-Partial`: each server once, with the first reason found. `None` if nothing lacks.
pub(super) fn header(absences: &[Absence]) -> Option<HeaderValue> {
    let mut text = String::new();
    for (at, absence) in absences.iter().enumerate() {
        if absences[..at].iter().any(|before| before.server.key == absence.server.key) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&absence.server.address.authority);
        text.push_str("; reason=");
        text.push_str(absence.reason.as_str());
    }
    if text.is_empty() { None } else { HeaderValue::from_str(&text).ok() }
}
