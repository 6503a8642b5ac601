//! Looking after a server that was started, until it ends or is ended.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{
    Inner,
    flight::tidy,
    idleness::{Verdict, judge},
    log::Log,
    process::Spawned,
};
use crate::{
    domain::ids::ServerKey,
    registry::{server::Server, usage::Usage},
};

/// How often it is looked whether it lives and is used.
const LOOK: Duration = Duration::from_millis(500);

/// How soon it is looked again whether a last request has ended.
const LAST: Duration = Duration::from_millis(50);

/// A server to be looked after.
pub(super) struct Charge {
    spawned: Spawned,
    server: ServerKey,
    usage: Option<Arc<Usage>>,
    port: u16,
    directory: PathBuf,
}

impl Charge {
    pub(super) fn new(spawned: Spawned, server: &Server, port: u16, directory: &Path) -> Self {
        Self {
            spawned,
            server: server.key,
            usage: server.usage.clone(),
            port,
            directory: directory.to_owned(),
        }
    }
}

enum End {
    ByItself(String),
    Idle,
    Stop,
}

/// Returns once it has ended.
pub(super) async fn look_after(inner: &Inner, mut charge: Charge) {
    let log = Log::of(charge.port, &inner.parts.shelf);
    let end = tokio::select! {
        end = end_of(inner, &mut charge) => end,
        () = log.stay_small() => End::Stop,
    };
    let Charge { spawned, server, usage, port, directory } = charge;
    match end {
        End::ByItself(how) => {
            tracing::warn!(directory = %directory.display(), how, "a started server has ended by itself");
            inner.book.lock().gone(&directory);
        }
        End::Idle => {
            tracing::info!(directory = %directory.display(), "a started server is ended, for nobody uses it");
            inner.book.lock().ending(&directory);
            inner.parts.door.dismiss(server).await;
            // A request that was on its way when it was decided.
            while usage.as_ref().is_some_and(|usage| usage.open() > 0) && !inner.stop.is_cancelled() {
                sleep(LAST).await;
            }
            spawned.end().await;
            inner.tally.idle();
            inner.book.lock().ended();
        }
        End::Stop => {
            spawned.end().await;
            inner.book.lock().gone(&directory);
        }
    }
    tidy(inner, port);
}

async fn end_of(inner: &Inner, charge: &mut Charge) -> End {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = inner.stop.cancelled() => return End::Stop,
            _ = look.tick() => {}
        }
        if let Some(how) = charge.spawned.ended() {
            return End::ByItself(how);
        }
        if is_idle(inner, charge) {
            return End::Idle;
        }
    }
}

fn is_idle(inner: &Inner, charge: &Charge) -> bool {
    let (Some(settings), Some(usage)) = (&inner.parts.settings, &charge.usage) else { return false };
    let in_use = || {
        let registry = &inner.parts.registry;
        let Some(server) = registry.servers.get(charge.server) else { return false };
        !registry.sessions.busy_on(server.key).is_empty() || (inner.parts.listened)(&server)
    };
    match judge(usage.unused(), settings.idle, in_use) {
        Verdict::Stays => false,
        Verdict::InUse => {
            usage.touch();
            false
        }
        Verdict::Ends => true,
    }
}
