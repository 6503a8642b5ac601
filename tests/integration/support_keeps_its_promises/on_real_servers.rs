//! The real thing starts, shares what it should, and is counted.

use crate::support::{
    isolation::isolated,
    opencode::{OpenCode, Store, shared},
    sse::{End, EventStream},
};

#[tokio::test]
async fn real_servers_of_one_store_list_the_same_sessions_and_run_their_own() {
    let store = Store::counting().await;
    let project = store.project("project");
    let (mut one, two) = tokio::join!(OpenCode::start(&store, &project), OpenCode::start(&store, &project));
    let session = one.create_session().await;
    assert_eq!(two.get("/session").await[0]["id"], *session);

    one.prompt_async(&session, "SLOW").await;
    store.model.wait_for("SLOW").await;
    one.wait_until_busy(&session).await;
    assert!(two.get("/session/status").await[&session].is_null(), "busy is known to one process only");
    store.model.release("SLOW");
    one.wait_until_idle(&session).await;
    store.model.wait_until_idle().await;

    one.prompt_async(&session, "ASK").await;
    let permission = one.wait_for_permission(&session).await;
    one.post(&format!("/permission/{permission}/reply"), &serde_json::json!({"reply": "once"})).await;
    one.wait_until_idle(&session).await;

    let opened = store.opened();
    for pid in [one.pid(), two.pid()] {
        assert!(opened.contains(&(project.clone(), pid)), "{opened:?}");
    }
    let comm = std::fs::read_to_string(format!("/proc/{}/comm", one.pid())).unwrap();
    assert_eq!(comm.trim(), "opencode", "the process we know is the server");

    let mut stream = EventStream::open(one.url() + "/global/event").await;
    one.kill9().await;
    assert_eq!(stream.ended().await, End::Cut);
}

#[test]
fn a_real_server_runs_turns_without_a_network() {
    isolated(async || {
        let store = Store::counting().await;
        let project = store.project("project");
        let server = OpenCode::builder(&store, &project).password("secret").start().await;
        let session = server.create_session().await;
        let message = server.prompt(&session, "hello").await;
        assert_eq!(message["info"]["finish"], "stop", "{message}");
        assert_eq!(store.opened().len(), 1, "one instance, and nothing was installed");
    });
}

#[tokio::test]
async fn shared_servers_outlast_the_test_that_started_them() {
    for (owner, stranger) in shared().await.both_ways() {
        let session = owner.create_session().await;
        assert_eq!(owner.prompt(&session, "hello").await["info"]["finish"], "stop");
        assert_eq!(stranger.get(&format!("/session/{session}")).await["id"], *session);
    }
}

#[tokio::test]
async fn shared_servers_serve_the_next_test_as_well() {
    let shared = shared().await;
    let session = shared.higher.create_session().await;
    shared.higher.prompt_async(&session, "SLOW shared").await;
    shared.store.model.wait_for("SLOW shared").await;
    shared.store.model.release("SLOW shared");
    shared.higher.wait_until_idle(&session).await;
}
