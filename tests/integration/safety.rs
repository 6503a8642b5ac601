//! Nobody gets in who could not reach the servers before, and no secret gets out.

mod circles;
mod pages;
mod tokens;
mod users;
