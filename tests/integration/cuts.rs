//! Connections that break off at any byte, on either side of the daemon, again and again: every screen ends up as a
//! reload would show it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{
    daemon::Daemon,
    eventually::eventually,
    fake::{FakeServer, FakeStore, Fault},
    relay::{Break, Relay},
    restless::{Memory, Restless},
    shown::Shown,
};

const SEEDS: [u64; 3] = [1, 2, 3];
const SERVERS: usize = 6;
const SCREENS: usize = 24;

/// How often connections are cut for each seed, at most: a busy machine cuts as often as it can in the time there is.
const CUTS_TO_SCREENS: usize = 800;
const CUTS_TO_SERVERS: usize = 40;
const STORM: Duration = Duration::from_secs(20);

#[tokio::test]
async fn however_often_streams_are_cut_on_either_side_every_screen_shows_what_a_reload_would() {
    join_all(SEEDS.map(storm)).await;
}

#[tokio::test]
async fn what_came_behind_one_cut_and_went_behind_the_next_is_taken_off_all_screens() {
    let mut town = Town::start().await;
    let daemon = Daemon::start([town.relay.url()]).await;
    town.server.wait_for_streams(1).await;
    let mut stream = daemon.events("/global/event?attention=all").await;
    // It is not looked up either: what is known of it, streams have told.
    town.server.fault("GET /api/session", Fault::Drop);
    town.relay.set_break(Break::Refuse);
    town.relay.cut();
    town.create();
    town.relay.mend();
    let session = town.sessions[0].clone();
    stream.expect(|event| event.kind() == "session.created" && event.session() == session).await;
    town.server.begin_turn(&session, "ASK");
    stream.expect(|event| event.kind() == "permission.asked" && event.session() == session).await;

    town.relay.set_break(Break::Refuse);
    town.relay.cut();
    town.come_to_rest().await;
    town.ask("DELETE", &format!("/session/{session}"), &Value::Null).await;
    town.server.lift_faults();
    town.relay.mend();
    stream.expect(|event| event.kind() == "session.deleted" && event.session() == session).await;
    let mut shown = Shown::default();
    stream.seen().iter().for_each(|event| shown.apply(event));
    assert!(shown.unlike(&Shown::default()).is_empty(), "{shown:?}");
}

/// A life between cuts, all of it decided by `seed` but for what happens at the same time.
async fn storm(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut towns = Vec::new();
    for _ in 0..SERVERS {
        towns.push(Town::start().await);
    }
    let daemon = Daemon::start(towns.iter().map(|town| town.relay.url())).await;
    for town in &mut towns {
        town.server.wait_for_streams(1).await;
        town.create();
        hear(&daemon, &town.sessions[0]).await;
    }
    let calm = Arc::new(AtomicBool::new(false));
    let mut screens = Vec::new();
    for n in 0..SCREENS {
        screens.push(Restless::start(&daemon, Memory::of(n), rng.random(), &calm).await);
    }
    let before: usize = towns.iter().map(|town| town.relay.connections()).sum();
    let began = Instant::now();
    let (to_screens, to_servers) = loop {
        let to_screens = screens.iter().map(Restless::cuts).sum::<usize>();
        let to_servers = towns.iter().map(|town| town.relay.connections()).sum::<usize>() - before;
        let is_over = to_screens >= CUTS_TO_SCREENS && to_servers >= CUTS_TO_SERVERS;
        if is_over || (began.elapsed() > STORM && to_screens > 0 && to_servers > 0) {
            break (to_screens, to_servers);
        }
        for town in &mut towns {
            if rng.random_ratio(1, 4) {
                town.relay.set_break(Break::Cut(rng.random_range(150..4000)));
            }
            for _ in 0..rng.random_range(0..3) {
                town.live(&mut rng).await;
            }
        }
        sleep(Duration::from_millis(10)).await;
    };
    println!(
        "seed {seed}: {to_screens} cuts to screens and {to_servers} to servers in {:?}",
        began.elapsed()
    );

    calm.store(true, Ordering::Relaxed);
    let mut truth = Vec::new();
    for town in &mut towns {
        town.relay.mend();
        town.come_to_rest().await;
        truth.push((town.sessions.clone(), Shown::reloaded(&town.sessions, &town.server.url()).await));
    }
    screens.iter().for_each(Restless::mend);
    for (n, screen) in screens.iter().enumerate() {
        for (sessions, reloaded) in &truth {
            let what = format!("seed {seed}, screen {n} ({:?}) of {sessions:?}", screen.memory());
            eventually(&what, || async {
                let unlike = screen.shows().of(sessions).unlike(reloaded);
                if unlike.is_empty() { Ok(()) } else { Err(unlike) }
            })
            .await;
        }
        let shown = screen.shows();
        assert!(shown.created.values().all(|times| *times == 1), "seed {seed}: {:?}", shown.created);
        assert_eq!(screen.resets(), 0, "seed {seed}, screen {n}");
    }
}

