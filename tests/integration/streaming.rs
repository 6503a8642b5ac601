//! Bodies and sockets pass as they come, for as long as they take, and end on both sides together.

mod bodies;
mod ends;
mod sockets;
