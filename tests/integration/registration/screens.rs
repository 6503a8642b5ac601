//! What screens show: evidence where they are a server's, presence always; and requests that reach the right screen.

use serde_json::{Value, json};

use crate::support::{
    daemon::{Answer, Daemon},
    eventually::eventually,
    fake::{FakeServer, FakeStore},
    plugin::{Plugin, terminal},
};

/// Two terminals without ports in one directory and one in another, each registered.
struct Town {
    daemon: Daemon,
    store: FakeStore,
    fakes: Vec<FakeServer>,
    plugins: Vec<Plugin>,
}

impl Town {
    async fn new() -> Self {
        let store = FakeStore::new();
        let (a, b) = (store.directory("a"), store.directory("b"));
        let daemon = Daemon::builder().start_unready().await;
        let (mut fakes, mut plugins) = (Vec::new(), Vec::new());
        for directory in [&a, &a, &b] {
            let fake = terminal(&store, directory, "its").await;
            let mut plugin = Plugin::of_terminal(&fake, "its");
            plugin.register(&daemon).await;
            fake.wait_for_streams(1).await;
            fakes.push(fake);
            plugins.push(plugin);
        }
        Self { daemon, store, fakes, plugins }
    }

    async fn viewers(&self, session: &str) -> Vec<Value> {
        self.daemon.explain(session).await["viewers"].as_array().cloned().unwrap_or_default()
    }

    async fn tui(&self, path: &str, directory: Option<&str>) -> Answer {
        let request = self.daemon.request("POST", path).json(&json!({"text": "hello", "message": "x"}));
        let named = directory.map(|directory| ("directory", directory));
        self.daemon.send(request.query(&named.into_iter().collect::<Vec<_>>())).await
    }
}

#[tokio::test]
async fn a_prompt_goes_to_the_screen_that_shows_its_session_and_to_no_other() {
    let town = Town::new().await;
    let session = town.store.insert_new(town.fakes[0].directory()).id;
    for (place, since) in [(1, 1000), (0, 2000), (2, 3000)] {
        town.plugins[place].views(&town.daemon, Some(&session), Some(since)).await;
        let answer = town.daemon.turn(&session, "hello").await;
        let (fake, route) = (answer.fake().to_owned(), answer.route().to_owned());
        assert_eq!((fake, &*route), (town.fakes[place].address(), "owner; evidence=viewing"));
        let servers = town.daemon.servers().await;
        let own = servers.iter().find(|server| server["id"] == town.plugins[place].id()).unwrap();
        assert_eq!(own["viewing"], *session);
    }
    let viewers = town.viewers(&session).await;
    let times: Vec<_> = viewers.iter().map(|viewer| viewer["since"].as_u64().unwrap()).collect();
    assert_eq!((viewers.len(), times.iter().sum::<u64>()), (3, 6000));
    // The last screen goes on to something else, and the one before has it again.
    town.plugins[2].views(&town.daemon, None, None).await;
    assert_eq!(town.daemon.turn(&session, "hello").await.fake(), town.fakes[0].address());
    assert_eq!(town.viewers(&session).await.len(), 2);
}

#[tokio::test]
async fn two_screens_on_one_session_and_a_hundred_heartbeats_change_no_owner() {
    let town = Town::new().await;
    let session = town.store.insert_new(town.fakes[0].directory()).id;
    let mut events = town.daemon.events("/global/event").await;
    events.next().await;
    town.plugins[0].views(&town.daemon, Some(&session), Some(2000)).await;
    town.plugins[1].views(&town.daemon, Some(&session), Some(1000)).await;
    for _ in 0..50 {
        town.plugins[1].views(&town.daemon, Some(&session), Some(1000)).await;
        assert_eq!(town.plugins[0].beat(&town.daemon, &json!({})).await.status, 200);
        assert_eq!(town.daemon.explain(&session).await["ownerPort"], town.fakes[0].port());
    }
    // The user sends from the second one: its time is newer then.
    town.plugins[1].views(&town.daemon, Some(&session), Some(3000)).await;
    assert_eq!(town.daemon.explain(&session).await["ownerPort"], town.fakes[1].port());
    let moved = events.expect_kind("pointsman.session.moved").await;
    assert_eq!(moved.properties()["to"], town.plugins[1].id());
    let seen = events.seen().iter();
    let told: Vec<_> = seen.filter(|event| event.kind().starts_with("pointsman.session")).collect();
    let kinds: Vec<_> = told.iter().map(|event| event.kind()).collect();
    assert_eq!(kinds, ["pointsman.session.viewed", "pointsman.session.viewed", "pointsman.session.moved"]);
}

