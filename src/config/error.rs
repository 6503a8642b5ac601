//! Why a configuration is refused, in sentences a person can act on. None of them repeats a secret.

use std::{io, net::SocketAddr, path::PathBuf};

use thiserror::Error;

use super::{InvalidPorts, InvalidServerUrl};

/// Why the daemon does not start. Nothing has been opened or bound when this is returned.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the sentences say it")]
pub enum ConfigError {
    #[error("the configuration file {} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the configuration file {} is not TOML: line {line}: {problem}", path.display())]
    Syntax { path: PathBuf, line: usize, problem: String },
    #[error("{name} is not a key pointsman knows; {advice}")]
    UnknownKey { name: String, advice: Advice },
    #[error("{name} must be {expected}")]
    Type { name: String, expected: String },
    #[error("{name}: {problem}")]
    Value { name: String, problem: Problem },
    #[error(
        "{name}: {listen} can be reached from other machines, so a token is needed; set POINTSMAN_TOKEN or listen \
         on 127.0.0.1"
    )]
    OpenToOthers { name: String, listen: SocketAddr },
    #[error("there is no home directory to keep state in; name a directory with --state-dir")]
    NoHome,
}

/// What was probably meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Advice {
    /// One known key is close to what was written.
    Nearest(String),
    /// None is; these are all.
    Known(Vec<String>),
}

impl std::fmt::Display for Advice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nearest(key) => write!(f, "did you mean {key}?"),
            Self::Known(keys) => write!(f, "the keys are {}", keys.join(", ")),
        }
    }
}

/// What is wrong with a value, to follow the name of its key.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the sentences say it")]
pub enum Problem {
    #[error("{0:?} is not an IP address and port such as 127.0.0.1:4747")]
    Listen(String),
    #[error(
        "{0:?} is not a path such as /oc: a slash before each segment, none at the end, no query, no escapes"
    )]
    BasePath(String),
    #[error("paths that begin with /{0} are answered already; choose another first segment")]
    TakenPath(String),
    #[error("the path is empty")]
    EmptyPath,
    #[error("{0:?} starts with ~, which only a shell expands; write the whole path")]
    Tilde(String),
    #[error("{path:?} cannot be made absolute: {source}")]
    Path { path: String, source: io::Error },
    #[error(transparent)]
    Url(#[from] InvalidServerUrl),
    #[error("{0} is where this daemon listens itself; name an OpenCode server")]
    OwnAddress(String),
    #[error("{0} is listed twice; list it once")]
    Twice(String),
    #[error(transparent)]
    Ports(#[from] InvalidPorts),
    #[error("{0:?} is not a duration such as \"1s\" or \"500ms\"")]
    Duration(String),
    #[error("{0:?} is not an amount of bytes such as \"64MiB\" or \"1GiB\"")]
    Amount(String),
    #[error("{written:?} is not between {least} and {most}")]
    OutOfRange { written: String, least: &'static str, most: &'static str },
    #[error("{0:?} is neither true nor false")]
    Bool(String),
    #[error("{0:?} is not a number")]
    Number(String),
    #[error("the value is not valid UTF-8")]
    NotUtf8,
    #[error("the value is empty; give one or leave it out")]
    Empty,
    #[error("a token has at most 256 characters, all of them visible ASCII without spaces")]
    Token,
    #[error("a user name may not contain a colon, which ends it in HTTP Basic authentication")]
    UserName,
    #[error("a username without a password opens nothing; add the password or leave both out")]
    NoPassword,
    #[error("{0:?} is not a host name or IP address; write it without scheme, port or wildcard")]
    Host(String),
    #[error("{0:?} would let every web site in; list the origins you trust")]
    EveryOrigin(String),
    #[error("{0:?} is not an origin such as https://code.example.com")]
    Origin(String),
    #[error("servers are started only in directories that you name; list them in spawn.directories")]
    NowhereToSpawn,
    #[error("at least one server must be allowed; set spawn.enabled to false for none")]
    NoneToSpawn,
    #[error("{written:?} is neither of {}", choices.join(" and "))]
    Choice { written: String, choices: &'static [&'static str] },
    #[error("{written:?} is not a log filter such as info or pointsman=debug: {reason}")]
    Filter { written: String, reason: String },
}
