//! The clock of the machine that the command runs on.

use jiff::Timestamp;

pub(super) use crate::api::moment::{age, clock};

/// Now, in milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
}
