//! Two real servers of one store, each in a project of its own behind a relay that notes what passes, and pointsman
//! before the relays.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};

use super::expected::Raise;
use crate::support::{
    daemon::{Answer, Daemon},
    eventually::eventually,
    opencode::{OpenCode, Store},
    relay::{MARK, Relay},
};

pub struct TwoServers {
    pub daemon: Daemon,
    pub sides: [Side; 2],
    store: Store,
    marks: AtomicUsize,
}

/// One of them.
pub struct Side {
    pub server: OpenCode,
    pub relay: Relay,
    pub directory: PathBuf,
    pub project: String,
    /// A session of this server's with a turn behind it.
    pub session: String,
    pub message: String,
    pub part: String,
    /// A session whose turn goes on.
    busy: String,
}

/// An answer, and the servers that were asked for it, by their places in [`TwoServers::sides`]: as often as asked.
pub struct Sent {
    pub answer: Answer,
    pub reached: Vec<usize>,
}

impl TwoServers {
    pub async fn start() -> Self {
        let store = Store::new().await;
        let (one, two) = (store.project("one"), store.project("two"));
        let servers = tokio::join!(OpenCode::start(&store, &one), OpenCode::start(&store, &two));
        let relays = [Relay::posing_as(&servers.0, &store).await, Relay::posing_as(&servers.1, &store).await];
        let daemon = Daemon::start(relays.iter().map(Relay::url)).await;
        daemon.hears(&servers.0).await;
        daemon.hears(&servers.1).await;
        let [first, second] = relays;
        // What is made before pointsman hears a server is anybody's.
        let (one, two) = tokio::join!(Side::furnished(servers.0, first), Side::furnished(servers.1, second));
        let this = Self { daemon, sides: [one, two], store, marks: AtomicUsize::new(1) };
        for side in &this.sides {
            this.knows_owner(&side.session, side).await;
        }
        this
    }

    /// Sends a request through pointsman.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Sent {
        let mark = self.mark();
        let answer = self.daemon.send(request.header(MARK, &mark)).await;
        Sent { answer, reached: self.reached(&mark) }
    }

    /// Sends a request that may be held open: it is let go as soon as it has reached a server, or was answered.
    /// The status is there if it was answered first.
    pub async fn send_and_let_go(&self, request: reqwest::RequestBuilder) -> (Option<u16>, Vec<usize>) {
        let mark = self.mark();
        let [one, two] = &self.sides;
        let status = tokio::select! {
            answer = self.daemon.send(request.header(MARK, &mark)) => Some(answer.status),
            () = one.relay.wait_for_mark(&mark) => None,
            () = two.relay.wait_for_mark(&mark) => None,
        };
        (status, self.reached(&mark))
    }

    /// A mark that no request has carried.
    pub fn mark(&self) -> String {
        self.marks.fetch_add(1, Ordering::Relaxed).to_string()
    }

    /// Who got the request with this mark.
    pub fn reached(&self, mark: &str) -> Vec<usize> {
        let times = |(at, side): (usize, &Side)| vec![at; side.relay.marked(mark).len()];
        self.sides.iter().enumerate().flat_map(times).collect()
    }

    /// A new session of this server's that pointsman knows to be its.
    pub async fn session_of(&self, side: &Side) -> String {
        let session = side.server.create_session().await;
        self.knows_owner(&session, side).await;
        session
    }

    /// Ends the turns that still run.
    pub async fn end_turns(&self) {
        self.store.model.release("SLOW");
        for side in &self.sides {
            side.server.wait_until_idle(&side.busy).await;
        }
    }

    async fn knows_owner(&self, session: &str, side: &Side) {
        let known = |answer: &Answer| {
            answer.status == 200 && {
                let known = answer.json();
                known["ownerPort"] == side.port() && known["evidence"] != "listed"
            }
        };
        self.daemon.wait_for_answer(&format!("/sessions/{session}"), known).await;
    }
}

impl Side {
    async fn furnished(server: OpenCode, relay: Relay) -> Self {
        let directory = server.directory().to_owned();
        std::fs::write(directory.join("readme.txt"), format!("of project {}\n", directory.display()))
            .unwrap();
        let project = server.get("/project/current").await["id"].as_str().unwrap().to_owned();
        let session = server.create_session().await;
        let turn = server.prompt(&session, "hello").await;
        let id = |place: &str| turn.pointer(place).unwrap().as_str().unwrap().to_owned();
        let (message, part) = (id("/info/id"), id("/parts/0/id"));
        let busy = server.create_session().await;
        server.prompt_async(&busy, "SLOW").await;
        server.wait_until_busy(&busy).await;
        let side = Self { server, relay, directory, project, session, message, part, busy };
        side.furnish().await;
        side
    }

    /// One of everything that the merged lists show.
    async fn furnish(&self) {
        for raise in [
            Raise::Permission,
            Raise::Question,
            Raise::Terminal,
            Raise::SecondPermission,
            Raise::SecondQuestion,
            Raise::SecondTerminal,
        ] {
            self.raise(raise).await;
        }
    }

    pub fn port(&self) -> u16 {
        self.relay.address().rsplit(':').next().unwrap().parse().unwrap()
    }

    /// Asks past pointsman and the relay.
    pub async fn direct(&self, path: &str) -> Answer {
        let response = self.server.request("GET", path).send().await.expect("it answers");
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await.expect("the answer is complete"),
            took: std::time::Duration::ZERO,
        }
    }

    /// The parameter by which a request names this project.
    pub fn directory_parameter(&self, second_interface: bool) -> String {
        let name = if second_interface { "location[directory]" } else { "directory" };
        format!("{name}={}", self.directory.display())
    }

    /// Waits until this list has a row of this session; gives its id.
    pub async fn wait_for_row(&self, list: &str, session: &str) -> String {
        eventually(&format!("{list} having something of {session}"), || async {
            let answer = self.server.get(list).await;
            let rows = answer.get("data").unwrap_or(&answer);
            let own = rows.as_array().into_iter().flatten().find(|row| row["sessionID"] == *session);
            own.and_then(|row| row["id"].as_str()).map(str::to_owned).ok_or(answer.clone())
        })
        .await
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        self.server.post(path, &body).await
    }

    pub async fn new_session(&self) -> String {
        self.server.create_session().await
    }

    /// Starts a turn of the second interface.
    pub async fn second_prompt(&self, session: &str, text: &str) {
        self.post(&format!("/api/session/{session}/prompt"), json!({"prompt": {"text": text}})).await;
    }
}
