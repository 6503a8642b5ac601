//! What happened to one session, for people who look into a failure.

use std::fmt::Write;

/// Collects lines about one session, and those about processes, which concern every session.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    session: Option<usize>,
    text: String,
}

impl Trace {
    pub(crate) fn of(session: Option<usize>) -> Self {
        Self { session, text: String::new() }
    }

    /// Something that concerns `session`.
    pub(crate) fn session(&mut self, now_ms: u64, session: usize, line: impl FnOnce() -> String) {
        if self.session == Some(session) {
            self.line(now_ms, &line());
        }
    }

    /// Something that may concern every session.
    pub(crate) fn all(&mut self, now_ms: u64, line: impl FnOnce() -> String) {
        if self.session.is_some() {
            self.line(now_ms, &line());
        }
    }

    /// All lines so far.
    pub(crate) fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    fn line(&mut self, now_ms: u64, line: &str) {
        let _ = writeln!(self.text, "  {:>8} ms  {line}", now_ms - super::world::DAWN_MS);
    }
}
