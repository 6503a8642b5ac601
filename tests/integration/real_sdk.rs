//! The clients that `@opencode-ai/sdk` generates, of both versions, with pointsman as their base URL.

use serde_json::{Value, json};

use crate::support::{
    daemon::Daemon,
    opencode::shared,
    script::{Script, patience},
};

/// The two generated clients, in Node.
struct Sdk(Script);

impl Sdk {
    fn start(daemon: &Daemon) -> Self {
        Self(Script::start("sdk", &[daemon.url(), &patience()]))
    }

    /// Calls a method of a client, which must succeed.
    async fn call(&mut self, client: &str, method: &str, parameters: Value) -> Value {
        let request = json!({"client": client, "method": method, "parameters": parameters});
        let answer = self.0.run("call", request).await;
        assert!(answer["error"].is_null(), "{method} of {client}: {answer}");
        answer["data"].clone()
    }

    /// Opens a stream of events under a name. That of a single session has no greeting.
    async fn subscribe(&mut self, name: &str, client: &str, method: &str, parameters: Value) {
        let greets = method != "v2.session.events";
        let mut request = json!({"name": name, "client": client, "method": method});
        request["parameters"] = parameters;
        request["greets"] = json!(greets);
        self.0.run("subscribe", request).await;
    }

    /// Waits for an event that contains all these words.
    async fn expect(&mut self, name: &str, words: &[&str]) {
        self.0.run("expect", json!({"name": name, "words": words})).await;
    }
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|session| session["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_first_generated_client_works_with_the_sessions_of_every_server() {
    let shared = shared().await;
    let elsewhere = shared.store.project("sdk-one").display().to_string();
    let daemon = Daemon::start(shared.urls()).await;
    let mut sdk = Sdk::start(&daemon);
    sdk.subscribe("here", "v1", "event.subscribe", json!([])).await;
    sdk.subscribe("there", "v1", "event.subscribe", json!([{"query": {"directory": elsewhere}}])).await;
    sdk.subscribe("all", "v1", "global.event", json!([])).await;

    // One made behind pointsman's back, one made through it for another project.
    daemon.hears(&shared.higher).await;
    let here = shared.higher.create_session().await;
    let made = json!([{"query": {"directory": elsewhere}, "body": {"title": "there"}}]);
    let made = sdk.call("v1", "session.create", made).await;
    let there = made["id"].as_str().unwrap().to_owned();
    assert_eq!(made["directory"], *elsewhere);
    let listed = sdk.call("v1", "session.list", json!([])).await;
    assert!([&*here, &*there].iter().all(|id| ids(&listed).contains(id)), "{listed}");

    for (session, stream, say) in [(&here, "here", "nearby"), (&there, "there", "faraway")] {
        let path = json!({"id": session});
        let got = sdk.call("v1", "session.get", json!([{"path": path}])).await;
        assert_eq!(got["id"], **session);
        let body = json!({"parts": [{"type": "text", "text": format!("say-{say}")}]});
        let answer = sdk.call("v1", "session.prompt", json!([{"path": path, "body": body}])).await;
        let said = format!("said-{say}");
        assert!(answer["parts"].to_string().contains(&said), "{answer}");
        let messages = sdk.call("v1", "session.messages", json!([{"path": path}])).await;
        assert!(messages.to_string().contains(&said), "{messages}");
        for stream in [stream, "all"] {
            sdk.expect(stream, &["message.part.updated", session, &said]).await;
            sdk.expect(stream, &["session.idle", session]).await;
        }
    }

    let body = json!({"parts": [{"type": "text", "text": "SLOW sdk-one"}]});
    sdk.call("v1", "session.promptAsync", json!([{"path": {"id": here}, "body": body}])).await;
    sdk.expect("here", &["message.part.delta", &here, "slow"]).await;
    assert_eq!(sdk.call("v1", "session.abort", json!([{"path": {"id": here}}])).await, true);
    shared.store.model.wait_until_hung_up("SLOW sdk-one").await;
    sdk.expect("here", &["session.error", &here, "Aborted"]).await;
}

#[tokio::test]
async fn the_second_generated_client_works_with_the_sessions_of_every_server() {
    let shared = shared().await;
    let elsewhere = shared.store.project("sdk-two").display().to_string();
    let daemon = Daemon::start(shared.urls()).await;
    let mut sdk = Sdk::start(&daemon);
    sdk.subscribe("here", "v2", "event.subscribe", json!([])).await;
    sdk.subscribe("there", "v2", "event.subscribe", json!([{"directory": elsewhere}])).await;
    sdk.subscribe("all", "v2", "global.event", json!([])).await;

    daemon.hears(&shared.higher).await;
    let here = shared.higher.create_session().await;
    let made = json!([{"directory": elsewhere, "title": "there"}]);
    let made = sdk.call("v2", "session.create", made).await;
    let there = made["id"].as_str().unwrap().to_owned();
    assert_eq!(made["directory"], *elsewhere);
    let listed = sdk.call("v2", "session.list", json!([])).await;
    assert!([&*here, &*there].iter().all(|id| ids(&listed).contains(id)), "{listed}");
    let listed = sdk.call("v2", "v2.session.list", json!([{"limit": 1000}])).await;
    assert!([&*here, &*there].iter().all(|id| ids(&listed["data"]).contains(id)), "{listed}");

    for (session, stream, say) in [(&here, "here", "nigh"), (&there, "there", "yonder")] {
        let got = sdk.call("v2", "session.get", json!([{"sessionID": session}])).await;
        assert_eq!(got["id"], **session);
        let got = sdk.call("v2", "v2.session.get", json!([{"sessionID": session}])).await;
        assert_eq!(got["data"]["id"], **session);
        let parts = json!([{"type": "text", "text": format!("say-{say}")}]);
        let answer = sdk.call("v2", "session.prompt", json!([{"sessionID": session, "parts": parts}])).await;
        let said = format!("said-{say}");
        assert!(answer["parts"].to_string().contains(&said), "{answer}");
        let messages = sdk.call("v2", "session.messages", json!([{"sessionID": session}])).await;
        assert!(messages.to_string().contains(&said), "{messages}");
        for stream in [stream, "all"] {
            sdk.expect(stream, &["message.part.updated", session, &said]).await;
            sdk.expect(stream, &["session.idle", session]).await;
        }
    }

    let parts = json!([{"type": "text", "text": "SLOW sdk-two"}]);
    sdk.call("v2", "session.promptAsync", json!([{"sessionID": here, "parts": parts}])).await;
    sdk.expect("here", &["message.part.delta", &here, "slow"]).await;
    assert_eq!(sdk.call("v2", "session.abort", json!([{"sessionID": here}])).await, true);
    shared.store.model.wait_until_hung_up("SLOW sdk-two").await;
    sdk.expect("here", &["session.error", &here, "Aborted"]).await;
}

#[tokio::test]
async fn the_second_generated_client_runs_turns_of_the_second_interface() {
    let shared = shared().await;
    let elsewhere = shared.store.project("sdk-native").display().to_string();
    let daemon = Daemon::start(shared.urls()).await;
    let mut sdk = Sdk::start(&daemon);
    sdk.subscribe("native", "v2", "v2.event.subscribe", json!([])).await;
    for directory in [shared.project.display().to_string(), elsewhere] {
        let made = json!([{"location": {"directory": directory}}]);
        let made = sdk.call("v2", "v2.session.create", made).await["data"].clone();
        let session = made["id"].as_str().unwrap();
        assert_eq!(made["location"]["directory"], *directory);
        let turn = json!([{"sessionID": session, "prompt": {"text": "say-native"}}]);
        sdk.call("v2", "v2.session.prompt", turn).await;
        sdk.subscribe(session, "v2", "v2.session.events", json!([{"sessionID": session}])).await;
        sdk.expect(session, &["session.next.step.ended", "stop"]).await;
        let messages = sdk.call("v2", "v2.session.messages", json!([{"sessionID": session}])).await;
        assert!(messages["data"].to_string().contains("said-native"), "{messages}");
    }
}
