//! What the tests stand on: servers real and fake, the daemon, clients, and the patience to wait for them.
//!
//! Each file below holds one idea. Everything listens on loopback, on ports of its own, and ends when dropped.

#![allow(dead_code, unused_imports, reason = "not every test uses every part")]

pub mod browser;
pub mod crowd;
pub mod daemon;
pub mod described;
pub mod eventually;
pub mod fake;
pub mod flood;
pub mod isolation;
pub mod model;
pub mod on_demand;
pub mod opencode;
pub mod plugin;
pub mod ports;
pub mod process;
pub mod relay;
pub mod restless;
pub mod screen;
pub mod script;
pub mod shown;
pub mod sse;
mod stand_in;
pub mod town;
pub mod usage;
pub mod wire;
