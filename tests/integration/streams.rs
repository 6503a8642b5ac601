//! One stream for clients, whatever happens to the streams behind it.

mod acting;
mod fan_in;
mod own_events;
