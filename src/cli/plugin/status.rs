//! `pointsman plugin status`: what is installed, and which running terminals have it.

use serde_json::Value;

use super::{StatusArgs, installation, installation::Found, state_dir};
use crate::{
    api::wire::{ServerState, ServerView},
    cli::{
        DaemonArgs,
        client::{CliError, Client, print},
    },
    config::Environment,
    domain::kind::Kind,
    state_dir::announced,
};

/// Prints both. A daemon that does not run is told of, and no error: the plugin waits for it as well.
pub(super) async fn run(args: &StatusArgs, environment: &Environment) -> Result<(), CliError> {
    let found = installation(&args.place, environment)?.find()?;
    let named = match (&args.state_dir, &found) {
        (None, Some(found)) => found.state_dir.clone(),
        (named, _) => state_dir(named.as_ref(), environment)?,
    };
    let url = args.daemon.url.clone().or_else(|| announced(&named).map(|daemon| daemon.url));
    let running = match url {
        Some(url) => ask(&DaemonArgs { url: Some(url), token: args.daemon.token.clone() }, environment).await,
        None => Err(format!("no pointsman uses {}", named.display())),
    };
    print(&format!("{}\n\n{}", installed(found.as_ref()), terminals(&running)))
}

async fn ask(daemon: &DaemonArgs, environment: &Environment) -> Result<Vec<ServerView>, String> {
    let asked = async {
        let client = Client::new(daemon, environment)?;
        let answer: Value =
            client.get(&["servers"], &[("unreachable", "true"), ("sessions", "false")]).await?;
        client.read(&answer)
    };
    asked.await.map_err(|error: CliError| error.to_string())
}

fn installed(found: Option<&Found>) -> String {
    let Some(Found { config, state_dir, files, current, runs }) = found else {
        return "The plugin is not installed. Run `pointsman plugin install`.".to_owned();
    };
    let version = if *current {
        format!("that of this pointsman, {}", env!("CARGO_PKG_VERSION"))
    } else {
        "not that of this pointsman: run `pointsman plugin install` again".to_owned()
    };
    let runs = runs.as_ref().map_or_else(
        || "not made known; `pointsman plugin install --runs` does it".to_owned(),
        |entry| format!("made known by {}", entry.display()),
    );
    format!(
        "The plugin is installed.\n  configuration  {}\n  files          {}\n  version        {version}\n  \
         state          {}\n  runs           {runs}",
        config.display(),
        files.display(),
        state_dir.display(),
    )
}

fn terminals(running: &Result<Vec<ServerView>, String>) -> String {
    let servers = match running {
        Ok(servers) => servers,
        Err(why) => return format!("Which terminals have it cannot be told: {why}."),
    };
    let lines: Vec<String> = servers.iter().filter(|server| server.kind == Kind::Tui).map(terminal).collect();
    if lines.is_empty() {
        return "No terminal runs.".to_owned();
    }
    format!("Terminals that run:\n{}", lines.join("\n"))
}

fn terminal(server: &ServerView) -> String {
    let pid = server.pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
    let has_it = server.sources.iter().any(|source| source == "registration");
    let what = match server.state {
        _ if has_it => "has it",
        ServerState::Unreachable => "does not have it: start it again",
        _ => "does not have it, and is reached by its port",
    };
    format!("  pid {pid:<8} {what}  {}", server.directory.as_deref().unwrap_or_default())
}
