//! Which server is this, and which store does it have?

use std::net::IpAddr;

use crate::{
    machine::Process,
    opencode::wire::Paths,
    registry::{
        server::{Address, ServerId},
        stores::StoreIdentity,
    },
};

/// The id of the server that `process` serves at `address`: another process there is another server, however pids
/// and ports are used again. Where no process can be seen, the address alone stands for it.
pub(super) fn server_id(boot_id: &str, process: Option<&Process>, address: &Address) -> ServerId {
    let hash = match process {
        Some(process) => {
            let (pid, started) = (process.pid.to_string(), process.started.to_string());
            hash(&["process", boot_id, &pid, &started, &address.authority])
        }
        None => hash(&["address", &address.authority]),
    };
    ServerId(format!("srv_{hash:016x}").into())
}

/// The store that `process` has open; until it can be known, one of the server's own.
pub(super) fn store_now(process: Option<&Process>, address: &Address) -> StoreIdentity {
    match process.and_then(|process| process.store.as_ref()) {
        Some(store) => StoreIdentity::File { device: store.device, inode: store.inode },
        None => StoreIdentity::Own { authority: address.authority.clone() },
    }
}

/// The store of a server that has told its paths.
///
/// Equal paths mean an equal store only on one machine. A port of this machine whose process cannot be seen may lead
/// anywhere (a tunnel, a container), so there the port is part of the name.
pub(super) fn store_told(process: Option<&Process>, address: &Address, paths: &Paths) -> StoreIdentity {
    if process.is_some_and(|process| process.store.is_some()) {
        return store_now(process, address);
    }
    let host = host(address);
    let host = match process {
        Some(_) => "localhost",
        None if is_loopback(host) => &address.authority,
        None => host,
    };
    StoreIdentity::Told { host: host.into(), home: paths.home.clone(), state: paths.state.clone() }
}

/// The host of an address, an IPv6 one without brackets.
pub(super) fn host(address: &Address) -> &str {
    let host = address.authority.rsplit_once(':').map_or(&*address.authority, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Whether `host` is this machine's loopback.
pub(super) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// FNV-1a with 64 bits. The ids stand in the kept claims, so the function must never change; the hashers at hand
/// promise that for one run only.
fn hash(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::machine::StoreFile;

    fn process(pid: u32, started: u64, inode: Option<u64>) -> Process {
        Process {
            pid,
            parent: None,
            started,
            uid: None,
            name: String::from("opencode"),
            args: Vec::new(),
            cwd: None,
            store: inode.map(|inode| StoreFile { device: 1, inode, path: PathBuf::new() }),
        }
    }

    #[test]
    fn the_id_names_one_process_at_one_address_and_is_the_same_in_every_run() {
        let (one, two) = (Address::new("127.0.0.1", 4096), Address::new("127.0.0.1", 4097));
        let id = server_id("boot", Some(&process(7, 100, None)), &one);
        assert_eq!(&*id.0, "srv_8fbc9d7f40defd0e");
        for other in [
            server_id("reboot", Some(&process(7, 100, None)), &one),
            server_id("boot", Some(&process(8, 100, None)), &one),
            server_id("boot", Some(&process(7, 101, None)), &one),
            server_id("boot", Some(&process(7, 100, None)), &two),
            server_id("boot", None, &one),
        ] {
            assert_ne!(other, id);
        }
    }

    #[test]
    fn stores_are_equal_only_where_that_is_certain() {
        let paths =
            Paths { home: "/h".into(), state: "/s".into(), worktree: "/w".into(), directory: "/d".into() };
        let told = |process: Option<&Process>, host: &str, port| {
            store_told(process, &Address::new(host, port), &paths)
        };
        let (open, blind) = (process(1, 1, Some(9)), process(1, 1, None));
        assert_eq!(told(Some(&open), "127.0.0.1", 1), told(Some(&open), "::1", 2));
        assert_eq!(told(Some(&blind), "127.0.0.1", 1), told(Some(&blind), "127.0.0.1", 2));
        assert_ne!(told(None, "127.0.0.1", 1), told(None, "127.0.0.1", 2));
        assert_ne!(told(None, "localhost", 1), told(Some(&blind), "localhost", 1));
        assert_eq!(told(None, "box", 1), told(None, "box", 2));
        assert_ne!(told(None, "box", 1), told(None, "other", 1));
    }
}
