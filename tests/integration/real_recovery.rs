//! The official clients, their streams cut in the middle of a turn: what they missed appears by itself.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::support::{
    browser::Browser,
    daemon::Daemon,
    opencode::{OpenCode, Store},
    relay::{Break, Relay},
    screen::Screen,
};

#[tokio::test]
async fn the_web_ui_and_an_attached_terminal_show_what_they_missed_without_a_reload() {
    let store = Store::new().await;
    let project = store.project("project");
    let server = OpenCode::start(&store, &project).await;
    let daemon = Daemon::start([server.url()]).await;
    daemon.hears(&server).await;
    let session = server.create_session().await;
    server.prompt(&session, "say-before").await;

    // Everything between the clients and pointsman passes here.
    let way = Relay::to(daemon.url()).await;
    let origin = BASE64_URL_SAFE_NO_PAD.encode(way.url());
    let mut page = Browser::start();
    page.open(&format!("{}/server/{origin}/session/{session}", way.url())).await;
    page.wait_for("said-before").await;
    let screen = Screen::opencode_attached(&store, &project, &way.url(), &session, "said-before").await;

    let streams = page.streams().await;
    server.prompt_async(&session, "SLOW turn").await;
    store.model.wait_for("SLOW turn").await;
    server.wait_until_busy(&session).await;
    way.set_break(Break::Refuse);
    way.cut();
    store.model.release("SLOW turn");
    server.wait_until_idle(&session).await;
    server.prompt(&session, "say-missed").await;
    way.mend();

    page.wait_for_stream_after(streams).await;
    page.wait_for("said-missed").await;
    screen.wait_for("said-missed").await;
    // And both go on from there.
    server.prompt(&session, "say-after").await;
    page.wait_for("said-after").await;
    screen.wait_for("said-after").await;
    page.end().await;
}
