//! What exists and what is held, counted when somebody asks.

use std::{
    collections::HashSet,
    sync::{Arc, OnceLock, Weak},
};

use super::{intake::Backlog, keeping, spawning::Spawning};
use crate::{
    domain::ids::StoreKey,
    events::{hub::Hub, journal::Journal, log::Limits},
    front::dispatch::Dispatch,
    guard::Tickets,
    metrics::{Bounds, CatalogueCensus, Census, Held, JournalCensus},
    proxy::catalogue::{Catalogue, MOST_KEPT},
    registration::Desk,
    registry::{Registry, server::State},
};

/// Where there is something to count.
pub(super) struct Counting {
    registry: Arc<Registry>,
    hubs: [Hub; 2],
    catalogue: Catalogue,
    spawning: Spawning,
    tickets: Arc<Tickets>,
    pub(super) backlog: Backlog,
    pub(super) late: Arc<Late>,
}

/// What comes to be after the metrics, and holds them.
#[derive(Default)]
pub(super) struct Late {
    dispatch: OnceLock<Weak<Dispatch>>,
    desk: OnceLock<Desk>,
}

impl Late {
    /// To be called once.
    pub(super) fn set(&self, dispatch: &Arc<Dispatch>, desk: &Desk) {
        let _ = self.dispatch.set(Arc::downgrade(dispatch));
        let _ = self.desk.set(desk.clone());
    }
}

impl Counting {
    pub(super) fn new(
        registry: &Arc<Registry>,
        hubs: &[Hub; 2],
        catalogue: &Catalogue,
        spawning: &Spawning,
        tickets: &Arc<Tickets>,
    ) -> Self {
        Self {
            registry: Arc::clone(registry),
            hubs: hubs.clone(),
            catalogue: catalogue.clone(),
            spawning: spawning.clone(),
            tickets: Arc::clone(tickets),
            backlog: Backlog::default(),
            late: Arc::default(),
        }
    }

    pub(super) fn census(&self) -> Census {
        let read = self.catalogue.counted();
        let registry = &self.registry;
        let servers = registry.servers.now();
        let count = |state| servers.iter().filter(|server| server.state == state).count() as u64;
        let stores: HashSet<StoreKey> = servers.iter().map(|server| server.store).collect();
        let [log, log_limit] = self.logs();
        Census {
            up: count(State::Up),
            stalled: count(State::Stalled),
            locked: count(State::Locked),
            sessions: registry.sessions.len() as u64,
            claims_left_out: registry.kept_status().left_out,
            stores: stores.len() as u64,
            subscribers: self.hubs.iter().map(Hub::subscribers).sum::<usize>() as u64,
            bounds: self.bounds(),
            catalogue: CatalogueCensus {
                hits: read.hits,
                misses: read.misses,
                shared: read.shared,
                unchanged: read.unchanged,
                saved_bytes: read.saved_bytes,
                drops: read.drops,
                kept_bytes: read.kept_bytes,
                limit_bytes: MOST_KEPT,
            },
            journal: JournalCensus {
                log_bytes: log.0,
                log_limit_bytes: log_limit.0,
                ..keeping::census(&self.hubs[0])
            },
            spawned: self.spawning.census(),
        }
    }

    fn bounds(&self) -> Bounds {
        let registry = &self.registry;
        let kept = registry.kept_status();
        let journal = self.hubs[0].journal().map(Journal::status).unwrap_or_default();
        let dispatch = self.late.dispatch.get().and_then(Weak::upgrade);
        let (directories, flows, most) =
            dispatch.map(|dispatch| dispatch.router.chosen()).unwrap_or_default();
        let [log, log_limit] = self.logs();
        Bounds {
            titles: registry.sessions.titles().into(),
            claims_waiting: (kept.waiting, kept.limit).into(),
            asked: registry.asked.held().into(),
            deleted: registry.graves.held().into(),
            erased: journal.erased.into(),
            unseen: registry.unseen.held().into(),
            numbered: self.backlog.numbers.held().into(),
            repairs_waiting: self.backlog.in_hand.held().into(),
            log_events: (log.1, log_limit.1).into(),
            registrations: self.late.desk.get().map(Desk::held).unwrap_or_default().into(),
            directories: (directories, most).into(),
            flows: (flows, most).into(),
            tickets: Held::from(self.tickets.held()),
        }
    }

    /// The bytes and the events of both logs, and how many there may be.
    fn logs(&self) -> [(u64, usize); 2] {
        let held = self.hubs.each_ref().map(Hub::held);
        let sum = |limits: [Limits; 2]| {
            let bytes = limits.iter().map(|limits| limits.bytes as u64).sum();
            (bytes, limits.iter().map(|limits| limits.events).sum())
        };
        [sum(held.map(|(is, _)| is)), sum(held.map(|(_, most)| most))]
    }
}
