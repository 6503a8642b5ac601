//! Permissions and questions are answered by the process that asked, in the directory it asked in.

use serde_json::json;

use crate::support::{
    daemon::Daemon,
    fake::{FakeServer, FakeStore, Fault, Recorded},
    town::{daemon_before, start},
};

struct Town {
    one: FakeServer,
    two: FakeServer,
    /// Where the turn runs: neither server's own directory.
    directory: String,
    session: String,
}

impl Town {
    /// A turn that asks on the second server, while the daemon listens; and what the daemon was told.
    async fn asking(text: &str) -> (Self, Daemon) {
        let store = FakeStore::new();
        let one = FakeServer::serve(&store, &store.directory("one")).await;
        let two = FakeServer::serve(&store, &store.directory("two")).await;
        let directory = store.directory("third");
        let daemon = daemon_before(&[&one, &two]).await;
        let mut events = daemon.events("/global/event?attention=all").await;
        events.next().await;
        let session = two.create_session_in(&directory).id;
        two.begin_turn(&session, text);
        events.expect(|event| ["permission.asked", "question.asked"].contains(&event.kind())).await;
        (Self { one, two, directory, session }, daemon)
    }

    async fn asked(&self) -> String {
        crate::support::eventually::eventually("something being asked", || async {
            let mut asked = self.two.permissions(&self.session);
            asked.extend(self.two.questions(&self.session));
            asked.pop().ok_or("nothing asked")
        })
        .await
    }

    fn answered_by(&self, line: &str) -> Recorded {
        assert!(self.one.requests_to(line).is_empty(), "{line} went to the wrong server");
        self.two.requests_to(line).pop().unwrap_or_else(|| panic!("{line} went nowhere"))
    }
}

async fn reply(daemon: &Daemon, path: &str, body: serde_json::Value) -> u16 {
    // A client of another project, which names its own directory in every way there is.
    let request = daemon.request("POST", &format!("{path}?x=1&directory=%2Felsewhere"));
    let request = request.header("x-opencode-directory", "/elsewhere").json(&body);
    daemon.send(request).await.status
}

#[tokio::test]
async fn a_permission_is_replied_to_where_it_was_asked_whatever_directory_the_client_names() {
    for old in [false, true] {
        let (town, daemon) = Town::asking("ASK SLOW").await;
        let id = town.asked().await;
        let (path, body) = if old {
            (format!("/session/{}/permissions/{id}", town.session), json!({"response": "once"}))
        } else {
            (format!("/permission/{id}/reply"), json!({"reply": "once"}))
        };
        assert_eq!(reply(&daemon, &path, body).await, 200);
        let seen = town.answered_by(&format!("POST {path}"));
        assert_eq!(seen.directory().as_deref(), Some(&*town.directory));
        assert_eq!(seen.parameters().get("x").map(String::as_str), Some("1"));
        assert!(town.two.permissions(&town.session).is_empty());
        town.two.finish(&town.session);
    }
}

#[tokio::test]
async fn a_question_is_answered_or_turned_down_where_it_was_asked() {
    for what in ["reply", "reject"] {
        let (town, daemon) = Town::asking("QUESTION SLOW").await;
        let path = format!("/question/{}/{what}", town.asked().await);
        assert_eq!(reply(&daemon, &path, json!({"answers": [["a"]]})).await, 200);
        assert_eq!(town.answered_by(&format!("POST {path}")).directory(), Some(town.directory.clone()));
        town.two.finish(&town.session);
    }
}

#[tokio::test]
async fn a_permission_asked_before_we_came_is_known_too() {
    let store = FakeStore::new();
    let one = FakeServer::serve(&store, &store.directory("one")).await;
    let two = FakeServer::serve(&store, &store.directory("two")).await;
    let session = two.create_session().id;
    two.begin_turn(&session, "ASK SLOW");
    let town = Town { directory: two.directory().to_owned(), one, two, session };
    let path = format!("/permission/{}/reply", town.asked().await);
    let daemon = start(Daemon::builder(), &[&town.one, &town.two]).await;
    assert_eq!(reply(&daemon, &path, json!({"reply": "once"})).await, 200);
    assert_eq!(town.answered_by(&format!("POST {path}")).directory(), Some(town.directory.clone()));
    town.two.finish(&town.session);
}

#[tokio::test]
async fn a_reply_belongs_to_who_asked_even_if_the_session_has_moved_on() {
    let (town, daemon) = Town::asking("ASK SLOW").await;
    let id = town.asked().await;
    let pin = json!({"server": town.one.address()});
    let path = format!("/sessions/{}/owner", town.session);
    daemon.send(daemon.trusted("PUT", &path).json(&pin)).await;
    assert_eq!(daemon.get(&format!("/session/{}", town.session)).await.fake(), town.one.address());
    assert_eq!(reply(&daemon, &format!("/permission/{id}/reply"), json!({"reply": "once"})).await, 200);
    town.answered_by(&format!("POST /permission/{id}/reply"));
    town.two.finish(&town.session);
}

#[tokio::test]
async fn a_permission_that_no_stream_told_of_is_found_in_the_lists() {
    let store = FakeStore::new();
    let one = FakeServer::serve(&store, &store.directory("one")).await;
    let two = FakeServer::serve(&store, &store.directory("two")).await;
    for server in [&one, &two] {
        server.fault("/global/event", Fault::Hang);
    }
    let daemon = start(Daemon::builder(), &[&one, &two]).await;
    for server in [&one, &two] {
        server.wait_for_request("GET /pty").await;
    }
    let session = two.create_session().id;
    two.begin_turn(&session, "ASK SLOW");
    let town = Town { directory: two.directory().to_owned(), one, two, session };
    let path = format!("/permission/{}/reply", town.asked().await);
    assert_eq!(reply(&daemon, &path, json!({"reply": "once"})).await, 200);
    assert_eq!(town.answered_by(&format!("POST {path}")).directory(), Some(town.directory.clone()));
    town.two.finish(&town.session);
}
