//! Several servers that close the same directory within a moment are one occurrence to a client, which answers
//! each `server.instance.disposed` by starting over.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::domain::{directory::same_directory, ids::ServerKey};

/// Disposals of one cause, such as a change of the configuration, come within milliseconds; a client's start takes
/// about a second.
const MOMENT: Duration = Duration::from_secs(1);

/// How many are remembered; the oldest go first, and would be told twice.
const MOST: usize = 1000;

/// The disposals of the last moment.
#[derive(Debug, Default)]
pub(super) struct Disposals(Vec<Disposal>);

#[derive(Debug)]
struct Disposal {
    directory: Arc<str>,
    server: ServerKey,
    at: Instant,
}

impl Disposals {
    /// Takes note of a disposal and says whether another server's just told the same. A server that disposes twice
    /// means it: what it tells is never held back for its own sake.
    pub(super) fn repeats(&mut self, directory: &Arc<str>, server: ServerKey, now: Instant) -> bool {
        self.0.retain(|past| now.duration_since(past.at) < MOMENT);
        let told =
            self.0.iter().any(|past| past.server != server && same_directory(&past.directory, directory));
        if !told {
            let surplus = (self.0.len() + 1).saturating_sub(MOST);
            self.0.drain(..surplus);
            self.0.push(Disposal { directory: directory.clone(), server, at: now });
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_servers_disposals_of_a_directory_are_one_for_a_moment() {
        let mut disposals = Disposals::default();
        let (a, b): (Arc<str>, Arc<str>) = ("/a".into(), "/b".into());
        let start = Instant::now();
        assert!(!disposals.repeats(&a, ServerKey(1), start));
        assert!(disposals.repeats(&a, ServerKey(2), start + MOMENT / 2));
        assert!(!disposals.repeats(&b, ServerKey(2), start + MOMENT / 2));
        assert!(!disposals.repeats(&a, ServerKey(1), start + MOMENT / 2));
        assert!(!disposals.repeats(&a, ServerKey(3), start + MOMENT * 2));
        assert_eq!(disposals.0.len(), 1);
    }

    #[test]
    fn of_too_many_at_once_the_last_are_remembered() {
        let mut disposals = Disposals::default();
        let directory = |number: usize| Arc::<str>::from(format!("/{number}"));
        let now = Instant::now();
        for number in 0..=MOST {
            disposals.repeats(&directory(number), ServerKey(1), now);
        }
        assert_eq!(disposals.0.len(), MOST);
        assert!(disposals.repeats(&directory(MOST), ServerKey(2), now));
        assert!(!disposals.repeats(&directory(0), ServerKey(2), now));
    }
}
