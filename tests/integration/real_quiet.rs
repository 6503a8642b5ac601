//! pointsman makes no server open a directory that no client has named.
//!
//! A plugin notes every directory of which an instance is loaded, and the process. What is allowed: a server's own
//! directory (pointsman asks it once where it stands, and most of what clients ask without a directory opens it as
//! well), and the directory a client named, in the one server that the request went to.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use serde_json::json;

use crate::support::{
    daemon::Daemon,
    eventually::eventually,
    opencode::{OpenCode, Store},
};

/// With a tick of 100 ms as many ticks as a minute has at the usual second.
const SIXTY_TICKS: Duration = Duration::from_secs(6);

/// An id that no store has; its time lies in the past, as that of a session that was deleted.
const NOBODY: &str = "ses_e01e58a32ffe3kdSHt0WHmDjwr";

#[tokio::test]
async fn nothing_that_pointsman_does_by_itself_opens_a_directory() {
    let store = Store::counting().await;
    let [one, two, three] = ["one", "two", "three"].map(|name| store.project(name));
    let asleep = store.project("asleep");
    let sleeping = {
        // A session in a directory that no server has open by the time pointsman comes.
        let mut earlier = OpenCode::start(&store, &one).await;
        let created = format!("/session?directory={}", asleep.display());
        let sleeping = earlier.post(&created, &json!({})).await["id"].as_str().unwrap().to_owned();
        earlier.kill9().await;
        sleeping
    };
    let servers = [
        OpenCode::start(&store, &one).await,
        OpenCode::start(&store, &two).await,
        OpenCode::start(&store, &three).await,
    ];
    let before = store.opened().len();
    let opened = || store.opened().into_iter().skip(before).collect::<BTreeSet<(PathBuf, u32)>>();
    let urls: Vec<String> = servers.iter().map(OpenCode::url).collect();
    let daemon = Daemon::builder().servers(&urls).env("POINTSMAN_TICK", "100ms");
    // The first list opens the servers' own directories, and three servers that do so at once take their time.
    let mut daemon = daemon.env("POINTSMAN_MERGE_DEADLINE", "50s").start().await;
    let own: BTreeSet<_> =
        servers.iter().map(|server| (server.directory().to_owned(), server.pid())).collect();

    // Sessions out of band, each in its server's own directory, so that every list has something.
    let mut sessions = vec![sleeping.clone()];
    for server in &servers {
        sessions.push(server.create_session().await);
    }
    eventually("every session being listed", || async {
        let listed = daemon.get("/sessions?limit=100").await.text();
        if sessions.iter().all(|id| listed.contains(id)) { Ok(()) } else { Err(listed) }
    })
    .await;
    for round in 0..2 {
        for path in [
            "/session",
            "/session?limit=5",
            "/session?roots=true",
            "/session/status",
            "/api/session",
            "/api/session/active",
            "/experimental/session",
            "/experimental/session?limit=1",
            "/permission",
            "/question",
            "/api/permission/request",
            "/api/question/request",
            "/pty",
            "/project",
            "/servers",
            "/sessions",
            "/sessions/ids",
            "/global/health",
        ] {
            let answer = daemon.get(path).await;
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
            assert_eq!(answer.header("x-pointsman-partial"), "", "{path}");
        }
        for path in [format!("/session/{NOBODY}"), format!("/session/{NOBODY}/message")] {
            assert_eq!(daemon.get(&path).await.status, 404, "{path}");
        }
        for path in ["/permission/per_nobody/reply", "/question/que_nobody/reply"] {
            let body = json!({"reply": "once", "answers": []});
            let answer = daemon.post(path, &body).await;
            assert!((400..500).contains(&answer.status), "{path}: {answer:?}");
        }
        assert_eq!(daemon.get("/pty/pty_nobody").await.status, 404);
        for session in &sessions {
            let known = daemon.explain(session).await;
            assert_eq!(known["id"], **session);
        }
        tokio::time::sleep(SIXTY_TICKS / 2).await;
        if round == 0 {
            daemon.restart().await;
        }
    }
    assert_eq!(opened(), own, "own directories, once each, and nothing else");
    assert_eq!(store.opened().len() - before, own.len());

    // Now a client asks for what sleeps: one server opens it, and it alone.
    let answer = daemon.get(&format!("/session/{sleeping}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(daemon.get("/session").await.status, 200);
    assert_eq!(daemon.get("/permission").await.status, 200);
    let further: Vec<_> = opened().difference(&own).cloned().collect();
    let asked = servers.iter().find(|server| server.address() == answer.server()).unwrap();
    assert_eq!(further, [(asleep, asked.pid())]);
}
