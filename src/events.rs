//! Events: one feed per server in, one hub, any number of subscribers out.
//!
//! ```text
//! server ──bytes──▶ feed (sse, opencode::event) ──▶ intake ──▶ hub (log) ──▶ lanes ──▶ subscriptions
//! ```
//! A feed reads one server's stream and reports to its intake, which decides what claims follow and what is
//! published. The hub keeps one bounded log. Subscribers with the same view share a lane, which writes each event
//! once for all of them; a subscriber is a position in it and costs nobody anything while it does not read.
//!
//! The streams of the second interface have a hub of their own, whose feeds run only while somebody listens.

mod disposals;
pub mod feed;
pub mod hub;
mod lane;
pub mod log;
pub mod occasional;
pub mod opened;
pub mod own;
pub mod sse;
pub mod subscriber;
pub mod view;
