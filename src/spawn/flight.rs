//! One flight: from a directory without a server to one that is looked after until its end.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{sync::watch, time::timeout};

use super::{
    Inner, Outcome, SpawnError, launch,
    log::Log,
    process::Spawned,
    records::Record,
    supervision::{self, Charge},
    take_over::{answer, take_in},
};
use crate::{
    clock,
    config::{Secret, Spawn},
    registry::server::Server,
};

/// How many of the last lines it wrote are told, and how much of them.
const LINES: usize = 8;
const TAIL: usize = 2000;

/// Starts a server in `directory`, tells `land` what came of it, and looks after it until it ends.
pub(super) async fn fly(
    inner: Arc<Inner>,
    settings: Spawn,
    directory: PathBuf,
    land: watch::Sender<Option<Outcome>>,
) {
    match start(&inner, &settings, &directory).await {
        Ok((charge, server)) => {
            tracing::info!(server = %server.id, directory = %directory.display(), "server started");
            inner.tally.started();
            inner.book.lock().answered(&directory);
            land.send_replace(Some(Ok(server)));
            supervision::look_after(&inner, charge).await;
        }
        Err(error) => {
            inner.tally.failed();
            let error = inner.book.lock().failed(&directory, error, clock::since_start());
            tracing::warn!(%error, "no server started");
            land.send_replace(Some(Err(error)));
        }
    }
}

/// What only this server is known by.
struct Ticket {
    port: u16,
    password: Secret,
}

async fn start(
    inner: &Arc<Inner>,
    settings: &Spawn,
    directory: &Path,
) -> Result<(Charge, Arc<Server>), SpawnError> {
    let failed = |why: String| failure(directory, why, String::new());
    let port = launch::free_port().map_err(|error| failed(format!("there is no free port ({error})")))?;
    let ticket = Ticket { port, password: launch::draw_password() };
    let log = Log::of(port, &inner.parts.shelf);
    let mut spawned = launched(inner, settings, directory, &ticket).map_err(failed)?;
    let pid = spawned.pid();
    let answered = timeout(settings.wait, answer(inner, pid, port, &ticket.password));
    let why = tokio::select! {
        answered = answered => match answered {
            Ok(found) => match take_in(inner, &mut spawned, directory, port, found).await {
                Some(server) => {
                    let charge = Charge::new(spawned, &server, port, directory);
                    return Ok((charge, server));
                }
                None => "pointsman is stopping".to_owned(),
            },
            Err(_) => format!(
                "it did not answer within {} s; if it needs longer, raise wait in [spawn] of the configuration",
                settings.wait.as_secs()
            ),
        },
        how = ended(inner, &mut spawned) => how,
        () = log.stay_small() => String::new(),
    };
    let tail = last_lines(&log.tail(), ticket.password.expose());
    spawned.end().await;
    tidy(inner, port);
    Err(failure(directory, why, tail))
}

/// The process, written down before it begins.
fn launched(inner: &Inner, settings: &Spawn, directory: &Path, ticket: &Ticket) -> Result<Spawned, String> {
    let machine = Arc::clone(&inner.parts.machine);
    let Ticket { port, password } = ticket;
    let record = Record {
        boot: machine.boot_id().to_owned(),
        port: *port,
        directory: directory.to_owned(),
        password: password.expose().to_owned(),
        process: None,
    };
    let log = inner.records.add(record).and_then(|()| Log::of(*port, &inner.parts.shelf).begin());
    let log = log.map_err(|error| format!("the state directory cannot be written ({error})"))?;
    let child = launch::start(&settings.command, directory, *port, password, log).map_err(|error| {
        tidy(inner, *port);
        unstartable(&settings.command, &error)
    })?;
    let process = child.id().and_then(|pid| machine.process(pid));
    let process = process.map(|process| (process.pid, process.started));
    if let Some(process) = process {
        inner.records.runs(*port, process);
    }
    Ok(Spawned::new(machine, Some(child), process))
}

/// Waits until it has ended, or is to end.
async fn ended(inner: &Inner, spawned: &mut Spawned) -> String {
    tokio::select! {
        how = spawned.end_of_it() => format!("it ended at once ({how})"),
        () = inner.stop.cancelled() => "pointsman is stopping".to_owned(),
    }
}

/// Nothing is left of it.
pub(super) fn tidy(inner: &Inner, port: u16) {
    inner.records.remove(port);
    Log::of(port, &inner.parts.shelf).remove();
}

fn failure(directory: &Path, why: String, tail: String) -> SpawnError {
    SpawnError::Failed { directory: directory.display().to_string(), why, tail, again_s: 0 }
}

fn unstartable(command: &Path, error: &io::Error) -> String {
    let name = command.display();
    match error.kind() {
        io::ErrorKind::NotFound if command.components().count() == 1 => {
            format!(
                "there is no {name} on the daemon's PATH; install it, or set command in [spawn] of the configuration"
            )
        }
        _ => format!("{name} cannot be run ({error}); set command in [spawn] of the configuration"),
    }
}

/// What it wrote last, in one line, and without the password if it wrote that.
fn last_lines(text: &str, password: &str) -> String {
    let text = text.replace(password, "[hidden]");
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(LINES)..].join(" | ");
    let plain: String = last.chars().filter(|character| !character.is_control()).collect();
    let surplus = plain.chars().count().saturating_sub(TAIL);
    plain.chars().skip(surplus).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_told_in_one_and_never_the_password() {
        let text = (0..20).map(|n| format!("line {n} hunter2\n")).collect::<Vec<_>>().join("\n");
        let told = last_lines(&text, "hunter2");
        assert!(
            told.starts_with("line 12 [hidden] | line 13") && told.ends_with("line 19 [hidden]"),
            "{told}"
        );
        assert_eq!(last_lines("", "x"), "");
        assert_eq!(last_lines(&"ü".repeat(3000), "x").chars().count(), TAIL);
    }
}
