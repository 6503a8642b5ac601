//! Why a request is not let in. What status that is, the edge decides.

use thiserror::Error;

/// Why the guard turned a request away. The sentences are for the client and hold no secret.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// HTTP/1.1 wants exactly one well-formed `Host`.
    #[error("the request must name its host in one well-formed Host header")]
    HostMalformed,
    /// A name that may be a web page's own, pointed at this machine.
    #[error("{0:?} is not a name this pointsman answers to; add it to allowed_hosts if it is yours")]
    HostUnknown(String),
    /// A web page that is neither ours nor `OpenCode`'s nor a configured one.
    #[error("web pages of {0:?} may not use this pointsman; add the origin to cors if you trust it")]
    OriginUnknown(String),
    /// A browser says that another site caused the request, and not by a link a person followed.
    #[error("a request caused by another web site is not accepted")]
    CrossSite,
    /// A web page asked for what no page may have.
    #[error("no web page may register servers or pin sessions, whatever its origin")]
    PageRefused,
    /// The secret of `registration.json` was not presented, or a wrong one.
    #[error(
        "this needs the header X-Pointsman-Secret: the secret that stands in registration.json of the state directory \
         of this pointsman (usually ~/.local/state/pointsman), which its owner alone can read"
    )]
    SecretNeeded,
    /// No token was presented, or a wrong one. The answer carries [`CHALLENGE`](super::CHALLENGE).
    #[error("this pointsman wants its token: as Basic password, Bearer token or ?auth_token=")]
    TokenNeeded,
    /// The client's process belongs to another user of this machine.
    #[error(
        "this pointsman belongs to another user of this machine; its owner can set a token and share that"
    )]
    OtherUser,
    /// Whose process it is cannot be known, and a server behind is closed with a password.
    #[error(
        "it cannot be known which user this connection belongs to, and a server behind this pointsman has a \
         password: set POINTSMAN_TOKEN to use it"
    )]
    UserUnknown,
    /// No process could be found at the other end, though the system tells such things.
    #[error(
        "no process was found at the other end of this connection, so it cannot be let in without a token: connect \
         without binding to a network device, or set POINTSMAN_TOKEN"
    )]
    UserHidden,
    /// The request has been here before, or through too many like us.
    #[error("the request came back to a pointsman it had already passed; a server URL points at a pointsman")]
    Loop,
}

impl Refusal {
    /// The `name` of the error object, as `OpenCode` clients read it: stable.
    pub fn name(&self) -> &'static str {
        match self {
            Self::HostMalformed => "HostMalformedError",
            Self::HostUnknown(_) => "HostUnknownError",
            Self::OriginUnknown(_) | Self::CrossSite | Self::PageRefused => "OriginRefusedError",
            Self::SecretNeeded | Self::TokenNeeded => "UnauthorizedError",
            Self::OtherUser | Self::UserUnknown | Self::UserHidden => "UserRefusedError",
            Self::Loop => "LoopDetectedError",
        }
    }

    /// Whether the web page behind the request, if there is one, had been let in before this refused it. No other may
    /// read the refusal: it would learn that we are here.
    pub fn is_for_a_trusted_page(&self) -> bool {
        match self {
            Self::HostMalformed
            | Self::HostUnknown(_)
            | Self::OriginUnknown(_)
            | Self::CrossSite
            | Self::PageRefused
            | Self::Loop => false,
            Self::SecretNeeded
            | Self::TokenNeeded
            | Self::OtherUser
            | Self::UserHidden
            | Self::UserUnknown => true,
        }
    }
}

/// A header's text for a sentence: what a stranger sent is cut short.
pub(super) fn quoted(bytes: &[u8]) -> String {
    const SHOWN: usize = 100;
    String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned()
}
