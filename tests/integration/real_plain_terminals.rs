//! Terminals that open no port: with the plugin, a prompt sent through pointsman appears on the screen that shows the
//! session, and on no other, whatever has happened to pointsman meanwhile.

use serde_json::json;

use crate::support::{
    daemon::Daemon,
    eventually::eventually,
    isolation::isolated,
    opencode::{Store, prompt},
    ports::free_port,
    screen::Screen,
};

/// The last of what the model answers.
const ANSWERED: &str = "word2";

/// Starts a session by typing, as a person does, and waits for the answer.
async fn begin(screen: &Screen, text: &str) {
    screen.submit(text).await;
    screen.wait_for(ANSWERED).await;
}

/// Waits until pointsman knows the terminals with these processes, each with a session on its screen; gives these.
async fn shown<const N: usize>(daemon: &Daemon, screens: [&Screen; N]) -> [String; N] {
    eventually("the terminals being known", || async {
        let servers = daemon.servers().await;
        let session = |screen: &Screen| {
            let own =
                servers.iter().find(|server| server["pid"] == screen.pid() && server["state"] == "up")?;
            assert_eq!(own["kind"], "tui");
            own["viewing"].as_str().map(str::to_owned)
        };
        let found: Vec<String> = screens.iter().filter_map(|screen| session(screen)).collect();
        <[String; N]>::try_from(found).map_err(|_| servers.clone())
    })
    .await
}

/// Sends a prompt through pointsman, and waits until it and its answer are stored.
async fn send(daemon: &Daemon, session: &str, text: &str) {
    let sent = daemon.post(&format!("/session/{session}/message"), &prompt(text)).await;
    assert_eq!(sent.status, 200, "{sent:?}");
    assert!(sent.text().contains(ANSWERED), "{sent:?}");
}

/// Sends one prompt for the session on each screen, and sees each on its own and on no other.
async fn each_on_its_own<const N: usize>(
    daemon: &Daemon,
    screens: [&Screen; N],
    sessions: &[String; N],
    word: &str,
) {
    for (at, session) in sessions.iter().enumerate() {
        send(daemon, session, &format!("{word} {at}")).await;
    }
    for (at, screen) in screens.iter().enumerate() {
        screen.wait_for(&format!("{word} {at}")).await;
    }
    // What was answered was told; so what has not come by now does not come.
    for (at, screen) in screens.iter().enumerate() {
        let text = screen.text().await;
        let foreign =
            (0..N).filter(|other| *other != at).find(|other| text.contains(&format!("{word} {other}")));
        assert_eq!(foreign, None, "on the screen {at}:\n{text}");
    }
}

#[tokio::test]
async fn a_prompt_appears_on_the_screen_that_shows_its_session_and_on_no_other() {
    let store = Store::new().await;
    let [shop, bank] = [store.project("shop"), store.project("bank")];
    let mut daemon = Daemon::start(Vec::<String>::new()).await;
    store.install_plugin(&daemon.state_directory()).await;

    // pointsman is started after the terminals.
    daemon.kill9().await;
    let first = Screen::opencode(&store, &shop, &[]).await;
    let (second, third) =
        tokio::join!(Screen::opencode(&store, &shop, &[]), Screen::opencode(&store, &bank, &[]));
    tokio::join!(begin(&first, "alpha"), begin(&second, "beta"), begin(&third, "gamma"));
    daemon.restart().await;
    let screens = [&first, &second, &third];
    let sessions = shown(&daemon, screens).await;
    let status = store.plugin(&["status"]).await;
    for screen in screens {
        assert!(status.contains(&format!("pid {:<8} has it", screen.pid())), "{status}");
    }
    each_on_its_own(&daemon, screens, &sessions, "cold").await;

    // It is killed and started again: they come back by themselves.
    daemon.restart().await;
    assert_eq!(shown(&daemon, screens).await, sessions);
    each_on_its_own(&daemon, screens, &sessions, "again").await;

    // A terminal is closed: its session is served by another, and shown by none.
    let closed = third.pid();
    drop(third);
    eventually("the closed terminal being gone", || async {
        let servers = daemon.servers().await;
        if servers.iter().any(|server| server["pid"] == closed) { Err(servers) } else { Ok(()) }
    })
    .await;
    send(&daemon, &sessions[2], "orphan").await;
    each_on_its_own(&daemon, [&first, &second], &[sessions[0].clone(), sessions[1].clone()], "after").await;
    for screen in [&first, &second] {
        let text = screen.text().await;
        assert!(!text.contains("orphan"), "{text}");
    }

    // The first one's session is resumed on a new screen: now it is meant there, by whatever heartbeats come.
    let resumed = Screen::opencode_showing(&store, &shop, &sessions[0], "alpha").await;
    let [on_screen] = shown(&daemon, [&resumed]).await;
    assert_eq!(on_screen, sessions[0]);
    told_of(&daemon, &resumed, &sessions[0]).await;
    send(&daemon, &sessions[0], "resumed").await;
    resumed.wait_for("resumed").await;
    let text = first.text().await;
    assert!(!text.contains("resumed"), "{text}");
    // Until its user sends something from the first screen again.
    first.submit("typed here").await;
    let typed = sessions[0].as_str();
    told_of(&daemon, &first, typed).await;
    send(&daemon, typed, "returned").await;
    first.wait_for("returned").await;
    let text = resumed.text().await;
    assert!(!text.contains("returned"), "{text}");
    a_hundred_heartbeats(&daemon, typed).await;
}

