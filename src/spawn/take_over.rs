//! Making a server of a process that was started: by this run, or by an earlier one that was killed.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    Inner,
    book::Verdict,
    flight::tidy,
    launch::USER,
    process::Spawned,
    records::Record,
    supervision::{self, Charge},
};
use crate::{
    config::Secret,
    discovery::Registrant,
    domain::kind::Kind,
    machine::{Machine, Process, SocketId},
    opencode::wire::Health,
    registry::{
        server::{Credentials, Server, Source},
        usage::Usage,
    },
};

/// How soon it is looked again. Nobody waits longer for a server than this and its own start.
const AGAIN: Duration = Duration::from_millis(50);

/// How long a first question is waited for; each that follows twice as long. One that meets a server in the instant in
/// which it begins to listen is never answered.
const QUESTION: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(5);

/// How long a server of an earlier run has to answer before it is ended.
const PATIENCE: Duration = Duration::from_secs(3);

/// What answered, and whose it is.
pub(super) struct Found {
    health: Health,
    credentials: Credentials,
    process: Option<Process>,
    socket: Option<SocketId>,
}

/// Waits until the server on `port` answers to its password. Nothing is asked before the machine shows that it is a
/// process of our user that listens there: anybody else would be told the password.
pub(super) async fn answer(inner: &Inner, pid: Option<u32>, port: u16, password: &Secret) -> Found {
    let address = address(port);
    let credentials = Credentials::basic(USER, password.expose());
    let mut patience = QUESTION;
    loop {
        if let Some((process, socket)) = listens(&inner.parts.machine, pid, address).await {
            let agent = inner.parts.client.at(&format!("http://{address}"), Some(credentials.header()));
            match timeout(patience, agent.health()).await {
                Ok(Ok(health)) => return Found { health, credentials, process, socket: Some(socket) },
                Ok(Err(error)) => tracing::debug!(%address, %error, "no answer yet"),
                Err(_) => patience = (patience * 2).min(LONGEST),
            }
        }
        sleep(AGAIN).await;
    }
}

/// Has discovery take the server in. `None` if discovery has ended.
pub(super) async fn take_in(
    inner: &Inner,
    spawned: &mut Spawned,
    directory: &Path,
    port: u16,
    found: Found,
) -> Option<Arc<Server>> {
    let Found { health, credentials, process, socket } = found;
    if let Some(process) = &process {
        let process = (process.pid, process.started);
        spawned.add(process);
        // Where a script started the program: the program is what counts.
        inner.records.runs(port, process);
    }
    let registrant = Registrant {
        address: address(port).into(),
        credentials: Some(credentials),
        health: Some(health),
        kind: Kind::Serve,
        process,
        socket,
        directory: directory.to_str().map(Arc::from),
        worktree: None,
        plugin: false,
        reports_screen: false,
        source: Source::Spawned,
        usage: Some(Usage::new()),
    };
    inner.parts.door.register(registrant).await
}

/// Takes over what an earlier run left, where the configuration still allows it, and ends the rest. Those that are taken
/// over are so on return.
pub(super) async fn all(inner: &Arc<Inner>) {
    let mut coming = JoinSet::new();
    for record in inner.records.all() {
        coming.spawn(one(Arc::clone(inner), record));
    }
    while coming.join_next().await.is_some() {}
}

async fn one(inner: Arc<Inner>, record: Record) {
    let machine = &inner.parts.machine;
    let Some(process) = left_behind(machine, &record).await else {
        return tidy(&inner, record.port);
    };
    let known = Some((process.pid, process.started));
    let mut spawned = Spawned::new(Arc::clone(machine), None, known);
    let allowed = match record.directory.to_str() {
        Some(directory) if inner.parts.settings.is_some() => inner.allowance.admit(directory).await.ok(),
        _ => None,
    };
    let (land, landing) = watch::channel(None);
    let fits = allowed.as_ref() == Some(&record.directory)
        && matches!(inner.book.lock().begin(&record.directory, landing), Verdict::Begin);
    if fits {
        let password = Secret::from(record.password.as_str());
        let answered = timeout(PATIENCE, answer(&inner, Some(process.pid), record.port, &password));
        if let Ok(found) = answered.await
            && let Some(server) = take_in(&inner, &mut spawned, &record.directory, record.port, found).await
        {
            tracing::info!(server = %server.id, directory = %record.directory.display(), "took over a server");
            inner.tally.taken_over();
            land.send_replace(Some(Ok(Arc::clone(&server))));
            let charge = Charge::new(spawned, &server, record.port, &record.directory);
            let looking_after = Arc::clone(&inner);
            let task = async move { supervision::look_after(&looking_after, charge).await };
            inner.tasks.spawn_on(task, &inner.runtime);
            return;
        }
        inner.book.lock().gone(&record.directory);
    }
    tracing::info!(pid = process.pid, directory = %record.directory.display(), "ending a server of an earlier run");
    spawned.end().await;
    tidy(&inner, record.port);
}

/// The process of `record`, if it still runs: by its number, else by its port, for the daemon may have been killed before
/// it knew the number.
async fn left_behind(machine: &Arc<dyn Machine>, record: &Record) -> Option<Process> {
    if record.boot != machine.boot_id() {
        return None;
    }
    let (machine, record) = (Arc::clone(machine), record.clone());
    let look = move || {
        let by_number = record
            .process
            .and_then(|(pid, started)| machine.process(pid).filter(|process| process.started == started));
        let is_it = |process: &Process| {
            let asked = process.invocation();
            asked.kind == Kind::Serve
                && asked.port == Some(record.port)
                && process.cwd.as_ref() == Some(&record.directory)
        };
        by_number.or_else(|| machine.agents().into_iter().find(is_it))
    };
    tokio::task::spawn_blocking(look).await.ok().flatten()
}

/// Who listens on `address`, if that is a process of our user: `pid`, or an agent that it started.
async fn listens(
    machine: &Arc<dyn Machine>,
    pid: Option<u32>,
    address: SocketAddr,
) -> Option<(Option<Process>, SocketId)> {
    let machine = Arc::clone(machine);
    let look = move || {
        // Looked at first: what begins to listen between the two looks would not be known to be this process.
        let listeners = machine.listeners();
        if let Some(pid) = pid
            && let Some(socket) = machine.listens(pid, address)
        {
            return Some((machine.process(pid), socket));
        }
        let there = listeners.ok()?.into_iter().find(|listener| listener.address == address)?;
        let ours = !there.is_foreign(machine.uid());
        ours.then(|| (machine.owner(there.socket), there.socket))
    };
    tokio::task::spawn_blocking(look).await.ok().flatten()
}

fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
