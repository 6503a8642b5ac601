//! pointsman: one URL in front of all of a person's coding-agent servers.
//!
//! The library is what the `pointsman` binary is made of; its modules follow the life of a request, from
//! discovery to the answer. `docs/architecture.md` draws the whole.

pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod discovery;
pub mod domain;
pub mod events;
pub mod front;
pub mod guard;
pub mod machine;
pub mod metrics;
pub mod opencode;
pub mod plugin;
pub mod proxy;
pub mod registration;
pub mod registry;
pub mod spawn;
pub mod state_dir;
pub mod sync;
