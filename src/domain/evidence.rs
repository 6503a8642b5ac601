//! How we came to believe that a server owns a session, from strong to weak.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The kinds of evidence. The order is the strength: a greater one is never displaced by a lesser one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(example = "busy")]
pub enum Evidence {
    /// The session stands in the store that the server reads; every server of the store could serve it.
    Listed,
    /// A tie-break was needed once, and its choice is kept.
    Chosen,
    /// The server's command line names the session.
    StartedWith,
    /// We sent a turn there and it was accepted.
    Routed,
    /// The server took over directory, store and address of an owner that had gone minutes before.
    Succeeded,
    /// The session is a sub-agent's and follows its parent.
    Inherited,
    /// The server's stream carried output of a running turn, or it created the session.
    Emitted,
    /// The screen of the server's own process shows the session.
    Viewing,
    /// The server said that the session is working there.
    Busy,
    /// A person or a program said so.
    Pinned,
}

impl Evidence {
    /// Every kind, from weak to strong.
    pub const ALL: [Self; 10] = [
        Self::Listed,
        Self::Chosen,
        Self::StartedWith,
        Self::Routed,
        Self::Succeeded,
        Self::Inherited,
        Self::Emitted,
        Self::Viewing,
        Self::Busy,
        Self::Pinned,
    ];

    /// The word used in headers, answers, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::Chosen => "chosen",
            Self::StartedWith => "started-with",
            Self::Routed => "routed",
            Self::Succeeded => "succeeded",
            Self::Inherited => "inherited",
            Self::Emitted => "emitted",
            Self::Viewing => "viewing",
            Self::Busy => "busy",
            Self::Pinned => "pinned",
        }
    }

    /// Whether a server that holds this evidence *owns* the session, rather than merely serving it for now.
    pub fn owns(self) -> bool {
        self >= Self::Routed
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
