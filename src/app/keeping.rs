//! The journal in its place: opened from the configuration, kept while we run, ended last of all.

use std::{iter, path::Path};

use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::STOP;
use crate::{
    config::{self, Config},
    events::{
        cursor::Reset,
        hub::{self, Hub},
        journal::{Bounds, Journal, JournalError, Keeper},
        log::Limits,
        own,
        picture::Extent,
    },
    metrics::JournalCensus,
};

/// The hub of the merged stream, and who keeps what it tells where that is kept in files.
pub(super) struct Merged {
    pub(super) hub: Hub,
    keeper: Option<Keeper>,
    /// When an earlier run told something last, if its clients may come back.
    pub(super) away_since_ms: Option<u64>,
}

impl Merged {
    /// Opens what an earlier run has kept. Blocks on the file system.
    pub(super) fn open(config: &Config, state_dir: &Path) -> Result<Self, JournalError> {
        let directory = state_dir.join("journal");
        let config::Journal { persist, bytes, age } = config.journal;
        let (journal, keeper) = if persist {
            let (journal, keeper) = Journal::open(&directory, Bounds { bytes, age })?;
            (journal, Some(keeper))
        } else {
            // What was kept before is not to be kept any more.
            Journal::remove(&directory)?;
            (Journal::in_memory(), None)
        };
        let left = journal.left(config.catch_up.window);
        let away_since_ms = left.as_ref().map(|left| left.until_ms);
        let hub = Hub::journalled(Limits::default(), journal, catch_up(config.catch_up));
        if let Some(left) = left.filter(|_| hub.repairs()) {
            hub.recall(left);
        }
        let away_since_ms = away_since_ms.filter(|_| hub.repairs());
        Ok(Self { hub, keeper, away_since_ms })
    }

    /// Begins to keep what is told, and tells those who come back that we were away.
    pub(super) fn begin(self) -> Keeping {
        let Self { hub, keeper, .. } = self;
        if let Some(clean) = hub.journal().and_then(Journal::before) {
            hub.announce(own::restarted(clean));
        }
        let all_told = CancellationToken::new();
        let task = keeper.map(|keeper| tokio::spawn(keeper.run(hub, all_told.clone())));
        Keeping { all_told, task }
    }
}

/// How those are brought up to date who come late or read slowly; `None` if they are not.
fn catch_up(config::CatchUp { window, bytes, late, lag }: config::CatchUp) -> Option<hub::Settings> {
    let extent = Extent { bytes, window };
    (!window.is_zero()).then(|| hub::Settings { extent, late, lag, ..hub::Settings::default() })
}

/// The journal being kept.
pub(super) struct Keeping {
    all_told: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Keeping {
    /// Keeps the rest. Nothing may be published any more.
    pub(super) async fn end(self) {
        self.all_told.cancel();
        if let Some(task) = self.task
            && !matches!(timeout(STOP, task).await, Ok(Ok(())))
        {
            tracing::warn!("the journal did not end in time; the next start takes it for an unclean end");
        }
    }
}

/// What is counted of a hub's journal.
pub(super) fn census(hub: &Hub) -> JournalCensus {
    let status = hub.journal().map(Journal::status).unwrap_or_default();
    let resets = Reset::ALL.iter().map(|reset| reset.as_str()).zip(status.resets);
    let picture = hub.picture();
    JournalCensus {
        picture_bytes: picture.bytes as u64,
        picture_limit_bytes: picture.limit as u64,
        conflated: picture.conflated,
        hidden: picture.hidden,
        bytes: status.bytes,
        limit_bytes: status.limit,
        behind: if status.limit == 0 { 0 } else { hub.position().saturating_sub(status.end) },
        lost: picture.lost,
        restarts: status.restarts,
        forgotten: status.forgotten,
        resumes: iter::once(("ok", status.resumed)).chain(resets).collect(),
        ..JournalCensus::default()
    }
}
