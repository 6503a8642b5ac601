//! What a plugin inside an agent tells the daemon, told by the test.

use serde_json::{Map, Value, json};

use super::{
    daemon::{Answer, Daemon},
    eventually::eventually,
    fake::{FakeServer, FakeStore, Invocation},
};

/// The plugin of one process.
pub struct Plugin {
    said: Value,
    id: Option<String>,
}

impl Plugin {
    /// In a terminal without a port: what the daemon reaches is the plugin's own listener, which wants `token`.
    pub fn of_terminal(fake: &FakeServer, token: &str) -> Self {
        Self::new(json!({
            "pid": fake.pid(), "url": fake.url(), "kind": "tui", "plugin": true, "token": token,
            "directory": fake.directory(), "version": "1.18.33",
        }))
    }

    /// In a process that listens by itself.
    pub fn of_server(fake: &FakeServer, kind: &str) -> Self {
        Self::new(json!({
            "pid": fake.pid(), "url": fake.url(), "kind": kind, "plugin": false, "directory": fake.directory(),
        }))
    }

    /// In a terminal attached by URL. Its process is this test's own.
    pub fn attached_to(url: &str) -> Self {
        Self::new(json!({"pid": std::process::id(), "url": url, "kind": "attach", "plugin": false}))
    }

    fn new(mut said: Value) -> Self {
        said["protocol"] = 1.into();
        said["instance"] = super::fake::new_id("ins").into();
        Self { said, id: None }
    }

    /// Says something else in this field from now on.
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.said[field] = value.into();
        self
    }

    /// The id that the daemon gave.
    pub fn id(&self) -> &str {
        self.id.as_deref().expect("it is registered")
    }

    /// Registers, whatever the answer.
    pub async fn knock(&self, daemon: &Daemon) -> Answer {
        daemon.send(daemon.trusted("POST", "/servers").json(&self.said)).await
    }

    /// Registers; gives the status.
    pub async fn register(&mut self, daemon: &Daemon) -> u16 {
        let answer = self.knock(daemon).await;
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        self.id = answer.json()["id"].as_str().map(str::to_owned);
        answer.status
    }

    /// Registers, after a restart of the daemon whose address is the same.
    pub async fn register_patiently(&mut self, daemon: &Daemon) {
        eventually("a registration", || async {
            let answer = self.knock(daemon).await;
            if answer.status < 300 { Ok(()) } else { Err(answer) }
        })
        .await;
        self.register(daemon).await;
    }

    /// A heartbeat, whatever the answer.
    pub async fn beat(&self, daemon: &Daemon, body: &Value) -> Answer {
        let path = format!("/servers/{}", self.id());
        daemon.send(daemon.trusted("PUT", &path).json(body)).await
    }

    /// The screen shows `session` since then.
    pub async fn views(&self, daemon: &Daemon, session: Option<&str>, since: Option<u64>) {
        let mut body = Map::from_iter([("viewing".to_owned(), json!(session))]);
        body.extend(since.map(|since| ("viewing_since".to_owned(), since.into())));
        let answer = self.beat(daemon, &body.into()).await;
        assert_eq!((answer.status, &answer.json()["id"]), (200, &json!(self.id())), "{answer:?}");
    }

    /// Says goodbye, whatever the answer.
    pub async fn farewell(&self, daemon: &Daemon) -> Answer {
        daemon.send(daemon.trusted("DELETE", &format!("/servers/{}", self.id()))).await
    }
}

/// A terminal without a port of its own: its plugin's listener, which wants `token`.
pub async fn terminal(store: &FakeStore, directory: &str, token: &str) -> FakeServer {
    FakeServer::builder(store, directory).invocation(Invocation::Screen).bearer(token).start().await
}
