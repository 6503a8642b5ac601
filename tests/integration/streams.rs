//! One stream for clients, whatever happens to the streams behind it.

mod acting;
mod compressed;
mod described;
mod fan_in;
mod own_events;
mod own_stream;
mod resume;
