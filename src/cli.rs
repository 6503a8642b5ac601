//! The command line: what can be asked, and nothing of how it is done.

#![expect(clippy::doc_markdown, reason = "these comments are printed as help, where backticks are noise")]

pub mod attach;
pub mod client;
pub mod events;
mod moment;
pub mod open;
pub mod plugin;
pub mod servers;
pub mod sessions;
pub mod spawn;
mod table;
pub mod which;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Environment, Secret, ServeArgs};

/// Where a daemon is asked for that nobody has named and that has not announced itself.
const USUAL_URL: &str = "http://127.0.0.1:4747";

/// One URL in front of all of your coding-agent servers.
#[derive(Parser, Debug)]
#[command(name = "pointsman", version, about, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `pointsman` can do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run the daemon: find the servers and route every request to the one that owns its session
    Serve(ServeArgs),
    /// List the servers a running daemon knows
    Servers(ClientArgs),
    /// List sessions and the server that owns each
    Sessions(SessionsArgs),
    /// Show what happens in all servers, as it happens
    Events(EventsArgs),
    /// Explain which server owns a session, and why
    Which(WhichArgs),
    /// Open the web page, or a session's, in a browser
    Open(OpenArgs),
    /// Run `opencode attach` here, or on a session in its directory
    Attach(AttachArgs),
    /// Start a server in a directory, as a request for it would
    Spawn(spawn::SpawnArgs),
    /// Make terminals that open no port reachable, by a plugin in them
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
}

/// How to reach a running daemon.
#[derive(Args, Clone, Debug)]
pub struct DaemonArgs {
    /// URL of the daemon [default: the one that uses the state directory, else http://127.0.0.1:4747]
    #[arg(long, env = "POINTSMAN_URL", value_name = "URL")]
    pub url: Option<String>,

    /// Token of the daemon, if it wants one
    ///
    /// Other users of the machine can read command lines: POINTSMAN_TOKEN is the better place.
    #[arg(long, env = "POINTSMAN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub token: Option<Secret>,
}

/// How to reach a running daemon, and how to print what it says.
#[derive(Args, Clone, Debug)]
pub struct ClientArgs {
    /// Which one.
    #[command(flatten)]
    pub daemon: DaemonArgs,

    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// `pointsman sessions`.
#[derive(Args, Clone, Debug)]
pub struct SessionsArgs {
    /// Where to ask.
    #[command(flatten)]
    pub client: ClientArgs,

    /// How many sessions at most, the latest updated first
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,

    /// Only sessions of this directory
    #[arg(long, value_name = "DIR")]
    pub directory: Option<String>,

    /// Only sessions owned by this server, named by id or port as in `pointsman servers`
    #[arg(long, value_name = "SERVER")]
    pub server: Option<String>,

    /// Only sessions whose title contains this text
    #[arg(long, value_name = "TEXT")]
    pub search: Option<String>,
}

/// `pointsman events`.
#[derive(Args, Clone, Debug)]
pub struct EventsArgs {
    /// Only events of this session; several are separated by commas
    #[arg(long, value_name = "SESSION", value_delimiter = ',')]
    pub session: Vec<String>,

    /// Only events of this directory; may be given several times
    #[arg(long, value_name = "DIR")]
    pub directory: Vec<String>,

    /// Only events of this server, named by id or port as in `pointsman servers`; several are separated by commas
    #[arg(long, value_name = "SERVER", value_delimiter = ',')]
    pub server: Vec<String>,

    /// Only events of this type; a * at the end stands for any rest, several are separated by commas
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    pub kind: Vec<String>,

    /// Print each event as one line of JSON
    #[arg(long)]
    pub json: bool,

    /// Print without colours, as when NO_COLOR is set or the output is no terminal
    #[arg(long)]
    pub no_color: bool,

    /// Where to ask.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// `pointsman which`.
#[derive(Args, Clone, Debug)]
pub struct WhichArgs {
    /// Id of the session, such as ses_e021c7fa2ffe8VGOoFNM8lM5q9
    #[arg(value_name = "SESSION")]
    pub session: String,

    /// Where to ask.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `pointsman open`.
#[derive(Args, Clone, Debug)]
pub struct OpenArgs {
    /// Id of the session to show
    #[arg(value_name = "SESSION")]
    pub session: Option<String>,

    /// Print the address of the page and open nothing
    #[arg(long)]
    pub print: bool,

    /// Where to ask.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

/// `pointsman attach`.
#[derive(Args, Clone, Debug)]
pub struct AttachArgs {
    /// Id of the session to show
    #[arg(value_name = "SESSION")]
    pub session: Option<String>,

    /// Directory to work in [default: the session's own]
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,

    /// The opencode program [default: the one on PATH]
    #[arg(long, value_name = "PATH")]
    pub opencode: Option<PathBuf>,

    /// Where to ask.
    #[command(flatten)]
    pub daemon: DaemonArgs,
}

impl DaemonArgs {
    /// The URL to ask: the one named, else the one the daemon of the state directory has announced, else the usual
    /// one. Without a `/` at its end.
    pub fn daemon_url(&self, environment: &Environment) -> String {
        let announced = || {
            let named = environment.get("POINTSMAN_STATE_DIR").map(PathBuf::from);
            let state_dir = named.or_else(|| environment.default_state_dir())?;
            crate::state_dir::announced(&state_dir).map(|daemon| daemon.url)
        };
        let url = self.url.clone().or_else(announced).unwrap_or_else(|| USUAL_URL.to_owned());
        url.trim_end_matches('/').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, error::ErrorKind};

    use super::*;
    use crate::state_dir::StateDir;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn version_prints_name_and_version() {
        let printed = parse("pointsman --version").unwrap_err();
        assert_eq!(printed.kind(), ErrorKind::DisplayVersion);
        assert_eq!(printed.to_string(), format!("pointsman {}\n", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn serve_takes_servers_again_and_again() {
        let cli = parse("pointsman serve --no-scan --server http://a:1 --server http://b:2").unwrap();
        let Command::Serve(flags) = cli.command else { panic!("{cli:?}") };
        assert!(flags.no_scan);
        assert_eq!(flags.server, ["http://a:1", "http://b:2"]);
    }

    #[test]
    fn unknown_flags_are_usage_errors() {
        for line in
            ["pointsman serve --lisen x", "pointsman which", "pointsman sessions --limit 0", "pointsman fly"]
        {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn a_token_is_in_neither_help_nor_debug_output() {
        let cli = parse("pointsman which ses_1 --token hunter2").unwrap();
        assert!(!format!("{cli:?}").contains("hunter2"));
        let cli = parse("pointsman serve --token hunter2").unwrap();
        assert!(!format!("{cli:?}").contains("hunter2"));
    }

    #[test]
    fn the_daemon_is_found_by_name_then_by_state_directory_then_at_its_usual_place() {
        let home = tempfile::tempdir().unwrap();
        let environment = Environment::in_home(home.path());
        let mut client = DaemonArgs { url: None, token: None };
        assert_eq!(client.daemon_url(&environment), USUAL_URL);
        let state = StateDir::open(&environment.default_state_dir().unwrap()).unwrap();
        state.announce("http://127.0.0.1:5").unwrap();
        assert_eq!(client.daemon_url(&environment), "http://127.0.0.1:5");
        let elsewhere = environment.with("POINTSMAN_STATE_DIR", home.path().join("none").as_os_str());
        assert_eq!(client.daemon_url(&elsewhere), USUAL_URL);
        client.url = Some("http://127.0.0.1:6/".to_owned());
        assert_eq!(client.daemon_url(&elsewhere), "http://127.0.0.1:6");
    }
}
