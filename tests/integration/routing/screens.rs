//! What types into somebody's screen, or ends running turns, is never sent on a guess.

use serde_json::{Value, json};

use crate::support::{
    daemon::{Answer, Daemon},
    fake::{FakeServer, FakeStore},
    town::{Pair, daemon_before},
};

fn assert_refused(answer: &Answer, name: &str, candidates: &[&FakeServer]) {
    assert_eq!(answer.status, 409, "{answer:?}");
    let error = answer.json();
    assert_eq!(error["name"], name);
    let mut named: Vec<String> = serde_json::from_value(error["data"]["candidates"].clone()).unwrap();
    let mut wanted: Vec<String> = candidates.iter().map(|server| server.address()).collect();
    named.sort();
    wanted.sort();
    assert_eq!(named, wanted);
}

async fn append(daemon: &Daemon, directory: Option<&str>) -> Answer {
    let request = daemon.request("POST", "/tui/append-prompt").json(&json!({"text": "hello"}));
    let named = directory.map(|directory| ("directory", directory));
    daemon.send(request.query(&named.into_iter().collect::<Vec<_>>())).await
}

#[tokio::test]
async fn the_only_screen_of_a_directory_is_typed_into_and_no_other_ever() {
    let store = FakeStore::new();
    let (a, b) = (store.directory("a"), store.directory("b"));
    let served = FakeServer::serve(&store, &a).await;
    let screen = FakeServer::screen(&store, &a).await;
    let twins = [FakeServer::screen(&store, &b).await, FakeServer::screen(&store, &b).await];
    let all = [&screen, &twins[0], &twins[1]];
    let daemon = daemon_before(&[&served, all[0], all[1], all[2]]).await;

    let typed = append(&daemon, Some(&a)).await;
    assert_eq!((typed.status, typed.fake(), typed.route()), (200, &*screen.address(), "only"));
    assert_refused(&append(&daemon, Some(&b)).await, "AmbiguousScreenError", &[&twins[0], &twins[1]]);
    assert_refused(&append(&daemon, None).await, "AmbiguousScreenError", &all);
    assert_refused(&append(&daemon, Some("/nowhere")).await, "AmbiguousScreenError", &all);
    let next = daemon.get("/tui/control/next").await;
    assert_refused(&next, "AmbiguousScreenError", &all);
    let request = daemon.request("POST", "/tui/append-prompt").json(&json!({"text": "hello"}));
    let named = daemon.send(request.header("x-pointsman-server", twins[1].address())).await;
    assert_eq!((named.status, named.fake()), (200, &*twins[1].address()));
    assert!(served.requests_to("POST /tui/*").is_empty());
    assert!(twins[0].requests_to("POST /tui/*").is_empty());
}

#[tokio::test]
async fn a_session_is_selected_on_the_screen_of_its_owner() {
    let store = FakeStore::new();
    let directory = store.directory("a");
    let one = FakeServer::screen(&store, &directory).await;
    let two = FakeServer::screen(&store, &directory).await;
    let daemon = daemon_before(&[&one, &two]).await;
    for owner in [&one, &two] {
        let session = owner.create_session().id;
        daemon.wait_for_owner(&session, owner, "emitted").await;
        let body = json!({"sessionID": session});
        let answer = daemon.post("/tui/select-session", &body).await;
        assert_eq!((answer.status, answer.fake()), (200, &*owner.address()));
        let seen = owner.requests_to("POST /tui/select-session").pop().unwrap();
        assert_eq!(seen.body, serde_json::to_vec(&body).unwrap());
    }
}

#[tokio::test]
async fn what_ends_running_turns_needs_a_name_while_several_can_be_meant() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for path in ["/instance/dispose", "/global/dispose", "/global/upgrade"] {
        let refused = daemon.post(path, &json!({})).await;
        assert_refused(&refused, "AmbiguousDisposalError", &[&pair.low, &pair.high]);
        let named = daemon.request("POST", path).header("x-pointsman-server", pair.high.address());
        assert_eq!(daemon.send(named.json(&json!({}))).await.fake(), pair.high.address());
    }
    for line in ["POST /instance/dispose", "POST /global/*"] {
        assert!(pair.low.requests_to(line).is_empty());
    }
}

#[tokio::test]
async fn what_ends_running_turns_goes_to_the_only_server_there_is() {
    let store = FakeStore::new();
    let only = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&only]).await;
    let disposed = daemon.post("/instance/dispose", &Value::Null).await;
    assert_eq!((disposed.status, disposed.fake()), (200, &*only.address()));
}

#[tokio::test]
async fn what_concerns_one_directory_goes_to_the_only_server_that_has_it_open() {
    let store = FakeStore::new();
    let one = FakeServer::serve(&store, &store.directory("one")).await;
    let two = FakeServer::serve(&store, &store.directory("two")).await;
    let daemon = daemon_before(&[&one, &two]).await;
    for server in [&one, &two] {
        let request = daemon.request("POST", "/instance/dispose").query(&[("directory", server.directory())]);
        assert_eq!(daemon.send(request).await.fake(), server.address());
    }
}
