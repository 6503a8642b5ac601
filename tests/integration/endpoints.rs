//! Our own endpoints.

use serde_json::{Value, json};

use crate::support::{
    daemon::Daemon,
    fake::{FakeServer, FakeSession, FakeStore, now_ms},
    town::{Pair, daemon_before, start},
};

#[tokio::test]
async fn a_server_is_told_with_all_that_is_known_of_it() {
    let store = FakeStore::new();
    let directory = store.directory("a");
    let served = FakeServer::serve(&store, &directory).await;
    let screen = FakeServer::screen(&store, &store.directory("b")).await;
    let daemon = daemon_before(&[&served, &screen]).await;
    let session = served.create_session().id;
    daemon.wait_for_owner(&session, &served, "emitted").await;
    let before = now_ms();
    let servers = daemon.servers().await;
    let of = |fake: &FakeServer| servers.iter().find(|server| server["port"] == fake.port()).unwrap();
    let told = of(&served);
    for (key, value) in [
        ("pid", json!(served.pid())),
        ("directory", json!(directory)),
        ("directories", json!([directory])),
        ("worktree", json!(directory)),
        ("project", json!(store.project_of(&directory))),
        ("version", json!("1.18.33")),
        ("url", json!(served.url())),
        ("state", json!("up")),
        ("kind", json!("serve")),
        ("sources", json!(["configured"])),
        ("sessionCount", json!(1)),
        ("sessions", json!([session])),
    ] {
        assert_eq!(told[key], value, "{key}");
    }
    assert!(told["id"].as_str().unwrap().len() > 4);
    assert!(told["since"].as_u64().unwrap() <= before);
    assert_eq!(told["store"], of(&screen)["store"]);
    assert_eq!((&of(&screen)["kind"], &of(&screen)["sessionCount"]), (&json!("tui"), &json!(0)));
    let short = daemon.get("/servers?sessions=false").await.json();
    assert!(short[0].get("sessions").is_none() && short[0]["sessionCount"].is_number(), "{short}");
    assert_eq!(daemon.get("/api/opencode/servers").await.json(), daemon.get("/servers").await.json());
}

#[tokio::test]
async fn only_sessions_owned_by_evidence_count_as_a_servers_own() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let listed = pair.store.insert_new(&pair.directory).id;
    assert_eq!(daemon.get(&format!("/session/{listed}")).await.status, 200);
    let turned = pair.store.insert_new(&pair.directory).id;
    assert_eq!(daemon.turn(&turned, "hello").await.status, 200);
    let servers = daemon.servers().await;
    let owned: Vec<&Value> =
        servers.iter().flat_map(|server| server["sessions"].as_array().unwrap()).collect();
    assert_eq!(owned, [&json!(turned)]);
}

#[tokio::test]
async fn sessions_are_paged_and_filtered() {
    let store = FakeStore::new();
    let one = FakeServer::serve(&store, &store.directory("one")).await;
    let two = FakeServer::serve(&store, &store.directory("two")).await;
    let start_ms = now_ms() - 1_000_000;
    for number in 0..12 {
        let directory = if number % 3 == 0 { two.directory() } else { one.directory() };
        let mut row = FakeSession::created_at(directory, start_ms + number * 1000);
        row.title = format!("Title {number:02}");
        store.insert(row);
    }
    let daemon = daemon_before(&[&one, &two]).await;
    let titles = |page: &Value| -> Vec<String> {
        let rows = page["sessions"].as_array().unwrap().iter();
        rows.map(|row| row["title"].as_str().unwrap().to_owned()).collect()
    };
    let all: Vec<String> = (0..12).rev().map(|number| format!("Title {number:02}")).collect();
    let mut walked = Vec::new();
    let mut path = "/sessions?limit=5".to_owned();
    loop {
        let page = daemon.get(&path).await.json();
        walked.extend(titles(&page));
        let Some(next) = page["next"].as_str() else { break };
        assert!(walked.len() < all.len());
        path = format!("/sessions?limit=5&cursor={next}");
    }
    assert_eq!(walked, all);
    let here = daemon.send(daemon.request("GET", "/sessions").query(&[("directory", two.directory())])).await;
    assert_eq!(titles(&here.json()), ["Title 09", "Title 06", "Title 03", "Title 00"]);
    let found = daemon.get("/sessions?search=TITLE%200&limit=2").await.json();
    assert_eq!(titles(&found), ["Title 09", "Title 08"]);
    let created = two.create_session().id;
    daemon.wait_for_owner(&created, &two, "emitted").await;
    let owned = daemon.get(&format!("/sessions?server={}", two.port())).await.json();
    assert_eq!(owned["sessions"][0]["id"], *created);
    assert_eq!(owned["sessions"].as_array().unwrap().len(), 1, "{owned}");
    for (query, status) in [("limit=0", 400), ("limit=x", 400), ("cursor=x", 400), ("server=1", 404)] {
        let refused = daemon.get(&format!("/sessions?{query}")).await;
        assert_eq!(refused.status, status, "{query}: {refused:?}");
        assert!(refused.json()["data"]["message"].is_string());
    }
    let ids = daemon.get("/sessions/ids").await.text();
    assert_eq!(ids.matches("ses_").count(), 13, "{ids}");
}

