//! `opencode attach` without `--dir` names no directory anywhere, and opens the sessions of any project all the same.

use serde_json::json;

use crate::support::{
    daemon::Daemon,
    opencode::{OpenCode, Store},
    screen::Screen,
};

#[tokio::test]
async fn a_terminal_that_names_no_project_works_in_a_listed_session_of_another_one() {
    let store = Store::new().await;
    let [here, there] = [store.project("here"), store.project("there")];
    let (default, other) = tokio::join!(OpenCode::start(&store, &here), OpenCode::start(&store, &there));
    let daemon = Daemon::start([default.url(), other.url()]).await;
    daemon.hears(&other).await;
    let session = other.post("/session", &json!({"title": "the one over there"})).await;
    let session = session["id"].as_str().unwrap();
    assert_eq!(daemon.get("/path").await.server(), default.address(), "which one is the default");

    let screen = Screen::opencode(&store, &here, &["attach", daemon.url()]).await;
    screen.press("C-x").await;
    screen.press("l").await;
    screen.wait_for("Search").await;
    screen.type_text("over there").await;
    screen.wait_for("the one over there").await;
    screen.press("Enter").await;
    screen.wait_for(&there.display().to_string()).await;

    screen.submit("say-hello").await;
    screen.wait_for("said-hello").await;
    let owner = daemon.explain(session).await;
    assert_eq!(owner["ownerPort"], other.port(), "{owner}");

    // Its own agent asks, and another client's turn in the session that stands on the screen does so as well.
    for sent_here in [true, false] {
        if sent_here {
            screen.submit("ASK").await;
        } else {
            other.prompt_async(session, "ASK").await;
        }
        screen.wait_for("Permission required").await;
        screen.press("Enter").await;
        other.wait_until_idle(session).await;
        screen.wait_until_gone("Permission required").await;
    }
}
