//! `pointsman spawn`: a server started by hand, by the daemon.

use std::{
    path::{PathBuf, absolute},
    time::Duration,
};

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    DaemonArgs,
    client::{CliError, Client, print, print_json},
};
use crate::{
    api::wire::{Proof, SpawnedServer},
    config::{Environment, Secret},
    registration::{challenge, notice},
};

/// How long a start may take: longer than the daemon waits for it at most.
const START: Duration = Duration::from_mins(6);

/// `pointsman spawn`.
#[derive(Args, Clone, Debug)]
pub struct SpawnArgs {
    /// Where the server is to work
    #[arg(value_name = "DIRECTORY")]
    pub directory: PathBuf,

    /// State directory of the daemon, as given to `pointsman serve` [default: its own default]
    #[arg(long, env = "POINTSMAN_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Print JSON instead of a line
    #[arg(long)]
    pub json: bool,
}

/// What stands in `registration.json`.
#[derive(Deserialize)]
struct Notice {
    url: String,
    secret: Secret,
}

/// Has the daemon of the state directory start a server, and prints its id and address.
pub async fn run(args: &SpawnArgs, environment: &Environment) -> Result<(), CliError> {
    let state_dir = args.state_dir.clone().or_else(|| environment.default_state_dir());
    let Some(Notice { url, secret }) = state_dir.as_deref().and_then(read) else {
        let place =
            state_dir.map_or_else(|| "the state directory".to_owned(), |path| path.display().to_string());
        return Err(CliError::NoNotice { place });
    };
    let client = Client::new(&DaemonArgs { url: Some(url.clone()), token: None }, environment)?;
    prove(&client, &url, &secret).await?;
    let directory = absolute(&args.directory).unwrap_or_else(|_| args.directory.clone());
    let body = json!({ "directory": directory });
    let answer = client.post(&["servers", "spawn"], &body, Some(&secret), START).await?;
    if args.json {
        return print_json(&answer);
    }
    let SpawnedServer { id, url, directory, .. } = client.read(&answer)?;
    print(&format!("{id}  {url}  {directory}"))
}

fn read(state_dir: &std::path::Path) -> Option<Notice> {
    serde_json::from_slice(&std::fs::read(state_dir.join(notice::FILE)).ok()?).ok()
}

/// Whoever holds the port of a daemon that has ended is not told its secret.
async fn prove(client: &Client, url: &str, secret: &Secret) -> Result<(), CliError> {
    let nonce = format!("{:032x}", rand::random::<u128>());
    let answer: Value =
        client.post(&["servers", "challenge"], &json!({ "nonce": nonce }), None, START).await?;
    let Proof { proof, .. } = client.read(&answer)?;
    if challenge::proof(secret, &nonce, url) == Some(proof) {
        Ok(())
    } else {
        Err(CliError::Unproven { url: url.to_owned() })
    }
}