#[tokio::test]
async fn a_session_is_explained_with_all_claims_and_a_reason() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let session = pair.high.create_session().id;
    pair.high.begin_turn(&session, "SLOW");
    let told = daemon.wait_for_owner(&session, &pair.high, "busy").await;
    assert_eq!((&told["id"], &told["status"]), (&json!(session), &json!("busy")));
    assert_eq!(told["directory"], *pair.directory);
    let claims = told["claims"].as_array().unwrap();
    assert_eq!((&claims[0]["evidence"], &claims[0]["pid"]), (&json!("busy"), &json!(pair.high.pid())));
    assert!(claims.iter().any(|claim| claim["evidence"] == "emitted"), "{told}");
    assert!(told["reason"].as_str().unwrap().contains(&pair.high.address()), "{told}");
    assert_eq!(told["suspected"], json!([]));
    pair.high.finish(&session);
    let told = daemon.wait_for_owner(&session, &pair.high, "emitted").await;
    assert_eq!(told["status"], "idle");
    let unknown = daemon.get("/sessions/ses_unknown").await;
    assert_eq!((unknown.status, &unknown.json()["name"]), (404, &json!("NotFoundError")));
}

#[tokio::test]
async fn a_session_deleted_anywhere_is_listed_no_more() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let session = pair.low.create_session().id;
    daemon.wait_for_owner(&session, &pair.low, "emitted").await;
    assert_eq!(daemon.delete(&format!("/session/{session}")).await.status, 200);
    assert_eq!(daemon.get(&format!("/sessions/{session}")).await.status, 404);
    assert!(!daemon.get("/sessions/ids").await.text().contains(&session));
}

#[tokio::test]
async fn readiness_is_told_once_the_first_round_is_done_and_life_at_once() {
    let daemon = start(Daemon::builder(), &[]).await;
    let alive = daemon.get("/healthz").await;
    assert_eq!((alive.status, daemon.get("/readyz").await.status), (200, 200));
    let head = daemon.send(daemon.request("HEAD", "/healthz")).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn the_metrics_can_be_read_and_count() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let session = pair.low.create_session().id;
    daemon.wait_for_owner(&session, &pair.low, "emitted").await;
    daemon.turn(&session, "hello").await;
    let answer = daemon.get("/metrics").await;
    assert!(answer.header("content-type").starts_with("application/openmetrics-text"), "{answer:?}");
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("pointsman_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.rsplit_once(' ').is_some_and(|(key, _)| key == name));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!((value("pointsman_servers{state=\"up\"}") - 2.0).abs() < 0.1);
    assert!(
        (value("pointsman_route_decisions_total{route=\"owner\",evidence=\"emitted\"}") - 1.0).abs() < 0.1
    );
}

#[tokio::test]
async fn the_description_names_every_endpoint_and_others_are_told_so() {
    let daemon = start(Daemon::builder(), &[]).await;
    let description = daemon.get("/openapi.json").await.json();
    assert!(description["openapi"].as_str().unwrap().starts_with("3."));
    for path in
        ["/servers", "/sessions", "/sessions/{id}", "/sessions/ids", "/sessions/{id}/owner", "/metrics"]
    {
        assert!(description["paths"].get(path).is_some(), "{path}");
    }
    let missing = daemon.get("/servers/nowhere/at/all").await;
    assert_eq!((missing.status, &missing.json()["name"]), (404, &json!("NotFoundError")));
    let wrong = daemon.post("/sessions", &json!({})).await;
    assert_eq!((wrong.status, &wrong.json()["name"]), (405, &json!("MethodNotAllowedError")));
}
