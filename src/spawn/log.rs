//! What a started server writes: `spawned-PORT.log`, for whoever wants to know what became of it, and never large.

use std::{fs::File, io, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::state_dir::Shelf;

/// How large a log may become before it begins anew: some ten thousand lines.
const MOST: u64 = 1 << 20;

/// How much of its end is read.
const TAIL: u64 = 64 << 10;

/// How often it is looked how large it has become.
const LOOK: Duration = Duration::from_millis(500);

/// See the module.
pub(super) struct Log {
    shelf: Shelf,
    name: String,
}

impl Log {
    /// That of the server on `port`.
    pub(super) fn of(port: u16, shelf: &Shelf) -> Self {
        Self { shelf: shelf.clone(), name: format!("spawned-{port}.log") }
    }

    /// An empty one, to be written to.
    pub(super) fn begin(&self) -> io::Result<File> {
        self.shelf.begin(&self.name)
    }

    /// Has it begin anew whenever it has become too large. Does not return.
    pub(super) async fn stay_small(&self) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            // Somebody may have taken it away.
            let _ = self.shelf.bound(&self.name, MOST);
        }
    }

    /// What was written last; nothing if it cannot be read.
    pub(super) fn tail(&self) -> String {
        self.shelf.tail(&self.name, TAIL).unwrap_or_default()
    }

    /// Takes it away. An old one is in nobody's way.
    pub(super) fn remove(&self) {
        let _ = self.shelf.remove(&self.name);
    }
}
