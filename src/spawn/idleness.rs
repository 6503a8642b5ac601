//! Whether a server that was started is of use to anybody. Pure.

use std::time::Duration;

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its time has not come.
    Stays,
    /// It is in use, and its time begins anew.
    InUse,
    /// Nobody needs it.
    Ends,
}

/// Judges a server in which no request has been in hand for `unused`. `in_use` tells whether it runs a turn or somebody
/// listens to it; it is asked only when it matters.
pub(super) fn judge(unused: Duration, idle: Duration, in_use: impl FnOnce() -> bool) -> Verdict {
    if unused < idle {
        Verdict::Stays
    } else if in_use() {
        Verdict::InUse
    } else {
        Verdict::Ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_asks_nor_hears_and_what_runs_nothing_ends() {
        let idle = Duration::from_mins(1);
        assert_eq!(judge(Duration::from_secs(59), idle, || panic!("a walk for nothing")), Verdict::Stays);
        assert_eq!(judge(idle, idle, || true), Verdict::InUse);
        assert_eq!(judge(idle, idle, || false), Verdict::Ends);
    }
}
