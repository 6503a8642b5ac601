//! Whether a store was written to, by a look at its files.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::{machine::Machine, registry::server::Server};

/// The size and time of the files that every write of a store touches. Equal stamps: nothing was written between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp([Option<(u64, SystemTime)>; 2]);

/// The database of a server on this machine, where the machine shows it.
pub(super) fn database(machine: &dyn Machine, server: &Server) -> Option<PathBuf> {
    let known = server.process?;
    let process = machine.process(known.pid).filter(|process| process.started == known.started)?;
    Some(process.store?.path)
}

/// The stamp of the database at `path` now. Reads two directory entries, aside: a file system may hang.
pub(super) async fn stamp(path: &Path) -> Stamp {
    // Writes go to the journal beside the database first, and from there to the database.
    let journal = {
        let mut name = OsString::from(path);
        name.push("-wal");
        PathBuf::from(name)
    };
    Stamp([of(path).await, of(&journal).await])
}

async fn of(path: &Path) -> Option<(u64, SystemTime)> {
    let metadata = tokio::fs::metadata(path).await.ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}
