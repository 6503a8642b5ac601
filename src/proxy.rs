//! From a request to the server that must have it, and back.

pub mod annotate;
pub mod answer;
pub mod body;
mod carry;
pub mod catalogue;
pub mod forward;
pub mod headers;
pub mod learn;
pub mod merge;
pub mod named;
pub mod one_write;
pub mod prefix;
pub mod route;
pub mod router;
pub mod small_body;
pub mod sticky;
pub mod upgrade;
pub mod upstream;
