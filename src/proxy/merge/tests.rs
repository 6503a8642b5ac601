//! Merging over servers that answer as real ones were seen to.

mod faults;
mod pages;
mod shapes;
mod town;
mod who;
