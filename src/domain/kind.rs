//! What sort of process a server is.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How an agent was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(example = "tui")]
pub enum Kind {
    /// `opencode serve`: made to be asked.
    Serve,
    /// `opencode web`: the same, with a browser opened on it.
    Web,
    /// The terminal program with its own server.
    Tui,
    /// `opencode run`: one prompt, then gone.
    Run,
    /// `opencode acp`: an editor's agent.
    Acp,
    /// `opencode attach`: a screen for somebody else's server.
    Attach,
    /// Anything else, or nothing known.
    Other,
}

impl Kind {
    /// The word used in answers and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Web => "web",
            Self::Tui => "tui",
            Self::Run => "run",
            Self::Acp => "acp",
            Self::Attach => "attach",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
