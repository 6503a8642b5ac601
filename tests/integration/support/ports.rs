//! Ports that stay ours: for servers that are stopped and started again on the same one.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
};

/// Below the range from which the kernel picks ports for outgoing connections (32768 and up), so that a port is not
/// taken by a passing connection while its server is down.
const FIRST: u16 = 20_000;
const LAST: u16 = 30_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that nobody listens on, and that no other caller in this process was given.
pub fn free_port() -> u16 {
    // Two test binaries at a time start at different places.
    let place = (std::process::id() % 100) * 100;
    for _ in FIRST..LAST {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let span = u32::from(LAST - FIRST);
        let port = FIRST + u16::try_from((place + u32::from(step)) % span).expect("below the span");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {LAST}");
}

/// Two free ports, the lower first: for tests in which the owner must have the lower, or the higher one.
pub fn two_free_ports() -> (u16, u16) {
    let (one, other) = (free_port(), free_port());
    (one.min(other), one.max(other))
}
