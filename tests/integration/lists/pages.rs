//! Sorting, filters, limits and cursors hold over all servers together.

use std::collections::BTreeSet;

use crate::support::{
    daemon::{Answer, Daemon},
    fake::{FakeServer, FakeSession, FakeStore, now_ms},
    town::daemon_before,
};

const EACH: usize = 11;

/// Two stores, each with sessions of one directory, made and changed in turns.
struct Shelves {
    one: FakeServer,
    two: FakeServer,
    /// All sessions, the latest made (and changed) first.
    all: Vec<FakeSession>,
}

impl Shelves {
    async fn start() -> (Self, Daemon) {
        let (store, elsewhere) = (FakeStore::new(), FakeStore::new());
        let one = FakeServer::serve(&store, &store.directory("one")).await;
        let two = FakeServer::serve(&elsewhere, &elsewhere.directory("two")).await;
        let now = now_ms() - 1_000_000;
        let mut all: Vec<FakeSession> = (0..2 * EACH as u64)
            .map(|number| {
                let server = if number % 2 == 0 { &one } else { &two };
                let mut row = FakeSession::created_at(server.directory(), now + number * 1000);
                row.title = format!("number {number:02} {}", if number % 3 == 0 { "Fizz" } else { "plain" });
                if number % 5 == 4 {
                    row.parent = Some("ses_parent".to_owned());
                }
                server.store().insert(row)
            })
            .collect();
        all.reverse();
        let daemon = daemon_before(&[&one, &two]).await;
        (Self { one, two, all }, daemon)
    }

    fn titles(&self, keep: impl Fn(&FakeSession) -> bool) -> Vec<String> {
        self.all.iter().filter(|row| keep(row)).map(|row| row.title.clone()).collect()
    }
}

fn titles(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let list = answer.json();
    let rows = list.get("data").cloned().unwrap_or(list);
    rows.as_array().unwrap().iter().map(|row| row["title"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn lists_are_sorted_and_cut_as_if_one_server_held_everything() {
    let (shelves, daemon) = Shelves::start().await;
    let everything = shelves.titles(|_| true);
    for path in ["/session", "/api/session", "/experimental/session"] {
        assert_eq!(titles(&daemon.get(path).await), everything, "{path}");
        let cut = titles(&daemon.get(&format!("{path}?limit=5")).await);
        assert_eq!(cut, everything[..5], "{path}");
    }
    let upwards = titles(&daemon.get("/api/session?order=asc&limit=4").await);
    assert_eq!(upwards, everything.iter().rev().take(4).cloned().collect::<Vec<_>>());
    assert_eq!(titles(&daemon.get("/session?limit=0").await), [""; 0]);
    let refused = daemon.get("/api/session?limit=0").await;
    assert_eq!((refused.status, &*refused.json()["_tag"].to_string()), (400, "\"InvalidRequestError\""));
}

#[tokio::test]
async fn filters_hold_on_every_server() {
    let (shelves, daemon) = Shelves::start().await;
    for path in ["/session", "/api/session", "/experimental/session"] {
        let found = titles(&daemon.get(&format!("{path}?search=fizz")).await);
        assert_eq!(found, shelves.titles(|row| row.title.contains("Fizz")), "{path}");
        let roots = titles(&daemon.get(&format!("{path}?roots=true&limit=7")).await);
        assert_eq!(roots, shelves.titles(|row| row.parent.is_none())[..7], "{path}");
        let start = shelves.all[6].updated;
        let late = titles(&daemon.get(&format!("{path}?start={start}")).await);
        assert_eq!(late, shelves.titles(|row| row.updated >= start), "{path}");
        for server in [&shelves.one, &shelves.two] {
            let here = daemon.request("GET", path).query(&[("directory", server.directory())]);
            let here = titles(&daemon.send(here).await);
            assert_eq!(here, shelves.titles(|row| row.directory == server.directory()), "{path}");
        }
    }
}

#[tokio::test]
async fn every_session_comes_once_when_the_pages_are_walked() {
    let (shelves, daemon) = Shelves::start().await;
    // Several changed within one millisecond, on both servers.
    let moment = now_ms();
    for row in &shelves.all[..8] {
        let server = if row.directory == shelves.one.directory() { &shelves.one } else { &shelves.two };
        server.store().edit(&row.id, |row| row.updated = moment);
    }
    let everything: BTreeSet<String> = shelves.titles(|_| true).into_iter().collect();

    let mut walked = Vec::new();
    let mut path = "/experimental/session?limit=3".to_owned();
    loop {
        let page = daemon.get(&path).await;
        walked.extend(titles(&page));
        assert!(walked.len() <= everything.len(), "a page came twice: {walked:?}");
        match page.header("x-next-cursor") {
            "" => break,
            cursor => path = format!("/experimental/session?limit=3&cursor={cursor}"),
        }
    }
    assert_eq!(walked.iter().cloned().collect::<BTreeSet<_>>(), everything);

    for order in ["asc", "desc"] {
        let mut walked = Vec::new();
        let mut path = format!("/api/session?limit=4&order={order}");
        loop {
            let page = daemon.get(&path).await;
            let rows = titles(&page);
            if rows.is_empty() {
                break;
            }
            walked.extend(rows);
            assert!(walked.len() <= everything.len(), "a page came twice: {walked:?}");
            let Some(cursor) = page.json()["cursor"]["next"].as_str().map(str::to_owned) else { break };
            path = format!("/api/session?limit=4&cursor={cursor}");
        }
        assert_eq!(walked.iter().cloned().collect::<BTreeSet<_>>(), everything, "{order}");
        assert!(walked.is_sorted() == (order == "asc"), "{order}: {walked:?}");
    }
}

#[tokio::test]
async fn the_page_before_is_reached_by_the_cursor_back() {
    let (_shelves, daemon) = Shelves::start().await;
    let first = daemon.get("/api/session?limit=4&order=desc").await;
    let cursor = |page: &Answer, way: &str| page.json()["cursor"][way].as_str().unwrap().to_owned();
    let second = daemon.get(&format!("/api/session?limit=4&cursor={}", cursor(&first, "next"))).await;
    assert_ne!(titles(&second), titles(&first));
    let back = daemon.get(&format!("/api/session?limit=4&cursor={}", cursor(&second, "previous"))).await;
    assert_eq!(titles(&back), titles(&first));
    let broken = daemon.get("/api/session?cursor=nonsense").await;
    assert_eq!(broken.status, 400, "{broken:?}");
}
