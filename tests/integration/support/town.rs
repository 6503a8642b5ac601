//! A daemon that knows its fake servers well, and the few requests that most tests make.

use serde_json::{Value, json};

use super::{
    daemon::{Answer, Builder, Daemon},
    eventually::eventually,
    fake::{FakeServer, FakeStore, Outcome},
    ports::two_free_ports,
};

/// Two `opencode serve` of one store in one directory: whatever one lists, the other lists too.
pub struct Pair {
    pub store: FakeStore,
    pub directory: String,
    /// The one with the lower port, which a tie-break prefers.
    pub low: FakeServer,
    pub high: FakeServer,
}

impl Pair {
    pub async fn start() -> Self {
        let store = FakeStore::new();
        let directory = store.directory("project");
        let (low, high) = two_free_ports();
        let low = serve_on(&store, &directory, low).await;
        let high = serve_on(&store, &directory, high).await;
        Self { store, directory, low, high }
    }

    pub async fn daemon(&self) -> Daemon {
        daemon_before(&[&self.low, &self.high]).await
    }

    /// Both ways round: (owner, the other).
    pub fn both_ways(&self) -> [(&FakeServer, &FakeServer); 2] {
        [(&self.low, &self.high), (&self.high, &self.low)]
    }
}

/// An `opencode serve` on a certain port.
pub async fn serve_on(store: &FakeStore, directory: &str, port: u16) -> FakeServer {
    let builder = FakeServer::builder(store, directory).invocation(super::fake::Invocation::Serve);
    builder.port(port).start().await
}

/// A daemon that hears all of these servers and has been told of their directories.
pub async fn daemon_before(servers: &[&FakeServer]) -> Daemon {
    let daemon = start(Daemon::builder(), servers).await;
    acquainted(servers).await;
    daemon
}

/// The same with settings of its own, and without waiting for more than readiness.
pub async fn start(builder: Builder, servers: &[&FakeServer]) -> Daemon {
    builder.servers(servers.iter().map(|server| server.url())).start().await
}

/// Waits until a daemon hears each of these and has asked it all that it asks of a new server.
pub async fn acquainted(servers: &[&FakeServer]) {
    for server in servers {
        server.wait_for_streams(1).await;
        server.wait_for(|request| request.is("GET /pty") && request.outcome == Outcome::Answered).await;
    }
}

/// The body of a turn.
pub fn prompt(text: &str) -> Value {
    json!({"parts": [{"type": "text", "text": text}]})
}

impl Daemon {
    /// Sends a turn and takes the answer.
    pub async fn turn(&self, session: &str, text: &str) -> Answer {
        self.post(&format!("/session/{session}/message"), &prompt(text)).await
    }

    /// Waits until `server` owns `session` by `evidence`; gives the explanation.
    pub async fn wait_for_owner(&self, session: &str, server: &FakeServer, evidence: &str) -> Value {
        eventually(&format!("{} owning {session} as {evidence}", server.address()), || async {
            let told = self.explain(session).await;
            let is = told["ownerPort"] == server.port() && told["evidence"] == evidence;
            if is { Ok(told) } else { Err(told) }
        })
        .await
    }
}
