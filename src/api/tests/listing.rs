//! What `/sessions`, `/sessions/ids` and `/sessions/{id}` show.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::town::{SESSION, Town, id};
use crate::{
    domain::{evidence::Evidence, kind::Kind},
    registry::{Registry, server::State, sessions::Found},
};

fn ids(page: &Value) -> Vec<String> {
    let sessions = page["sessions"].as_array().unwrap();
    sessions.iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect()
}

fn is_unclaimed(registry: &Registry, session: &str) -> bool {
    matches!(registry.find(&id(session)), Found::In(_, None))
}

#[tokio::test]
async fn sessions_come_latest_first_with_their_owners_and_listing_decides_nothing() {
    let town = Town::new(2);
    town.list("ses_old", "Old", 10);
    town.list(SESSION, "Fix the parser", 20);
    town.claim(1, SESSION, Evidence::Busy);
    let page = town.get("/sessions").await;
    assert_eq!(
        page,
        json!({ "sessions": [
            { "id": SESSION, "title": "Fix the parser", "directory": "/home/ann/shop", "ownerPort": 4302,
              "owner": "14302-1", "evidence": "busy", "status": "busy", "updated": 20, "viewers": [] },
            { "id": "ses_old", "title": "Old", "directory": "/home/ann/shop", "ownerPort": null,
              "owner": null, "evidence": "listed", "status": "idle", "updated": 10, "viewers": [] },
        ], "next": null })
    );
    town.get("/sessions/ses_old").await;
    assert!(is_unclaimed(&town.registry, "ses_old"));
}

#[tokio::test]
async fn pages_hold_every_session_once_while_sessions_change() {
    let town = Town::new(1);
    for number in 0..25 {
        // Many share one instant, so that the id must decide.
        town.list(&format!("ses_{number:02}"), "One of many", number / 5);
    }
    let mut seen = Vec::new();
    let mut path = "/sessions?limit=4".to_owned();
    loop {
        let page = town.get(&path).await;
        seen.extend(ids(&page));
        // One that was shown moves to the top, and a new one comes: neither shifts what is left.
        town.list(&seen[0], "Renamed", 1000);
        town.list("ses_new", "New", 2000);
        match page["next"].as_str() {
            Some(next) => path = format!("/sessions?limit=4&cursor={next}"),
            None => break,
        }
    }
    let distinct: BTreeSet<&String> = seen.iter().collect();
    assert_eq!((seen.len(), distinct.len()), (25, 25));
    assert_eq!((seen[0].as_str(), seen[24].as_str()), ("ses_24", "ses_00"));
}

#[tokio::test]
async fn a_list_is_chosen_by_server_directory_and_title() {
    let town = Town::new(2);
    town.list(SESSION, "Fix the Parser", 10);
    town.list("ses_b", "Write the docs", 20);
    town.list_of(0, "ses_child", "Sub-agent", 5, Some(SESSION));
    town.claim(0, "ses_b", Evidence::Emitted);
    town.claim(1, SESSION, Evidence::Emitted);
    for server in ["4302", "127.0.0.1:4302", "14302-1"] {
        assert_eq!(ids(&town.get(&format!("/sessions?server={server}")).await), [SESSION, "ses_child"]);
    }
    assert_eq!(ids(&town.get("/sessions?search=PARSER").await), [SESSION]);
    assert_eq!(ids(&town.get("/sessions?directory=/home/ann/shop/").await).len(), 3);
    assert!(ids(&town.get("/sessions?directory=/home/ann").await).is_empty());
    assert_eq!(town.refused("/sessions?server=9").await.0, 404);
}

#[tokio::test]
async fn limits_and_cursors_that_are_none_are_refused() {
    let town = Town::new(1);
    for query in ["limit=0", "limit=-1", "limit=1001", "limit=many", "limit=", "cursor=xyz", "cursor=e30"] {
        let (status, told) = town.refused(&format!("/sessions?{query}")).await;
        assert_eq!((status, &told["name"]), (400, &json!("BadRequest")), "{query}");
    }
}

#[tokio::test]
async fn every_id_is_written_once_however_many_there_are() {
    let town = Town::new(1);
    assert_eq!(town.get("/sessions/ids").await, json!([]));
    let all: BTreeSet<String> = (0..2500).map(|number| format!("ses_{number}")).collect();
    for session in &all {
        town.list(session, "One of many", 1);
    }
    let told = town.get("/sessions/ids").await;
    let told: Vec<String> = serde_json::from_value(told).unwrap();
    assert_eq!((told.len(), told.into_iter().collect::<BTreeSet<_>>()), (2500, all));
}

