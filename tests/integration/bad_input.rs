//! Nonsense from either side is answered or skipped, too much of anything is bounded, and neither is the end of the
//! daemon.

mod clients;
mod floods;
mod servers;
