//! Two real servers on one directory, started once for every test that only talks to them.
//!
//! For tests that make sessions of their own and neither kill a server nor count what exists. They live on a thread of
//! their own, outlast each test's runtime, and end with the test binary.

use std::{
    path::{Path, PathBuf},
    thread,
};

use tempfile::TempDir;
use tokio::sync::{OnceCell, oneshot};

use super::{OpenCode, Plugin, Store};
use crate::support::ports::two_free_ports;

/// The shared servers, and what they serve.
pub struct Shared {
    pub store: Store,
    pub project: PathBuf,
    /// The one with the lower port.
    pub lower: OpenCode,
    pub higher: OpenCode,
}

static SHARED: OnceCell<Shared> = OnceCell::const_new();

/// The shared servers, started by the first test that asks.
pub async fn shared() -> &'static Shared {
    SHARED
        .get_or_init(|| async {
            let (ready, started) = oneshot::channel();
            thread::Builder::new()
                .name("shared OpenCode".to_owned())
                .spawn(|| host(ready))
                .expect("a thread");
            // No bound of its own: each step of the start has one.
            started.await.expect("the shared servers started")
        })
        .await
}

impl Shared {
    /// Both, as arguments of a daemon.
    pub fn urls(&self) -> [String; 2] {
        [self.lower.url(), self.higher.url()]
    }

    /// Owner and stranger, once each way round: the lower port must not matter.
    pub fn both_ways(&self) -> [(&OpenCode, &OpenCode); 2] {
        [(&self.lower, &self.higher), (&self.higher, &self.lower)]
    }
}

/// Starts the servers and keeps their runtime until the process ends, which ends them too.
fn host(ready: oneshot::Sender<Shared>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = Store::prepare_in(directory(), None, Plugin::None).await;
        let project = store.project("shared");
        let (low, high) = two_free_ports();
        let (lower, higher) = tokio::join!(
            OpenCode::builder(&store, &project).port(low).start(),
            OpenCode::builder(&store, &project).port(high).start(),
        );
        if ready.send(Shared { store, project, lower, higher }).is_ok() {
            std::future::pending::<()>().await;
        }
    });
}

/// A static is never dropped, so its directory is removed by a later run, once its process is gone.
fn directory() -> TempDir {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let left = std::fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in left {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix("shared-")?.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Another run may be removing it as well.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let prefix = format!("shared-{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir_in(parent).expect("a temporary directory")
}
