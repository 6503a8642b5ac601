//! `pointsman events`: what happens in all servers, as it happens.
//!
//! The stream is `/events`. It is opened again for as long as it takes, from where it was cut.

mod gist;
mod line;
mod names;
mod stream;
mod tail;
mod texts;

use std::{
    io::{self, Write},
    time::Duration,
};

use rand::Rng as _;

use self::{
    stream::{Event, Stream},
    tail::Tail,
};
use super::{
    EventsArgs,
    client::{CliError, Client},
    sessions::whole,
};
use crate::config::Environment;

/// How long the first try to come back waits; a daemon that is restarted is there again in less.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// How long any waits. Somebody watches.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Prints events until it is interrupted, or until nobody reads what it prints.
pub async fn run(args: &EventsArgs, environment: &Environment) -> Result<(), CliError> {
    let client = Client::new(&args.daemon, environment)?;
    tokio::select! {
        ended = follow(&client, args) => ended,
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(CliError::Output),
    }
}

/// For whom the events are printed.
enum Reader {
    Program,
    Person(Box<Tail>),
}

impl Reader {
    /// What of an event is printed.
    async fn told(&mut self, event: &Event, client: &Client) -> Vec<String> {
        match self {
            Self::Program if event.kind() == "server.heartbeat" => Vec::new(),
            Self::Program => vec![event.text.clone()],
            Self::Person(tail) => tail.told(event, client).await,
        }
    }
}

async fn follow(client: &Client, args: &EventsArgs) -> Result<(), CliError> {
    let query = query(args);
    let mut reader =
        if args.json { Reader::Program } else { Reader::Person(Box::new(Tail::new(!args.no_color))) };
    let mut cursor: Option<String> = None;
    let mut stream = Stream::open(client, &query, None).await?;
    if let Reader::Person(tail) = &mut reader {
        tail.learn(client).await;
    }
    loop {
        while let Some(event) = stream.next().await {
            if let Some(id) = &event.id {
                cursor = Some(id.clone());
            }
            for line in reader.told(&event, client).await {
                if !print(&line)? {
                    return Ok(());
                }
            }
        }
        note(&format!("{} is silent or has cut the stream; trying again", client.url()));
        stream = again(client, &query, cursor.as_deref()).await?;
        note(&format!("connected again: {}", stream.resumption().await));
    }
}

/// The stream from where it was cut, as soon as it can be had.
async fn again(client: &Client, query: &[(&str, String)], cursor: Option<&str>) -> Result<Stream, CliError> {
    let mut attempt: u32 = 0;
    loop {
        tokio::time::sleep(wait(attempt, rand::rng().random_range(0.5..1.0))).await;
        match Stream::open(client, query, cursor).await {
            Ok(stream) => return Ok(stream),
            // Waiting changes nothing about these.
            Err(error @ (CliError::Refused { .. } | CliError::TokenWanted { .. })) => return Err(error),
            Err(_) => attempt = attempt.saturating_add(1),
        }
    }
}

/// How long the `attempt`th try waits, of which it takes a `share`: not all clients of a daemon come back at once.
fn wait(attempt: u32, share: f64) -> Duration {
    FIRST_WAIT.saturating_mul(2_u32.saturating_pow(attempt)).min(LONGEST_WAIT).mul_f64(share)
}

/// What is asked of `/events`. Who names something wants to see that alone.
fn query(args: &EventsArgs) -> Vec<(&'static str, String)> {
    let mut query = Vec::new();
    let directories: Vec<String> = args.directory.iter().map(|directory| whole(directory)).collect();
    for (key, values) in [
        ("session", &args.session),
        ("directory", &directories),
        ("server", &args.server),
        ("type", &args.kind),
    ] {
        query.extend(values.iter().map(|value| (key, value.clone())));
    }
    if !query.is_empty() {
        query.push(("lifecycle", "false".to_owned()));
    }
    query
}

/// Prints a line at once; false if nobody reads any more.
fn print(line: &str) -> Result<bool, CliError> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CliError::Output(error)),
    }
}

/// Says something beside the events.
fn note(sentence: &str) {
    // Without anybody to tell, the events still go where they went.
    let _ = writeln!(io::stderr(), "pointsman: {sentence}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_try_waits_longer_up_to_a_bound() {
        let waits: Vec<u128> = [0, 1, 4, 5, 40].map(|attempt| wait(attempt, 1.0).as_millis()).into();
        assert_eq!(waits, [250, 500, 4000, 5000, 5000]);
        assert_eq!(wait(0, 0.5).as_millis(), 125);
    }
}