/// In the name of each screen that shows the session, by turns, beside those that they send themselves: none of them
/// says more than that the screen is as it was, so none changes the owner.
async fn a_hundred_heartbeats(daemon: &Daemon, session: &str) {
    let before = daemon.explain(session).await;
    let viewers = before["viewers"].as_array().unwrap();
    assert_eq!(viewers.len(), 2, "{before}");
    for beat in 0..100 {
        let viewer = &viewers[beat % 2];
        let path = format!("/servers/{}", viewer["id"].as_str().unwrap());
        let said = json!({"viewing": session, "viewing_since": viewer["since"]});
        let taken = daemon.send(daemon.trusted("PUT", &path).json(&said)).await;
        assert_eq!(taken.status, 200, "{taken:?}");
        let now = daemon.explain(session).await;
        assert_eq!((&now["owner"], &now["viewers"]), (&before["owner"], &before["viewers"]), "{beat}");
    }
}

/// With the plugin in its server as well, and found by its socket: still one entry. A password changes nothing.
#[test]
fn a_terminal_is_one_entry_whether_it_opens_a_port_or_wants_a_password() {
    isolated(async || {
        let store = Store::new().await;
        let [shop, bank] = [store.project("shop"), store.project("bank")];
        let daemon = Daemon::builder().scanning().start().await;
        store.install_plugin_for_runs(&daemon.state_directory()).await;
        let port = free_port().to_string();
        let listening = Screen::opencode(&store, &shop, &["--port", &port]).await;
        let locked = Screen::opencode_told(&store, &bank, "OPENCODE_SERVER_PASSWORD", "hunter2").await;
        begin(&listening, "alpha").await;
        begin(&locked, "beta").await;
        let screens = [&listening, &locked];
        let sessions = shown(&daemon, screens).await;
        each_on_its_own(&daemon, screens, &sessions, "once").await;

        let servers = eventually("both having been found and registered", || async {
            let servers = daemon.servers().await;
            let found = servers.iter().find(|server| server["port"] == port.parse::<u16>().unwrap());
            let sources = found.map(|server| server["sources"].to_string()).unwrap_or_default();
            let both = sources.contains("socket") && sources.contains("registration");
            if both { Ok(servers) } else { Err(servers) }
        })
        .await;
        let mut pids: Vec<u64> = servers.iter().filter_map(|server| server["pid"].as_u64()).collect();
        pids.sort_unstable();
        let mut expected = screens.map(|screen| u64::from(screen.pid()));
        expected.sort_unstable();
        assert_eq!(pids, expected, "{servers:?}");
        assert_eq!(daemon.log().matches("registered registration=").count(), 2, "{}", daemon.log());
    });
}

/// Waits until the session's requests go to the terminal.
async fn told_of(daemon: &Daemon, screen: &Screen, session: &str) {
    eventually("the session being the terminal's", || async {
        let known = daemon.explain(session).await;
        let servers = daemon.servers().await;
        let own = servers.iter().find(|server| server["pid"] == screen.pid());
        if own.is_some_and(|own| own["id"] == known["owner"]) { Ok(()) } else { Err(known) }
    })
    .await;
}
