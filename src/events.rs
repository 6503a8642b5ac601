//! Events: one feed per server in, one hub, any number of subscribers out.
//!
//! ```text
//! server ──bytes──▶ feed (sse, opencode::event) ──▶ intake ──▶ hub (log) ──▶ lanes ──▶ subscriptions
//!                                                                │                      ▲
//!                                                                └──▶ journal ──replay──┘
//! ```
//! A feed reads one server's stream and reports to its intake, which decides what claims follow and what is
//! published. The hub keeps one bounded log. Subscribers with the same view share a lane, which writes each event
//! once for all of them; a subscriber is a position in it and costs nobody anything while it does not read. The journal
//! numbers the events and keeps them for subscribers that come back.
//!
//! The streams of the second interface have a hub of their own, whose feeds run only while somebody listens.

mod catch_up;
pub mod cursor;
mod disposals;
pub mod feed;
pub mod filter;
pub mod gzip;
pub mod hub;
pub mod journal;
mod lane;
pub mod log;
pub mod occasional;
pub mod opened;
pub mod own;
pub mod picture;
pub mod repair;
mod replay;
pub mod sequence;
pub mod sse;
pub mod subscriber;
mod text;
pub mod view;
