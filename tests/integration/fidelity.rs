//! What passes through arrives as it was sent.

mod answers;
mod questions;
