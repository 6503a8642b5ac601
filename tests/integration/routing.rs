//! Every request reaches the server it is meant for.

mod flows;
mod naming;
mod ownership;
mod replies;
mod screens;
