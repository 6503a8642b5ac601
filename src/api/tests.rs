//! The endpoints, asked over a registry that each test fills by hand.

mod describing;
mod listing;
mod pinning;
mod servers;
pub(super) mod town;
