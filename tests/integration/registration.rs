//! Agents that make themselves known: who may, what becomes of them, and what their screens count for.

mod protocol;
mod refusals;
mod screens;
mod servers;
