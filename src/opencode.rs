//! The agent's protocol: its paths, shapes and events. Nothing here knows of us.

pub mod catalogue;
pub mod client;
pub mod event;
pub mod lists;
pub mod operations;
pub mod wire;
