//! Sessions, claims, owners and choices as plain values: no I/O, no async, no clock. Time is always an argument.

pub mod ask;
pub mod candidate;
pub mod claim;
pub mod directory;
pub mod evidence;
pub mod ids;
pub mod kind;
pub mod ownership;
pub mod session;
