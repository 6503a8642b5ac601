//! Nonsense from either side is answered or skipped, and never the end of the daemon.

mod clients;
mod servers;
