//! What happened while we did not run.
//!
//! Clients that come back show what an earlier run told; that is taken out of the journal. Each server that is met is
//! then asked what changed since, as after a cut of its stream. What went on at servers that are there no more has ended.

use std::{collections::HashSet, sync::Arc};

use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::intake::Intake;
use crate::{
    domain::{
        ask::{Ask, AskKind, Interface},
        ids::SessionId,
    },
    events::{log::Event, own},
    registry::{
        Crier, News,
        asked::Orphan,
        server::{ServerId, State},
    },
};

impl Intake {
    /// Tells what happened meanwhile, and then that this was all. `discovered` is true once all servers are known that
    /// were there.
    pub(super) async fn make_up(self, mut discovered: watch::Receiver<bool>, stop: CancellationToken) {
        let made_up = async {
            if discovered.wait_for(|discovered| *discovered).await.is_err() {
                return;
            }
            self.end_what_nobody_goes_on_with();
            self.all_asked().await;
            self.gaps.made_up();
            self.hub.complete();
            self.hub.announce(own::complete());
            tracing::info!("what happened while pointsman was away has been told");
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = made_up => {}
        }
    }

    /// Until every server that was there has been asked, or has gone.
    async fn all_asked(&self) {
        let there: Vec<_> = self.registry.servers.now().iter().map(|server| server.key).collect();
        let mut changes = self.registry.servers.changes();
        loop {
            let settled = self.gaps.settled();
            let servers = Arc::clone(&self.registry.servers.now());
            let mut awaited = there.iter().filter_map(|key| servers.get(*key));
            if awaited.all(|server| server.state == State::Locked || self.gaps.is_asked(&server.id)) {
                return;
            }
            tokio::select! {
                () = settled => {}
                alive = changes.changed() => if alive.is_err() { return },
            }
        }
    }

    fn end_what_nobody_goes_on_with(&self) {
        let servers = Arc::clone(&self.registry.servers.now());
        let there: HashSet<&str> = servers.iter().map(|server| &*server.id.0).collect();
        let is_there = |id: &str| there.contains(id) || self.registry.is_expected(&ServerId(id.into()));
        let mut orphans = Vec::new();
        for (session, event) in self.hub.left_open(is_there) {
            let Ok(frame) = serde_json::from_slice::<Value>(&event.frame) else { continue };
            if event.kind == "session.status" {
                let project = frame["project"].as_str();
                self.hub.announce(own::idle(&session, event.directory.as_ref(), project));
            } else {
                orphans.extend(orphan(session, &event, &frame));
            }
        }
        self.herald.cry(News { orphans, ..News::default() });
    }
}

fn orphan(session: SessionId, event: &Event, frame: &Value) -> Option<Orphan> {
    let kind = match &*event.kind {
        "permission.asked" => AskKind::Permission,
        "question.asked" => AskKind::Question,
        _ => return None,
    };
    let id = frame["payload"]["properties"]["id"].as_str()?.into();
    let ask = Ask { kind, interface: Interface::First };
    Some(Orphan { ask, id, session, directory: event.directory.clone() })
}
