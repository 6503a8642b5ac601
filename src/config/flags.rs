//! The flags of `pointsman serve`, as written.
//!
//! Every value is plain text here: what it means is decided in one place for flags, environment and file alike.

#![expect(clippy::doc_markdown, reason = "these comments are printed as help, where backticks are noise")]

use std::path::PathBuf;

use clap::Args;

use super::Secret;

/// What `pointsman serve` was told on the command line. A flag wins over the environment, the environment over the
/// file.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeArgs {
    /// Address and port to answer on [default: 127.0.0.1:4747]
    ///
    /// Port 0 takes a free one, which is printed. An address other machines can reach needs a token.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,

    /// Serve everything under this path too, such as /oc, for a proxy in front
    #[arg(long, value_name = "PATH")]
    pub base_path: Option<String>,

    /// Configuration file, which must exist [default: pointsman/pointsman.toml in the user's configuration directory,
    /// if there is one]
    ///
    /// Also POINTSMAN_CONFIG.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Directory for what must survive a restart [default: pointsman in the user's state directory]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// A server to use whether or not it is found by itself, as http://host:port; may be repeated
    ///
    /// Replaces the servers the file lists.
    #[arg(long, value_name = "URL")]
    pub server: Vec<String>,

    /// Local ports to look for servers on, such as 4096-4200
    #[arg(long, value_name = "FIRST-LAST")]
    pub ports: Option<String>,

    /// Do not look for servers among this machine's listening sockets
    #[arg(long)]
    pub no_scan: bool,

    /// What clients must present as password or bearer token
    ///
    /// Other users of the machine can read command lines: POINTSMAN_TOKEN is the better place.
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<Secret>,

    /// A further origin of web pages that may use it, as https://host; may be repeated
    ///
    /// Replaces the origins the file lists.
    #[arg(long, value_name = "ORIGIN")]
    pub cors: Vec<String>,

    /// What to log, as filter directives such as info or pointsman::discovery=debug [default: info]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
}