/// A server behind a relay, and what happens there.
struct Town {
    store: FakeStore,
    server: FakeServer,
    relay: Relay,
    directory: String,
    sessions: Vec<String>,
    client: reqwest::Client,
}

impl Town {
    async fn start() -> Self {
        let store = FakeStore::new();
        let directory = "/fake/project".to_owned();
        let server = FakeServer::start(&store, &directory).await;
        let relay = Relay::to(&server.url()).await;
        Self { store, server, relay, directory, sessions: Vec::new(), client: reqwest::Client::new() }
    }

    fn create(&mut self) {
        self.sessions.push(self.server.create_session().id);
    }

    /// Something that happens.
    async fn live(&mut self, rng: &mut StdRng) {
        let session = self.sessions[rng.random_range(0..self.sessions.len())].clone();
        let Some(row) = self.store.get(&session) else { return };
        let is_busy = self.server.is_busy(&session);
        match rng.random_range(0..12) {
            0 if self.sessions.len() < 6 => self.create(),
            1 if !is_busy && self.sessions.len() > 2 && rng.random_ratio(1, 6) => {
                self.ask("DELETE", &format!("/session/{session}"), &Value::Null).await;
            }
            1..=3 if !is_busy => self.server.begin_turn(&session, "SLOW"),
            4 if !is_busy => self.server.begin_turn(&session, "ASK"),
            2..=7 if is_busy => self.server.delta(&session, &"more ".repeat(rng.random_range(1..30))),
            8 | 9 => self.end(&session).await,
            _ if !is_busy => {
                if let Some(message) = row.messages.first() {
                    let id = message["info"]["id"].clone();
                    self.store.edit(&session, |row| drop(row.messages.remove(0)));
                    let properties = json!({"sessionID": session, "messageID": id});
                    self.server.emit(&self.directory, "message.removed", properties);
                }
            }
            _ => {}
        }
    }

    /// Ends a turn: by the answer it waits for, if it does.
    async fn end(&self, session: &str) {
        let asked = self.server.permissions(session);
        for permission in &asked {
            self.ask("POST", &format!("/permission/{permission}/reply"), &json!({"reply": "once"})).await;
        }
        if asked.is_empty() {
            self.server.finish(session);
        }
    }

    async fn come_to_rest(&self) {
        eventually("the end of all turns", || async {
            let busy: Vec<_> = self.sessions.iter().filter(|session| self.server.is_busy(session)).collect();
            for session in &busy {
                self.end(session).await;
            }
            if busy.is_empty() { Ok(()) } else { Err(format!("{busy:?}")) }
        })
        .await;
    }

    async fn ask(&self, method: &str, path: &str, body: &Value) {
        let request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.server.url()));
        assert!(request.json(body).send().await.unwrap().status().is_success(), "{method} {path}");
    }
}

async fn hear(daemon: &Daemon, session: &str) {
    eventually("pointsman hearing a server", || async {
        let known = daemon.explain(session).await;
        if known["evidence"] == "emitted" { Ok(()) } else { Err(known) }
    })
    .await;
}
