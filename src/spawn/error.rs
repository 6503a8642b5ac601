//! Why no server was started, in sentences that say what to do.

use thiserror::Error;

/// See the module.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SpawnError {
    /// Nothing is started.
    #[error("servers are not started here; set enabled and directories in [spawn] of the configuration")]
    Off,
    /// There is no such directory.
    #[error("{directory} is no directory that a server can be started in: {why}")]
    NoDirectory {
        /// What was asked for.
        directory: String,
        /// What is wrong.
        why: String,
    },
    /// The configuration does not allow it.
    #[error(
        "no server may be started in {directory}; add it, or one above it, to directories in [spawn] of the \
         configuration"
    )]
    NotAllowed {
        /// What was asked for, without links.
        directory: String,
    },
    /// As many run as may.
    #[error(
        "{limit} started servers run, which is the limit in [spawn] of the configuration; end one of them, or raise it"
    )]
    Full {
        /// How many.
        limit: usize,
    },
    /// One was started, or should have been, and is none.
    #[error("no server could be started in {directory}: {why}{}{}", wrote(.tail), again(*.again_s))]
    Failed {
        /// Where.
        directory: String,
        /// What is wrong, and what to do.
        why: String,
        /// What it wrote last.
        tail: String,
        /// In how many seconds the next attempt may be made.
        again_s: u64,
    },
    /// The daemon ends.
    #[error("pointsman is stopping")]
    Stopping,
}

fn wrote(tail: &str) -> String {
    if tail.is_empty() { String::new() } else { format!("; it wrote: {tail}") }
}

fn again(seconds: u64) -> String {
    if seconds == 0 { String::new() } else { format!("; no other attempt is made for {seconds} s") }
}
