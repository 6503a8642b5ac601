//! The `OpenCode` protocol: the only place that knows its shapes.

pub mod event;
