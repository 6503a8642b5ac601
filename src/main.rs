//! The `pointsman` command: parse, load, start, wait, exit.

use std::{io::IsTerminal, process::ExitCode};

use clap::Parser;
use pointsman::{
    app::App,
    cli::{Cli, Command, attach, events, open, plugin, servers, sessions, spawn, which},
    config::{Config, Environment, ServeArgs},
};
use tracing_subscriber::EnvFilter;

/// The exit code for what the person at the keyboard can mend: a flag, a file, a port in use.
const USAGE: u8 = 2;

/// Libraries that tell at `info` what only their developers want to know. Named again in the configured directives
/// they speak as usual.
const QUIET: &str = "fjall=warn,lsm_tree=warn";

#[tokio::main]
async fn main() -> ExitCode {
    let command = Cli::parse().command;
    let environment = Environment::of_process();
    let outcome = match &command {
        Command::Serve(flags) => return serve(flags, &environment).await,
        Command::Servers(args) => servers::run(args, &environment).await,
        Command::Sessions(args) => sessions::run(args, &environment).await,
        Command::Events(args) => events::run(args, &environment).await,
        Command::Which(args) => which::run(args, &environment).await,
        Command::Open(args) => open::run(args, &environment).await,
        Command::Attach(args) => attach::run(args, &environment).await,
        Command::Spawn(args) => spawn::run(args, &environment).await,
        Command::Plugin(command) => plugin::run(command, &environment).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pointsman: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

async fn serve(flags: &ServeArgs, environment: &Environment) -> ExitCode {
    let config = match Config::load(flags, environment) {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(EnvFilter::new(format!("{QUIET},{}", config.log)))
        .init();
    let app = match App::start(config) {
        Ok(app) => app,
        Err(error) => return refuse(&error),
    };
    // Scripts read this line to learn the port.
    println!("pointsman listening on {}", app.url());
    app.run(told_to_stop()).await;
    ExitCode::SUCCESS
}

fn refuse(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("pointsman: {error}");
    ExitCode::from(USAGE)
}

/// Waits until somebody interrupts or ends us.
async fn told_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                tokio::select! {
                    _ = tokio::signal::ctrl_c() => {}
                    _ = terminate.recv() => {}
                }
            }
            Err(error) => {
                tracing::warn!(%error, "only an interrupt will stop this process in order");
                let _ = tokio::signal::ctrl_c().await;
            }
        }
    }
    #[cfg(not(unix))]
    let _ = tokio::signal::ctrl_c().await;
}
