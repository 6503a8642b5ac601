//! A client that was written for many servers, before there was one address for all: it polls the list of servers,
//! reads one stream of each, learns from events which session lives where, and posts to that server's port itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde_json::Value;

use crate::support::{
    daemon::Daemon,
    eventually::eventually,
    opencode::{OpenCode, Store, prompt},
    sse::EventStream,
};

/// The client, with all it has learned.
struct Client<'d> {
    daemon: &'d Daemon,
    /// By port: where a new prompt for a directory goes if no event has told of the session.
    directories: BTreeMap<u16, String>,
    streams: BTreeMap<u16, EventStream>,
    /// Which port a session's events came from last.
    homes: BTreeMap<String, u16>,
}

impl<'d> Client<'d> {
    fn new(daemon: &'d Daemon) -> Self {
        Self { daemon, directories: BTreeMap::new(), streams: BTreeMap::new(), homes: BTreeMap::new() }
    }

    /// Opens a stream of each server that is new, and forgets those that have gone.
    async fn poll(&mut self) {
        let servers = self.daemon.get("/api/opencode/servers").await.json();
        let told = |server: &Value| {
            let port = server["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
            (port, server["directory"].as_str().expect("a directory").to_owned())
        };
        self.directories = servers.as_array().expect("a list").iter().map(told).collect();
        self.streams.retain(|port, _| self.directories.contains_key(port));
        for port in self.directories.keys() {
            if !self.streams.contains_key(port) {
                let mut stream = self.daemon.events(&format!("/api/sse/{port}")).await;
                stream.expect_kind("server.connected").await;
                self.streams.insert(*port, stream);
            }
        }
    }

    /// Polls until it knows these servers and no others.
    async fn poll_until(&mut self, servers: &[&OpenCode]) {
        let wanted: BTreeSet<u16> = servers.iter().map(|server| server.port()).collect();
        let listed = |daemon: &'d Daemon| async move {
            let servers = daemon.get("/api/opencode/servers").await.json();
            let ports =
                servers.as_array().expect("a list").iter().filter_map(|server| server["port"].as_u64());
            ports.filter_map(|port| u16::try_from(port).ok()).collect::<BTreeSet<_>>()
        };
        let daemon = self.daemon;
        eventually("the servers in the list", || async {
            let ports = listed(daemon).await;
            if ports == wanted { Ok(()) } else { Err(ports) }
        })
        .await;
        self.poll().await;
    }

    /// The sessions of all servers, each once, whoever lists them.
    async fn sessions(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for port in self.directories.keys() {
            let list = self.daemon.get(&format!("/api/opencode/{port}/session")).await.json();
            let ids = list.as_array().expect("a list").iter().filter_map(|row| row["id"].as_str());
            all.extend(ids.map(str::to_owned));
        }
        all
    }

    /// Posts a prompt to where the session was heard last, else to the server of its directory.
    async fn send(&self, session: &str, directory: &Path, text: &str) -> u16 {
        let of_directory = || {
            let named = directory.to_str().expect("a text");
            self.directories.iter().find(|(_, directory)| *directory == named).map(|(port, _)| *port)
        };
        let port = self.homes.get(session).copied().or_else(of_directory).expect("a server");
        let path = format!("/api/opencode/{port}/session/{session}/prompt_async");
        let answer = self.daemon.post(&path, &prompt(text)).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        assert!(answer.server().ends_with(&format!(":{port}")), "{answer:?}");
        port
    }

    /// Reads that server's stream up to the end of the session's turn, and notes where its sessions live.
    async fn hear_a_turn(&mut self, session: &str, port: u16) {
        let stream = self.streams.get_mut(&port).expect("a stream");
        stream.expect(|event| event.kind() == "session.idle" && event.session() == session).await;
        let of_turn = || stream.seen().iter().filter(|event| event.session() == session);
        assert!(
            of_turn().any(|event| event.kind() == "message.part.delta"),
            "the answer came as it was made"
        );
        let ids: Vec<_> = stream.seen().iter().map(|event| event.session().to_owned()).collect();
        for id in ids.into_iter().filter(|id| !id.is_empty()) {
            self.homes.insert(id, port);
        }
    }
}

#[tokio::test]
async fn a_client_of_many_servers_finds_prompts_and_hears_each_at_its_port() {
    let store = Store::new().await;
    let (shop, bank) = (store.project("shop"), store.project("bank"));
    let (mut one, two) = tokio::join!(OpenCode::start(&store, &shop), OpenCode::start(&store, &bank));
    let daemon = Daemon::start([one.url(), two.url()]).await;
    let mut client = Client::new(&daemon);
    client.poll_until(&[&one, &two]).await;

    let (in_shop, in_bank) = (one.create_session().await, two.create_session().await);
    assert_eq!(client.sessions().await, BTreeSet::from([in_shop.clone(), in_bank.clone()]));
    for (server, session, directory) in [(&one, &in_shop, &shop), (&two, &in_bank, &bank)] {
        let port = client.send(session, directory, "hello").await;
        assert_eq!(port, server.port());
        client.hear_a_turn(session, port).await;
        assert_eq!(client.homes[session], server.port(), "the session's home was learned");
    }

    // The other keeps its stream and its session when one goes.
    one.kill9().await;
    client.poll_until(&[&two]).await;
    let port = client.send(&in_bank, &bank, "again").await;
    client.hear_a_turn(&in_bank, port).await;
}
