//! What a server asked before it died stands on no screen any more.

use crate::support::{
    daemon::Daemon,
    opencode::{OpenCode, Store},
    screen::Screen,
};

#[tokio::test]
async fn a_permission_leaves_the_screen_when_its_asker_dies_and_the_session_goes_on() {
    let store = Store::new().await;
    let [here, there] = [store.project("here"), store.project("there")];
    let (survivor, mut asker) = tokio::join!(OpenCode::start(&store, &here), OpenCode::start(&store, &there));
    let daemon = Daemon::start([survivor.url(), asker.url()]).await;
    daemon.hears(&survivor).await;
    daemon.hears(&asker).await;
    let session = asker.create_session().await;
    asker.prompt(&session, "say-first").await;
    let screen = Screen::opencode_attached(&store, &here, daemon.url(), &session, "said-first").await;
    screen.submit("say-hello").await;
    screen.wait_for("said-hello").await;

    asker.prompt_async(&session, "ASK").await;
    screen.wait_for("Permission required").await;
    asker.kill9().await;
    screen.wait_until_gone("Permission required").await;

    screen.submit("say-again").await;
    screen.wait_for("said-again").await;
    let owner = daemon.explain(&session).await;
    assert_eq!(owner["ownerPort"], survivor.port(), "{owner}");
}
