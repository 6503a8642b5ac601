//! Events that make a client act reach only those whom they concern.

use serde_json::json;

use crate::support::{
    daemon::Daemon,
    fake::{FakeServer, FakeStore, new_id},
    sse::{EventStream, Received},
    town::daemon_before,
};

/// Two servers of two projects; the first, with the lower port, is the default.
struct Town {
    one: FakeServer,
    two: FakeServer,
    daemon: Daemon,
}

impl Town {
    async fn start() -> Self {
        let (low, high) = crate::support::ports::two_free_ports();
        let store = FakeStore::new();
        let one = crate::support::town::serve_on(&store, &store.directory("one"), low).await;
        let two = crate::support::town::serve_on(&store, &store.directory("two"), high).await;
        let daemon = daemon_before(&[&one, &two]).await;
        Self { one, two, daemon }
    }

    async fn listen(&self, directory: Option<&str>, headers: &[(&str, &str)], query: &str) -> EventStream {
        let mut request = self.daemon.request("GET", &format!("/global/event{query}"));
        if let Some(directory) = directory {
            request = request.query(&[("directory", directory)]);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut stream = EventStream::open_with(request).await;
        assert_eq!(stream.next().await.kind(), "server.connected");
        stream
    }

    /// Emits an event of this kind in the second project, then a marker, and tells whether `stream` saw the first.
    async fn shows(&self, stream: &mut EventStream, kind: &str) -> bool {
        let mark = json!({"id": new_id("per"), "sessionID": "ses_1", "text": "x"});
        self.two.emit(self.two.directory(), kind, mark.clone());
        self.two.emit(self.two.directory(), "test.marker", mark.clone());
        stream.expect(|event| event.kind() == "test.marker" && *event.properties() == mark).await;
        stream.seen().iter().any(|event| event.kind() == kind && *event.properties() == mark)
    }
}

const CALLS: [&str; 2] = ["permission.asked", "question.asked"];

#[tokio::test]
async fn a_call_for_attention_reaches_those_who_work_in_its_directory() {
    let town = Town::start().await;
    let mut here = town.listen(Some(town.two.directory()), &[], "").await;
    let mut elsewhere = town.listen(Some(town.one.directory()), &[], "").await;
    let mut browser_elsewhere =
        town.listen(Some(town.one.directory()), &[("sec-fetch-site", "same-origin")], "").await;
    for kind in CALLS {
        assert!(town.shows(&mut here, kind).await, "{kind}");
        assert!(!town.shows(&mut elsewhere, kind).await, "{kind}");
        assert!(!town.shows(&mut browser_elsewhere, kind).await, "{kind}");
    }
}

#[tokio::test]
async fn who_names_no_directory_sees_foreign_calls_only_as_a_browser_or_on_request() {
    let town = Town::start().await;
    let mut others = [
        town.listen(None, &[], "").await,
        // As the `fetch` of a script on Node has it.
        town.listen(None, &[("sec-fetch-mode", "cors")], "").await,
    ];
    let mut browsers = [
        town.listen(None, &[("origin", "http://localhost:3000")], "").await,
        town.listen(None, &[("sec-fetch-site", "same-origin")], "").await,
        town.listen(None, &[], "?attention=all").await,
    ];
    for kind in CALLS {
        for other in &mut others {
            assert!(!town.shows(other, kind).await, "{kind}");
        }
        for browser in &mut browsers {
            assert!(town.shows(browser, kind).await, "{kind}");
        }
    }
    // Those of the default server's own directory are everybody's.
    town.one.emit(town.one.directory(), "permission.asked", json!({"id": "per_2", "sessionID": "ses_2"}));
    for other in &mut others {
        other.expect_kind("permission.asked").await;
    }
}

#[tokio::test]
async fn a_screen_is_moved_only_for_who_named_its_server() {
    let town = Town::start().await;
    let named = town.two.address();
    let mut named = town.listen(None, &[("x-pointsman-server", &named)], "").await;
    let other = town.one.address();
    let mut others = [
        town.listen(None, &[("x-pointsman-server", &other)], "").await,
        town.listen(None, &[("origin", "http://localhost:3000")], "?attention=all").await,
        town.listen(Some(town.two.directory()), &[], "").await,
    ];
    for kind in ["tui.prompt.append", "tui.command.execute", "tui.toast.show", "tui.session.select"] {
        assert!(town.shows(&mut named, kind).await, "{kind}");
        for other in &mut others {
            assert!(!town.shows(other, kind).await, "{kind}");
        }
    }
}

#[tokio::test]
async fn a_disposal_is_told_where_it_happened_and_once_for_all_servers_at_once() {
    let town = Town::start().await;
    let directory = town.two.directory();
    let mut here = town.listen(Some(directory), &[], "").await;
    let mut elsewhere = town.listen(Some(town.one.directory()), &[], "").await;
    let disposed = json!({"directory": directory});
    // Both servers have had it open, and both close it for one reason.
    town.one.emit(directory, "server.instance.disposed", disposed.clone());
    town.two.emit(directory, "server.instance.disposed", disposed);
    for server in [&town.one, &town.two] {
        server.emit(directory, "test.marker", json!({}));
    }
    let is_disposal = |event: &Received| event.kind() == "server.instance.disposed";
    for _ in 0..2 {
        here.expect_kind("test.marker").await;
        elsewhere.until(|event| event.kind() == "test.marker", is_disposal).await;
    }
    assert_eq!(here.seen().iter().filter(|event| is_disposal(event)).count(), 1);
}

#[tokio::test]
async fn an_idle_of_a_server_that_never_ran_the_turn_is_withheld_while_another_does() {
    let town = Town::start().await;
    let session = town.one.create_session().id;
    town.one.begin_turn(&session, "SLOW");
    town.daemon.wait_for_owner(&session, &town.one, "busy").await;
    let mut stream = town.listen(None, &[], "?attention=all").await;
    town.two.forge_idle(&session);
    town.two.emit(town.two.directory(), "test.marker", json!({}));
    let is_idle =
        |event: &Received| event.kind() == "session.idle" || event.properties()["status"]["type"] == "idle";
    stream.until(|event| event.kind() == "test.marker", is_idle).await;
    // The true one passes, and so does one when nobody is busy.
    town.one.finish(&session);
    stream.expect(|event| event.kind() == "session.idle" && event.session() == session).await;
    town.two.forge_idle(&session);
    stream.expect(|event| event.kind() == "session.idle" && event.session() == session).await;
}
