//! Choices that must be made once: the server of a directory, the default, and the one that saw a flow's first step.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::domain::ids::ServerKey;

/// How long the steps of one flow may take: a person signs in with a browser in between.
const FLOW: Duration = Duration::from_mins(15);

/// How many directories and flows are remembered. The least lately begun go first, and are chosen anew.
const MOST: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Sticky {
    default: Mutex<Option<ServerKey>>,
    directories: Mutex<HashMap<Arc<str>, ServerKey>>,
    flows: Mutex<HashMap<Arc<str>, (ServerKey, Instant)>>,
}

impl Sticky {
    /// The default server: the one before while it is `fit`, else the one that `choose` gives.
    pub fn default_server(
        &self,
        fit: impl Fn(ServerKey) -> bool,
        choose: impl FnOnce() -> Option<ServerKey>,
    ) -> Option<ServerKey> {
        let mut current = self.default.lock();
        if let Some(server) = current.filter(|&server| fit(server)) {
            return Some(server);
        }
        *current = choose();
        *current
    }

    /// The server of a directory: the one before while it is `fit`, else the one that `choose` gives.
    pub fn directory_server(
        &self,
        directory: &str,
        fit: impl Fn(ServerKey) -> bool,
        choose: impl FnOnce() -> Option<ServerKey>,
    ) -> Option<ServerKey> {
        let mut directories = self.directories.lock();
        if let Some(&server) = directories.get(directory).filter(|server| fit(**server)) {
            return Some(server);
        }
        let chosen = choose()?;
        if directories.len() >= MOST {
            directories.retain(|_, server| fit(*server));
            if directories.len() >= MOST {
                directories.clear();
            }
        }
        directories.insert(directory.into(), chosen);
        Some(chosen)
    }

    /// How many directories and flows are remembered, and how many of each may be.
    pub fn held(&self) -> (usize, usize, usize) {
        (self.directories.lock().len(), self.flows.lock().len(), MOST)
    }

    /// Remembers which server saw the first step of the flow for `name`.
    pub fn begin(&self, name: &str, server: ServerKey, now: Instant) {
        let mut flows = self.flows.lock();
        flows.retain(|_, (_, since)| now.duration_since(*since) < FLOW);
        if flows.len() < MOST {
            flows.insert(name.into(), (server, now));
        }
    }

    /// The server that saw the first step of the flow for `name`, within its time.
    pub fn begun(&self, name: &str, now: Instant) -> Option<ServerKey> {
        let flows = self.flows.lock();
        flows.get(name).filter(|(_, since)| now.duration_since(*since) < FLOW).map(|(server, _)| *server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_holds_until_its_server_is_unfit() {
        let sticky = Sticky::default();
        let (one, two) = (ServerKey(1), ServerKey(2));
        assert_eq!(sticky.directory_server("/a", |_| true, || Some(one)), Some(one));
        assert_eq!(sticky.directory_server("/a", |_| true, || Some(two)), Some(one));
        assert_eq!(sticky.directory_server("/a", |server| server != one, || Some(two)), Some(two));
        assert_eq!(sticky.default_server(|_| true, || Some(one)), Some(one));
        assert_eq!(sticky.default_server(|_| false, || None), None);
    }

    #[test]
    fn a_flow_that_takes_too_long_begins_anew() {
        let sticky = Sticky::default();
        let start = Instant::now();
        sticky.begin("github", ServerKey(1), start);
        assert_eq!(sticky.begun("github", start + Duration::from_mins(14)), Some(ServerKey(1)));
        assert_eq!(sticky.begun("github", start + FLOW), None);
    }
}