#[tokio::test]
async fn a_screen_that_moves_is_told_for_both_sessions() {
    let town = Town::new().await;
    let [one, two] = [0, 1].map(|_| town.store.insert_new(town.fakes[0].directory()).id);
    town.plugins[0].views(&town.daemon, Some(&one), None).await;
    let mut events = town.daemon.events("/global/event").await;
    events.next().await;
    town.plugins[0].views(&town.daemon, Some(&two), None).await;
    for (session, viewing) in [(&one, false), (&two, true)] {
        let told = events.expect_kind("pointsman.session.viewed").await;
        let id = town.plugins[0].id();
        assert_eq!(
            told.properties(),
            &json!({"sessionID": session, "viewer": id, "server": id, "kind": "tui", "viewing": viewing})
        );
    }
}

#[tokio::test]
async fn a_terminal_attached_to_us_is_present_and_changes_no_owner_by_looking() {
    let town = Town::new().await;
    let session = town.fakes[0].create_session().id;
    town.daemon.wait_for_owner(&session, &town.fakes[0], "emitted").await;
    let mut attached = Plugin::attached_to(town.daemon.url());
    assert_eq!(attached.register(&town.daemon).await, 201);
    assert!(attached.id().starts_with("scr_"));
    attached.views(&town.daemon, Some(&session), None).await;
    let told = town.daemon.explain(&session).await;
    assert_eq!((&told["ownerPort"], &told["evidence"]), (&json!(town.fakes[0].port()), &json!("emitted")));
    let viewers = town.viewers(&session).await;
    assert_eq!(viewers.len(), 1);
    assert_eq!((&viewers[0]["server"], &viewers[0]["kind"]), (&Value::Null, &json!("attach")));
    assert_eq!(town.daemon.servers().await.len(), 3, "it is no server");
    assert_eq!(attached.farewell(&town.daemon).await.status, 204);
    assert!(town.viewers(&session).await.is_empty());
}

#[tokio::test]
async fn a_terminal_attached_to_a_server_counts_for_that_server() {
    let store = FakeStore::new();
    let directory = store.directory("a");
    let servers = [FakeServer::serve(&store, &directory).await, FakeServer::serve(&store, &directory).await];
    let daemon = Daemon::start(servers.iter().map(FakeServer::url)).await;
    let session = store.insert_new(&directory).id;
    let mut screens =
        servers.each_ref().map(|server| Plugin::attached_to(&format!("http://localhost:{}/", server.port())));
    for (place, since) in [(1, 1000), (0, 2000)] {
        screens[place].register(&daemon).await;
        screens[place].views(&daemon, Some(&session), Some(since)).await;
        daemon.wait_for_owner(&session, &servers[place], "viewing").await;
    }
    screens[0].farewell(&daemon).await;
    daemon.wait_for_owner(&session, &servers[1], "viewing").await;
}

#[tokio::test]
async fn a_screen_whose_lease_has_ended_counts_no_longer_while_its_server_lives_on() {
    let town = Town::new().await;
    let session = town.store.insert_new(town.fakes[0].directory()).id;
    town.plugins[0].views(&town.daemon, Some(&session), None).await;
    assert_eq!(town.viewers(&session).await.len(), 1);
    // No heartbeat comes any more.
    eventually("the end of the lease", || async {
        let told = town.daemon.explain(&session).await;
        let over = told["viewers"] == json!([]) && told["evidence"] != "viewing";
        if over { Ok(()) } else { Err(told) }
    })
    .await;
    let lapsed = town.plugins[0].beat(&town.daemon, &json!({})).await;
    assert_eq!((lapsed.status, &lapsed.json()["name"]), (404, &json!("NotFoundError")));
    let servers = town.daemon.servers().await;
    let own = servers.iter().find(|server| server["id"] == town.plugins[0].id()).unwrap();
    assert_eq!((&own["state"], &own["viewing"]), (&json!("up"), &Value::Null));
    let request = town.daemon.request("GET", "/config").header("x-pointsman-server", town.plugins[0].id());
    assert_eq!(town.daemon.send(request).await.status, 200, "its token is still known");
}

