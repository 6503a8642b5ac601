//! The official web UI in a real browser, with pointsman as its server.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::support::{
    browser::Browser,
    daemon::Daemon,
    opencode::{OpenCode, Store},
};

/// The web UI's page of a session.
pub fn page_of(daemon: &Daemon, session: &str) -> String {
    let origin = BASE64_URL_SAFE_NO_PAD.encode(daemon.url());
    format!("{}/server/{origin}/session/{session}", daemon.url())
}

#[tokio::test]
async fn the_web_ui_shows_the_sessions_of_every_server_and_outlives_the_one_that_gave_its_page() {
    let store = Store::new().await;
    let [first, second] = [store.project("first"), store.project("second")];
    let (mut default, survivor) =
        tokio::join!(OpenCode::start(&store, &first), OpenCode::start(&store, &second));
    let mut daemon = Daemon::start([default.url(), survivor.url()]).await;
    daemon.hears(&default).await;
    daemon.hears(&survivor).await;
    assert_eq!(daemon.get("/").await.server(), default.address(), "which one is the default");
    let mut sessions = Vec::new();
    for (server, say) in [(&default, "one"), (&survivor, "two")] {
        let session = server.create_session().await;
        server.prompt(&session, &format!("say-{say}")).await;
        sessions.push((session, format!("said-{say}")));
    }

    let mut page = Browser::start();
    page.open(&format!("{}/", daemon.url())).await;
    page.wait_for("Projects").await;
    for (n, (session, said)) in sessions.iter().enumerate() {
        page.open(&page_of(&daemon, session)).await;
        page.wait_for(said).await;
        page.submit(&format!("say-web{n}")).await;
        page.wait_for(&format!("said-web{n}")).await;
    }
    assert!(given_by(&mut page, &default).await);

    // The page stays open on the survivor's session while the server that gave it goes.
    default.kill9().await;
    daemon.wait_for_servers(1).await;
    page.submit("say-alone").await;
    page.wait_for("said-alone").await;
    // An answer to somebody else's prompt comes by the page's stream alone.
    let (session, _) = &sessions[1];
    survivor.prompt(session, "say-elsewhere").await;
    page.wait_for("said-elsewhere").await;

    page.reload().await;
    page.wait_for("said-elsewhere").await;
    assert!(given_by(&mut page, &survivor).await);
    page.open(&page_of(&daemon, &sessions[0].0)).await;
    page.wait_for("said-web0").await;
    page.submit("say-orphan").await;
    page.wait_for("said-orphan").await;

    // The page's stream is cut, and comes back by itself. What happens in between it does not ask for.
    let streams = page.streams().await;
    daemon.restart().await;
    page.wait_for_stream_after(streams).await;
    page.submit("say-again").await;
    page.wait_for("said-again").await;
    page.end().await;
}

/// Whether this server gave all assets of the page.
async fn given_by(page: &mut Browser, server: &OpenCode) -> bool {
    let assets = page.assets().await;
    println!("{} assets: {assets:?}", assets.len());
    !assets.is_empty()
        && assets.iter().all(|asset| asset["status"] == 200 && asset["server"] == server.address())
}
