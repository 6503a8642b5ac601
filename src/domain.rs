//! Sessions, claims, owners and routes as plain values: no I/O, no async, no clock. Time is always an argument.

pub mod evidence;
pub mod ids;
pub mod session;