#[tokio::test]
async fn a_screen_is_found_again_after_a_restart_of_ours_and_is_no_newer_for_it() {
    let mut town = Town::new().await;
    let session = town.store.insert_new(town.fakes[0].directory()).id;
    town.daemon.restart_unready().await;
    for (place, since) in [(0, 2000), (1, 1000)] {
        let plugin = town.plugins.remove(place);
        let mut plugin = plugin.with("viewing", session.clone()).with("viewing_since", since);
        plugin.register(&town.daemon).await;
        town.plugins.insert(place, plugin);
    }
    let answer = town.daemon.turn(&session, "hello").await;
    let (fake, route) = (answer.fake().to_owned(), answer.route().to_owned());
    assert_eq!((fake, &*route), (town.fakes[0].address(), "owner; evidence=viewing"));
}

#[tokio::test]
async fn what_concerns_a_screen_reaches_the_only_one_of_the_directory_or_the_named_one() {
    let town = Town::new().await;
    let (a, b) = (town.fakes[0].directory().to_owned(), town.fakes[2].directory().to_owned());
    for path in ["/tui/append-prompt", "/tui/submit-prompt", "/tui/show-toast", "/tui/clear-prompt"] {
        let reached = town.tui(path, Some(&b)).await;
        assert_eq!((reached.status, reached.fake()), (200, &*town.fakes[2].address()), "{path}");
        for directory in [Some(&*a), None] {
            let refused = town.tui(path, directory).await;
            assert_eq!((refused.status, &refused.json()["name"]), (409, &json!("AmbiguousScreenError")));
            let count = if directory.is_some() { 2 } else { 3 };
            assert_eq!(refused.json()["data"]["candidates"].as_array().unwrap().len(), count);
        }
        for name in [town.fakes[1].address(), town.plugins[1].id().to_owned()] {
            let request = town.daemon.request("POST", path).header("x-pointsman-server", name);
            let named = town.daemon.send(request.json(&json!({"text": "hello"}))).await;
            assert_eq!((named.status, named.fake()), (200, &*town.fakes[1].address()));
        }
    }
    assert!(town.fakes[0].requests_to("POST /tui/*").is_empty());
}

#[tokio::test]
async fn a_session_is_selected_on_its_owners_screen_or_the_only_one_of_its_directory() {
    let town = Town::new().await;
    let select =
        async |session: &str| town.daemon.post("/tui/select-session", &json!({"sessionID": session})).await;
    let owned = town.fakes[1].create_session().id;
    town.daemon.wait_for_owner(&owned, &town.fakes[1], "emitted").await;
    assert_eq!(select(&owned).await.fake(), town.fakes[1].address());
    town.plugins[0].views(&town.daemon, Some(&owned), None).await;
    assert_eq!(select(&owned).await.fake(), town.fakes[0].address(), "its screen shows it");
    let lone = town.store.insert_new(town.fakes[2].directory()).id;
    assert_eq!(select(&lone).await.fake(), town.fakes[2].address());
    // Nobody owns it, and two screens could be meant: a choice that is good enough to read from is none to act on.
    let unowned = town.store.insert_new(town.fakes[0].directory()).id;
    for _ in 0..2 {
        let refused = select(&unowned).await;
        assert_eq!((refused.status, &refused.json()["name"]), (409, &json!("AmbiguousScreenError")));
        assert_eq!(town.daemon.get(&format!("/session/{unowned}")).await.status, 200);
    }
}