#[tokio::test]
async fn a_session_alone_is_shown_with_all_claims_and_the_reason() {
    let town = Town::new(3);
    town.list(SESSION, "Fix the parser", 20);
    town.claim(0, SESSION, Evidence::Routed);
    town.claim(1, SESSION, Evidence::Viewing);
    town.claim(2, SESSION, Evidence::Emitted);
    town.registry.depart(town.servers[2].key);
    let shown = town.get(&format!("/sessions/{SESSION}")).await;
    assert_eq!((&shown["owner"], &shown["evidence"]), (&json!("14302-1"), &json!("viewing")));
    let claims: Vec<(Value, Value, Value)> = shown["claims"]
        .as_array()
        .unwrap()
        .iter()
        .map(|claim| (claim["server"].clone(), claim["evidence"].clone(), claim["gone"].clone()))
        .collect();
    assert_eq!(
        claims,
        [
            (json!("14302-1"), json!("viewing"), json!(false)),
            (json!("14301-1"), json!("routed"), json!(false)),
            (json!(null), json!("emitted"), json!(true)),
        ]
    );
    let reason = shown["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("127.0.0.1:4302 owns this session: its terminal shows the session"),
        "{reason}"
    );
    assert_eq!(shown["suspected"], json!([]));
}

#[tokio::test]
async fn a_sub_agents_session_shows_what_it_inherits() {
    let town = Town::new(2);
    town.list(SESSION, "Parent", 10);
    town.list_of(0, "ses_child", "Child", 20, Some(SESSION));
    town.claim(1, SESSION, Evidence::Busy);
    let shown = town.get("/sessions/ses_child").await;
    assert_eq!((&shown["owner"], &shown["evidence"]), (&json!("14302-1"), &json!("inherited")));
    assert_eq!(shown["claims"][0]["evidence"], "inherited");
    assert_eq!(shown["claims"][1]["evidence"], "listed");
    assert!(shown["reason"].as_str().unwrap().contains(SESSION));
}

#[tokio::test]
async fn a_session_with_a_writer_that_nobody_hears_has_no_owner() {
    let town = Town::new(1);
    town.list(SESSION, "Fix the parser", 20);
    town.claim(0, SESSION, Evidence::Routed);
    town.suspect(77);
    let shown = town.get(&format!("/sessions/{SESSION}")).await;
    assert_eq!((&shown["owner"], &shown["suspected"]), (&json!(null), &json!([77])));
    assert_eq!(town.get("/sessions").await["sessions"][0]["ownerPort"], json!(null));
}

#[tokio::test]
async fn an_unknown_session_is_looked_for_and_then_not_found_in_the_agents_words() {
    let town = Town::new(1);
    town.hide("ses_hidden");
    assert_eq!(town.get("/sessions/ses_hidden").await["evidence"], "listed");
    for missing in ["ses_missing", "nonsense", "ses_%2e%2e"] {
        let (status, told) = town.refused(&format!("/sessions/{missing}")).await;
        assert_eq!((status, &told["name"]), (404, &json!("NotFoundError")));
    }
    let (_, told) = town.refused("/sessions/ses_missing").await;
    assert_eq!(told["data"]["message"], "Session not found: ses_missing");
}

#[tokio::test]
async fn one_id_in_two_stores_is_two_sessions() {
    let mut town = Town::new(1);
    town.settle(4302, 2, Kind::Serve, State::Up);
    town.list_of(0, SESSION, "Here", 10, None);
    town.list_of(1, SESSION, "There", 20, None);
    let (status, told) = town.refused(&format!("/sessions/{SESSION}")).await;
    assert_eq!((status, &told["name"]), (409, &json!("AmbiguousSessionError")));
    assert_eq!(told["data"]["servers"], json!(["127.0.0.1:4301", "127.0.0.1:4302"]));
    assert_eq!(town.get(&format!("/sessions/{SESSION}?server=4302")).await["title"], "There");
    assert_eq!(ids(&town.get("/sessions").await), [SESSION, SESSION]);
    assert_eq!(town.get("/sessions/ids").await, json!([SESSION]));
}
