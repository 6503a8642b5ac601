//! Lists that are known by their bytes, and those that must be read all the same.

use super::*;
use crate::domain::session::SessionRow;

/// More than are read by all looks for changes of a test together.
const SESSIONS: usize = 400;

fn changed_at(number: usize) -> u64 {
    1_000_000 + 10_000 * u64::try_from(number).unwrap()
}

fn row(number: usize, updated_ms: u64) -> SessionRow {
    SessionRow {
        id: session(number),
        directory: "/a".into(),
        title: id(number).into(),
        project: "p".into(),
        parent: None,
        created_ms: updated_ms,
        updated_ms,
    }
}

struct Watched {
    lab: Lab,
    list: Arc<List>,
    server: Arc<Server>,
    sync: Sync,
}

impl Watched {
    async fn start(sessions: usize) -> Self {
        let (lab, list) = (Lab::new(), Arc::new(List::default()));
        (0..sessions).for_each(|number| list.put(&id(number), changed_at(number)));
        let server = lab.server(list.serve().await, file(1), None);
        let sync = lab.start(QUICK).await;
        let watched = Self { lab, list, server, sync };
        watched.whole_lists(3).await;
        watched.sync.take_rows();
        watched
    }

    /// Waits until so many more whole lists have been asked for, and taken in.
    async fn whole_lists(&self, more: usize) {
        let wanted = self.list.wholes.load(Ordering::SeqCst) + more + 1;
        eventually("more lists", || self.list.wholes.load(Ordering::SeqCst) >= wanted).await;
    }

    /// How many rows the next few whole lists take.
    async fn reads(&self) -> u64 {
        self.sync.take_rows();
        self.whole_lists(3).await;
        self.sync.take_rows()
    }

    async fn is_read(&self, why: &str) {
        eventually(why, || self.rows_since_last() >= SESSIONS as u64).await;
    }

    fn rows_since_last(&self) -> u64 {
        self.sync.shared.rows.load(Ordering::Relaxed)
    }

    fn title(&self, number: usize) -> String {
        let registry = &self.lab.registry;
        let known = registry.sessions.describe(&session(number), &registry.servers.now());
        known.first().map(|known| known.row.title.to_string()).unwrap_or_default()
    }
}

#[tokio::test]
async fn a_list_that_is_the_same_byte_for_byte_is_not_read_again_and_nobody_is_missed() {
    let watched = Watched::start(SESSIONS).await;
    assert!(watched.reads().await < SESSIONS as u64);
    assert_eq!(watched.list.look_ups.load(Ordering::SeqCst), 0, "nobody was looked for");
    assert_eq!(watched.lab.registry.sessions.len(), SESSIONS);
}

#[tokio::test]
async fn one_byte_that_changed_is_noticed() {
    let watched = Watched::start(SESSIONS).await;
    let mut title = id(7);
    title.replace_range(..1, "S");
    watched.list.retitle(&id(7), &title);
    eventually("the new title", || watched.title(7) == title).await;
    assert!(watched.reads().await < SESSIONS as u64, "settled again");
}

#[tokio::test]
async fn whatever_else_changes_a_row_the_same_list_is_read_again() {
    let watched = Watched::start(SESSIONS).await;
    let (registry, store) = (&watched.lab.registry, watched.server.store);
    // As an event tells that the list does not show yet.
    watched.sync.take_rows();
    registry.sessions.row(store, &row(SESSIONS, 5), 0);
    watched.is_read("a session was made").await;
    assert!(watched.reads().await < SESSIONS as u64, "settled again");
    // As one deleted by mistake.
    watched.sync.take_rows();
    registry.delete(store, &session(3));
    eventually("the list brings it back", || watched.lab.knows(3)).await;
    // As an event of a change that the list shows never.
    watched.whole_lists(3).await;
    registry.sessions.announce(store, &session(3));
    watched.whole_lists(3).await;
    assert!(watched.reads().await < SESSIONS as u64, "settled again");
    let told = SessionRow { title: "told".into(), ..row(4, changed_at(4)) };
    registry.sessions.row(store, &told, 0);
    eventually("the list's word is the last", || watched.title(4) == id(4)).await;
    let later = row(5, changed_at(5) + 1);
    registry.sessions.row(store, &later, 0);
    assert!(watched.reads().await >= 2 * SESSIONS as u64, "never settled while they differ");
}

#[tokio::test]
async fn the_same_bytes_with_more_behind_them_are_not_the_same_list() {
    // One whole page, which nothing is behind.
    let watched = Watched::start(500).await;
    assert!(watched.reads().await < 500);
    watched.list.put(&id(500), 5);
    eventually("the session behind the page", || watched.lab.knows(500)).await;
}

#[tokio::test]
async fn a_session_that_goes_between_the_look_for_changes_and_the_whole_list_is_missed_in_the_next() {
    let watched = Watched::start(SESSIONS).await;
    let newest = SESSIONS - 1;
    let list = &watched.list;
    list.hold_changes.store(true, Ordering::SeqCst);
    eventually("a held look for changes", || list.held.load(Ordering::SeqCst) > 0).await;
    list.remove(&id(newest));
    list.hold_changes.store(false, Ordering::SeqCst);
    list.go.notify_one();
    eventually("the deletion", || !watched.lab.knows(newest)).await;
    assert_eq!(watched.lab.registry.sessions.len(), newest);
    assert!(watched.reads().await < SESSIONS as u64, "settled again");
}

#[tokio::test]
async fn a_list_of_which_a_row_cannot_be_read_does_not_settle() {
    let watched = Watched::start(SESSIONS).await;
    watched.list.put("no id", changed_at(3));
    watched.whole_lists(3).await;
    assert!(watched.reads().await >= 2 * SESSIONS as u64);
}
