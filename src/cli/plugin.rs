//! `pointsman plugin`: putting the plugin into the agent's configuration, looking for it, and taking it away.

mod installation;
mod replace;
mod status;
mod tui_config;

use std::{
    io,
    path::{PathBuf, absolute},
};

use clap::{Args, Subcommand};
use thiserror::Error;

use self::{
    installation::{Installation, Step},
    tui_config::Unreadable,
};
use super::{
    DaemonArgs,
    client::{CliError, print},
};
use crate::config::Environment;

/// `pointsman plugin …`.
#[derive(Subcommand, Clone, Debug)]
pub enum PluginCommand {
    /// Put the plugin into the configuration of opencode, for every terminal started from now on
    Install(InstallArgs),
    /// Tell whether the plugin is installed, and which running terminals have it
    Status(StatusArgs),
    /// Take the plugin away and put the configuration back as it was
    Uninstall(UninstallArgs),
}

/// Where the agent's configuration is.
#[derive(Args, Clone, Debug)]
pub struct PlaceArgs {
    /// Configuration directory of opencode [default: $OPENCODE_CONFIG_DIR, else ~/.config/opencode]
    #[arg(long, value_name = "DIR")]
    pub config_dir: Option<PathBuf>,
}

/// `pointsman plugin install`.
#[derive(Args, Clone, Debug)]
pub struct InstallArgs {
    /// Where.
    #[command(flatten)]
    pub place: PlaceArgs,

    /// State directory of the daemon, as given to `pointsman serve` [default: its own default]
    #[arg(long, env = "POINTSMAN_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Make `opencode run` known too; then a terminal's first start in some projects waits for an installation
    #[arg(long)]
    pub runs: bool,
}

/// `pointsman plugin uninstall`.
#[derive(Args, Clone, Debug)]
pub struct UninstallArgs {
    /// Where.
    #[command(flatten)]
    pub place: PlaceArgs,

    /// Take away only what --runs brought
    #[arg(long)]
    pub runs: bool,
}

/// `pointsman plugin status`.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    /// Where.
    #[command(flatten)]
    pub place: PlaceArgs,

    /// Which daemon to ask for the terminals that run.
    #[command(flatten)]
    pub daemon: DaemonArgs,

    /// State directory of the daemon, as given to `pointsman serve` [default: its own default]
    #[arg(long, env = "POINTSMAN_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

/// Why the plugin cannot be put in its place. Each is one sentence that says what to do.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the sentences say it")]
pub enum PluginError {
    #[error("there is no home directory to look for opencode's configuration in; name it with --config-dir")]
    NoConfigDir,
    #[error("there is no home directory for the daemon's state; name its directory with --state-dir")]
    NoStateDir,
    #[error("the state directory {} cannot be written into a configuration: its name is no text", path.display())]
    NoText { path: PathBuf },
    #[error("{} cannot be edited: {source}; mend it and try again, nothing was changed", path.display())]
    Config { path: PathBuf, source: Unreadable },
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is read-only; run chmod u+w on it, or edit what makes it", path.display())]
    ReadOnly { path: PathBuf },
    #[error("{} cannot be written: {source}", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
}

/// What a plugin in the agent's server costs.
const PRICE: &str = "

With a plugin in its server, OpenCode waits at each start until its own package is installed in every
configuration directory: once for ~/.config/opencode and once for each project's .opencode, seconds with a
network and more than a minute without. `pointsman plugin uninstall --runs` undoes it.";

/// Does what `command` says, and tells what it did.
pub async fn run(command: &PluginCommand, environment: &Environment) -> Result<(), CliError> {
    match command {
        PluginCommand::Install(args) => {
            let state_dir = state_dir(args.state_dir.as_ref(), environment)?;
            let text = state_dir.to_str().ok_or_else(|| PluginError::NoText { path: state_dir.clone() })?;
            let steps = installation(&args.place, environment)?.install(text, args.runs)?;
            let nothing = "The plugin is installed already; nothing was changed.";
            let then = "started from now on make themselves known to the pointsman that uses\n";
            let who = if args.runs { "Terminals and runs" } else { "Terminals" };
            let price = if args.runs { PRICE } else { "" };
            print(&told(&steps, nothing, &format!("{who} {then}{text}.{price}")))
        }
        PluginCommand::Uninstall(UninstallArgs { place, runs: true }) => {
            let steps = installation(place, environment)?.uninstall_runs()?;
            let nothing = "Runs were not made known; nothing was changed.";
            print(&told(&steps, nothing, "Terminals still make themselves known."))
        }
        PluginCommand::Uninstall(UninstallArgs { place, runs: false }) => {
            let steps = installation(place, environment)?.uninstall()?;
            let nothing = "The plugin is not installed; nothing was changed.";
            print(&told(&steps, nothing, "Terminals that run keep it until they close."))
        }
        PluginCommand::Status(args) => status::run(args, environment).await,
    }
}

fn installation(place: &PlaceArgs, environment: &Environment) -> Result<Installation, PluginError> {
    let named = place.config_dir.clone().or_else(|| environment.agent_config_dir().map(PathBuf::from));
    let home = named.ok_or(PluginError::NoConfigDir)?;
    Ok(Installation::new(absolute(&home).unwrap_or(home)))
}

fn state_dir(named: Option<&PathBuf>, environment: &Environment) -> Result<PathBuf, PluginError> {
    let state_dir =
        named.cloned().or_else(|| environment.default_state_dir()).ok_or(PluginError::NoStateDir)?;
    Ok(absolute(&state_dir).unwrap_or(state_dir))
}

/// What was done, step by step, and what comes of it.
fn told(steps: &[Step], nothing: &str, then: &str) -> String {
    if steps.is_empty() {
        return nothing.to_owned();
    }
    let line = |step: &Step| match step {
        Step::Wrote(path) => format!("wrote    {}", path.display()),
        Step::Edited(path) => format!("edited   {}", path.display()),
        Step::Removed(path) => format!("removed  {}", path.display()),
    };
    let lines: Vec<String> = steps.iter().map(line).collect();
    format!("{}\n\n{then}", lines.join("\n"))
}
