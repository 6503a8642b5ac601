//! A terminal that is attached to pointsman and approves everything leaves alone what is not its project's.

use std::path::Path;

use serde_json::json;

use crate::support::{
    daemon::Daemon,
    eventually::eventually,
    opencode::{OpenCode, Store, prompt},
    relay::{Break, Relay},
    screen::Screen,
};

#[tokio::test]
async fn an_attached_terminal_that_approves_everything_leaves_the_permission_of_another_project_open() {
    let store = Store::new().await;
    let [one, two] = [store.project("one"), store.project("two")];
    let server = OpenCode::start(&store, &one).await;
    let daemon = Daemon::start([server.url()]).await;
    let here = one.display().to_string();

    {
        let attached = Screen::opencode(&store, &one, &["attach", daemon.url(), "--dir", &here]).await;
        attached.approve_everything().await;
        let foreign = ask(&server, &two).await;
        // Its own project's, asked for later, it does answer: so it has seen everything before.
        let own = ask(&server, &one).await;
        answered(&server, &one, &own).await;
        assert_eq!(open_in(&server, &two).await, [foreign.as_str()], "of another project: left open");
        let messages = server.get(&format!("/session/{foreign}/message")).await.to_string();
        assert!(!messages.contains(r#""status":"completed""#), "nothing ran: {messages}");
    }

    // The control: attached to the server itself, the same terminal approves what is none of its business.
    let attached = Screen::opencode(&store, &one, &["attach", &server.url(), "--dir", &here]).await;
    attached.approve_everything().await;
    let foreign = ask(&server, &two).await;
    answered(&server, &two, &foreign).await;
}

#[tokio::test]
async fn one_that_was_cut_off_and_comes_back_still_approves_nothing_of_another_project() {
    let store = Store::new().await;
    let [one, two] = [store.project("one"), store.project("two")];
    let server = OpenCode::start(&store, &one).await;
    let daemon = Daemon::start([server.url()]).await;
    daemon.hears(&server).await;
    // Everything between the terminal and pointsman passes here.
    let way = Relay::to(daemon.url()).await;
    let here = one.display().to_string();
    let attached = Screen::opencode(&store, &one, &["attach", &way.url(), "--dir", &here]).await;
    attached.approve_everything().await;
    let mut foreign = vec![ask(&server, &two).await];
    for _ in 0..2 {
        way.set_break(Break::Refuse);
        way.cut();
        foreign.push(ask(&server, &two).await);
        let own = ask(&server, &one).await;
        way.mend();
        // It is back: what its own project asked for meanwhile it is told, and approves.
        answered(&server, &one, &own).await;
        foreign.push(ask(&server, &two).await);
        // And goes on with what is asked for later.
        let own = ask(&server, &one).await;
        answered(&server, &one, &own).await;
    }
    let mut open = open_in(&server, &two).await;
    open.sort_unstable();
    foreign.sort_unstable();
    assert_eq!(open, foreign, "of another project: all left open");
}

#[tokio::test]
async fn an_attached_terminal_that_names_no_project_approves_for_the_default_servers_own_alone() {
    let store = Store::new().await;
    let [one, two] = [store.project("one"), store.project("two")];
    let server = OpenCode::start(&store, &one).await;
    let daemon = Daemon::start([server.url()]).await;
    let attached = Screen::opencode(&store, &two, &["attach", daemon.url()]).await;
    attached.approve_everything().await;
    let foreign = ask(&server, &two).await;
    let own = ask(&server, &one).await;
    answered(&server, &one, &own).await;
    assert_eq!(open_in(&server, &two).await, [foreign.as_str()]);
}

/// A new session whose turn asks for a permission; gives the session, once the permission is asked for.
async fn ask(server: &OpenCode, directory: &Path) -> String {
    let created = format!("/session?directory={}", directory.display());
    let session = server.post(&created, &json!({})).await["id"].as_str().unwrap().to_owned();
    let mut events = server.global_events().await;
    let turn = server.request("POST", &format!("/session/{session}/prompt_async")).json(&prompt("ASK"));
    assert_eq!(turn.send().await.unwrap().status(), 204);
    events.expect(|event| event.kind() == "permission.asked" && event.session() == session).await;
    session
}

/// Waits until the session's permission was granted and its tool has run.
async fn answered(server: &OpenCode, directory: &Path, session: &str) {
    eventually("the permission being granted", || async {
        let messages = server.get(&format!("/session/{session}/message")).await.to_string();
        let open = open_in(server, directory).await;
        let granted = !open.iter().any(|id| id == session) && messages.contains(r#""status":"completed""#);
        if granted { Ok(()) } else { Err(messages) }
    })
    .await;
}

/// The sessions whose permissions wait in a directory.
async fn open_in(server: &OpenCode, directory: &Path) -> Vec<String> {
    let open = server.get(&format!("/permission?directory={}", directory.display())).await;
    let sessions = open.as_array().unwrap().iter();
    sessions.map(|asked| asked["sessionID"].as_str().unwrap().to_owned()).collect()
}
