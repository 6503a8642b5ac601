//! `spawned.json`: what was started, so that the next run finds it if this one is killed.

use std::{io, path::PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::state_dir::Shelf;

/// The file's name in the state directory.
const FILE: &str = "spawned.json";

/// One server that was started, or is about to be. The port tells it from the others.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Record {
    /// The run of the machine.
    pub(super) boot: String,
    pub(super) port: u16,
    pub(super) directory: PathBuf,
    pub(super) password: String,
    /// The process and when it started; `None` until it runs.
    pub(super) process: Option<(u32, u64)>,
}

/// See the module.
pub(super) struct Records {
    shelf: Shelf,
    kept: Mutex<Vec<Record>>,
}

impl Records {
    /// With those of an earlier run.
    pub(super) fn open(shelf: Shelf) -> Self {
        let kept = shelf.read(FILE).unwrap_or_default();
        Self { shelf, kept: Mutex::new(kept) }
    }

    pub(super) fn all(&self) -> Vec<Record> {
        self.kept.lock().clone()
    }

    /// To be called before the process begins: a process without a record would be nobody's.
    pub(super) fn add(&self, record: Record) -> io::Result<()> {
        self.change(|kept| {
            kept.retain(|other| other.port != record.port);
            kept.push(record);
        })
    }

    pub(super) fn runs(&self, port: u16, process: (u32, u64)) {
        let noted = self.change(|kept| {
            for record in kept.iter_mut().filter(|record| record.port == port) {
                record.process = Some(process);
            }
        });
        tell(noted);
    }

    pub(super) fn remove(&self, port: u16) {
        tell(self.change(|kept| kept.retain(|record| record.port != port)));
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Record>)) -> io::Result<()> {
        let mut kept = self.kept.lock();
        change(&mut kept);
        if kept.is_empty() { self.shelf.remove(FILE) } else { self.shelf.put(FILE, &*kept) }
    }
}

/// What stands there is older than it should be, and still leads to the process by its port.
fn tell(noted: io::Result<()>) {
    if let Err(error) = noted {
        tracing::warn!(%error, "cannot keep note of a started server");
    }
}
