//! From a request to the server that must have it, and back.

pub mod body;
pub mod headers;
pub mod named;
pub mod route;
pub mod sticky;
pub mod upstream;
