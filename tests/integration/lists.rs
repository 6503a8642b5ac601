//! One list from many servers.

mod pages;
mod parts;
