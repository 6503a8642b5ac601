//! What is typed into one client appears in all others: terminal, web page, generated client, plain stream.

use serde_json::json;

use crate::{
    real_web::page_of,
    support::{
        browser::Browser,
        daemon::Daemon,
        opencode::{OpenCode, Store},
        screen::Screen,
        script::{Script, patience},
        sse::EventStream,
    },
};

/// Every kind of client, looking at one session.
struct Clients {
    screen: Screen,
    page: Browser,
    sdk: Script,
    stream: EventStream,
}

impl Clients {
    /// Waits until all of them have shown `text`.
    async fn all_show(&mut self, session: &str, text: &str) {
        self.screen.wait_for(text).await;
        self.page.wait_for(text).await;
        let words = ["message.part.updated", session, text];
        for name in ["v1", "v2"] {
            self.sdk.run("expect", json!({"name": name, "words": words})).await;
        }
        self.stream.expect(|event| event.session() == session && event.data.to_string().contains(text)).await;
    }
}

#[tokio::test]
async fn what_is_typed_into_one_client_appears_in_all_others() {
    let store = Store::new().await;
    let [one, two] = [store.project("one"), store.project("two")];
    let (default, owner) = tokio::join!(OpenCode::start(&store, &one), OpenCode::start(&store, &two));
    let daemon = Daemon::start([default.url(), owner.url()]).await;
    daemon.hears(&owner).await;
    let session = owner.create_session().await;
    owner.prompt(&session, "say-first").await;

    let mut page = Browser::start();
    page.open(&page_of(&daemon, &session)).await;
    let screen = Screen::opencode_attached(&store, &one, daemon.url(), &session, "said-first").await;
    let mut sdk = Script::start("sdk", &[daemon.url(), &patience()]);
    let directory = two.display().to_string();
    for (client, method, parameters) in [
        ("v1", "event.subscribe", json!([{"query": {"directory": directory}}])),
        ("v2", "global.event", json!([])),
    ] {
        let mut request = json!({"name": client, "client": client, "method": method, "greets": true});
        request["parameters"] = parameters;
        sdk.run("subscribe", request).await;
    }
    let stream = daemon.events("/global/event").await;
    let mut clients = Clients { screen, page, sdk, stream };

    clients.screen.submit("say-terminal").await;
    clients.all_show(&session, "said-terminal").await;
    clients.page.submit("say-page").await;
    clients.all_show(&session, "said-page").await;
    let parts = json!([{"type": "text", "text": "say-sdk"}]);
    let turn = json!([{"sessionID": session, "parts": parts}]);
    let turn = json!({"client": "v2", "method": "session.prompt", "parameters": turn});
    clients.sdk.run("call", turn).await;
    clients.all_show(&session, "said-sdk").await;
    let turn = json!({"parts": [{"type": "text", "text": "say-plain"}]});
    assert_eq!(daemon.post(&format!("/session/{session}/message"), &turn).await.status, 200);
    clients.all_show(&session, "said-plain").await;
    clients.page.end().await;
    let told = daemon.explain(&session).await;
    assert_eq!(told["ownerPort"], owner.port(), "{told}");
}
