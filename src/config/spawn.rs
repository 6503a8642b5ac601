//! What is said of the servers that the daemon starts by itself.

use std::{
    path::{MAIN_SEPARATOR, PathBuf},
    time::Duration,
};

use super::{Problem, meant, written::WrittenSpawn};

/// Found on `PATH`.
const COMMAND: &str = "opencode";
/// Each takes some 300 to 800 MB.
const LIMIT: u16 = 4;
/// A person who comes back from lunch waits for one start.
const IDLE: &str = "30m";
/// One starts in some seconds, on a busy machine in half a minute.
const WAIT: &str = "1m";

/// How servers are started, where that is wanted at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spawn {
    /// The program.
    pub command: PathBuf,
    /// Absolute paths: one is started in these and in what lies below them.
    pub directories: Vec<PathBuf>,
    /// How many may run at once.
    pub limit: usize,
    /// After how long without use one is ended.
    pub idle: Duration,
    /// How long one may take until it answers.
    pub wait: Duration,
}

impl Spawn {
    /// `None` unless it is enabled; checked in any case. The key of what is wrong comes with the problem.
    pub(super) fn read(written: WrittenSpawn) -> Result<Option<Self>, (&'static str, Problem)> {
        let at = |key| move |problem| (key, problem);
        let directories: Result<Vec<_>, _> =
            written.directories.unwrap_or_default().into_iter().map(meant::absolute).collect();
        let directories = directories.map_err(at("spawn.directories"))?;
        let command = command_path(written.command.unwrap_or_else(|| COMMAND.to_owned()));
        let command = command.map_err(at("spawn.command"))?;
        let limit = written.limit.unwrap_or(LIMIT);
        let time = |written: Option<String>, usual: &str, least, most| {
            meant::duration(written.as_deref().unwrap_or(usual), least, most)
        };
        let idle = time(written.idle, IDLE, "1s", "30d").map_err(at("spawn.idle"))?;
        let wait = time(written.wait, WAIT, "1s", "5m").map_err(at("spawn.wait"))?;
        if limit == 0 {
            return Err(("spawn.limit", Problem::NoneToSpawn));
        }
        if written.enabled != Some(true) {
            return Ok(None);
        }
        if directories.is_empty() {
            return Err(("spawn.enabled", Problem::NowhereToSpawn));
        }
        Ok(Some(Self { command, directories, limit: limit.into(), idle, wait }))
    }
}

/// A bare name is looked for on `PATH`; anything else is a path from here, not from where a server is started.
fn command_path(text: String) -> Result<PathBuf, Problem> {
    if text.is_empty() || text.contains(MAIN_SEPARATOR) { meant::absolute(text) } else { Ok(text.into()) }
}
