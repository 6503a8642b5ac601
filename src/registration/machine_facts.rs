//! What the machine shows of an applicant.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use crate::machine::{Machine, Process, SocketId, StoreFile};

/// See the module.
#[derive(Debug)]
pub(super) struct Facts {
    /// The process it names.
    pub(super) process: Option<Process>,
    /// Where that process listens, of the addresses it may mean.
    pub(super) listens: Option<(SocketAddr, SocketId)>,
}

/// Looks, beside the threads that carry requests: milliseconds.
pub(super) async fn look(
    machine: &Arc<dyn Machine>,
    pid: u32,
    sockets: Vec<SocketAddr>,
    store: Option<String>,
) -> Facts {
    let machine = Arc::clone(machine);
    let look = move || {
        let mut process = machine.process(pid);
        if let Some(process) = &mut process
            && process.store.is_none()
        {
            process.store = store.as_deref().and_then(store_file);
        }
        let listens = |socket: SocketAddr| Some((socket, machine.listens(pid, socket)?));
        Facts { process, listens: sockets.into_iter().find_map(listens) }
    };
    tokio::task::spawn_blocking(look).await.unwrap_or(Facts { process: None, listens: None })
}

/// The store at a path that an applicant tells, where the system does not show what it has open.
#[cfg(unix)]
fn store_file(path: &str) -> Option<StoreFile> {
    use std::os::unix::fs::MetadataExt as _;
    let path = Path::new(path);
    let file = fs::metadata(path).ok().filter(|file| path.is_absolute() && file.is_file())?;
    Some(StoreFile { device: file.dev(), inode: file.ino(), path: path.to_owned() })
}

/// Files have no numbers here that could be compared.
#[cfg(not(unix))]
fn store_file(_: &str) -> Option<StoreFile> {
    None
}
