//! What can go wrong at a server, to be switched on by a test.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// One way to misbehave.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Answer properly, but this much later.
    Delay(Duration),
    /// Take the request and never answer, until the faults are lifted; then answer properly.
    Hang,
    /// Close the connection without a byte of an answer.
    Drop,
    /// Promise the whole answer, send this many bytes of its body, then close the connection.
    DropAfter(usize),
    /// Send this many bytes of the body, then nothing until the faults are lifted.
    StallAfter(usize),
    /// The web UI's page, status 200.
    Html,
    /// `application/json` that ends in the middle.
    BrokenJson,
    /// Any other answer: status, content type, body.
    Answer(u16, &'static str, Bytes),
}

/// Faults in force. A path matches exactly, or by its beginning when the pattern ends in `*`.
#[derive(Default)]
pub(super) struct Faults {
    rules: Mutex<Vec<Rule>>,
    lifted: Arc<Notify>,
}

struct Rule {
    pattern: String,
    /// How many requests it still meets; `None` is all of them.
    left: Option<usize>,
    fault: Fault,
}

impl Faults {
    /// `pattern` is a path, or a method and a path: `/session`, `GET /session`, `POST /session/*`, `*`.
    pub(super) fn set(&self, pattern: &str, left: Option<usize>, fault: Fault) {
        self.rules.lock().push(Rule { pattern: pattern.to_owned(), left, fault });
    }

    /// Ends all faults, and lets what hangs or stalls go on.
    pub(super) fn lift(&self) {
        self.rules.lock().clear();
        self.lifted.notify_waiters();
    }

    /// Resolves at the next [`Self::lift`]; take it before looking, or the sign may be missed.
    pub(super) fn lifted(&self) -> impl Future<Output = ()> + Send + 'static {
        let lifted = self.lifted.clone();
        let mut waiting = Box::pin(lifted.notified_owned());
        waiting.as_mut().enable();
        waiting
    }

    pub(super) fn meet(&self, method: &str, path: &str) -> Option<Fault> {
        let mut rules = self.rules.lock();
        let index = rules.iter().position(|rule| matches(&rule.pattern, method, path))?;
        let fault = rules[index].fault.clone();
        if let Some(left) = &mut rules[index].left {
            *left -= 1;
            if *left == 0 {
                rules.remove(index);
            }
        }
        Some(fault)
    }
}

/// Whether a request meets `pattern`: `/session`, `GET /session`, `POST /session/*`, `*`.
pub(super) fn matches(pattern: &str, method: &str, path: &str) -> bool {
    let (wanted, pattern) = match pattern.split_once(' ') {
        Some((wanted, pattern)) => (Some(wanted), pattern),
        None => (None, pattern),
    };
    let here = match pattern.strip_suffix('*') {
        Some(beginning) => path.starts_with(beginning),
        None => path == pattern,
    };
    here && wanted.is_none_or(|wanted| wanted == method)
}
