//! pointsman: one URL in front of all of a person's coding-agent servers.
//!
//! The library is what the `pointsman` binary is made of; its modules follow the life of a request, from
//! discovery to the answer. `docs/architecture.md` draws the whole.

pub mod clock;
pub mod discovery;
pub mod domain;
pub mod machine;
pub mod opencode;
pub mod proxy;
pub mod registry;
pub mod sync;
