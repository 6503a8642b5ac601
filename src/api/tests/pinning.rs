//! What `PUT` and `DELETE /sessions/{id}/owner` do.

use http::Method;
use serde_json::{Value, json};

use super::town::{SESSION, Town, id};
use crate::{
    domain::{evidence::Evidence, kind::Kind},
    registry::{server::State, sessions::Found},
};

async fn pin(town: &Town, session: &str, body: &str) -> (u16, Value) {
    let (status, told) = town.ask(Method::PUT, &format!("/sessions/{session}/owner"), body).await;
    (status.as_u16(), told)
}

#[tokio::test]
async fn a_pin_outweighs_all_evidence_until_it_is_taken_back() {
    let town = Town::new(2);
    town.list(SESSION, "Fix the parser", 20);
    town.claim(0, SESSION, Evidence::Busy);
    let (status, told) = pin(&town, SESSION, r#"{"server":"4302"}"#).await;
    assert_eq!((status, &told["owner"], &told["evidence"]), (200, &json!("14302-1"), &json!("pinned")));
    assert_eq!(town.told.lock()[0].moves.len(), 1);
    let path = format!("/sessions/{SESSION}/owner");
    let (status, told) = town.ask(Method::DELETE, &path, "").await;
    assert_eq!((status.as_u16(), &told["owner"]), (200, &json!("14301-1")));
    assert_eq!(town.told.lock()[1].moves.len(), 1);
}

#[tokio::test]
async fn a_later_pin_replaces_an_earlier_one() {
    let town = Town::new(3);
    town.list(SESSION, "Fix the parser", 20);
    for server in ["14303-1", "127.0.0.1:4301", "4302"] {
        let (status, told) = pin(&town, SESSION, &json!({ "server": server }).to_string()).await;
        let pinned = told["claims"].as_array().unwrap().iter().filter(|claim| claim["evidence"] == "pinned");
        assert_eq!((status, pinned.count()), (200, 1), "{server}");
    }
    let Found::In(_, Some(owner)) = town.registry.find(&id(SESSION)) else { panic!("no owner") };
    assert_eq!(owner.server, town.servers[1].key);
}

#[tokio::test]
async fn what_cannot_be_pinned_is_refused_and_changes_nothing() {
    let mut town = Town::new(1);
    town.settle(4302, 1, Kind::Serve, State::Locked);
    town.settle(4303, 2, Kind::Serve, State::Up);
    town.list(SESSION, "Fix the parser", 20);
    for (session, body, status, name) in [
        (SESSION, r#"{"server":"4302"}"#, 409, "ServerLockedError"),
        (SESSION, r#"{"server":"4303"}"#, 409, "OtherStoreError"),
        (SESSION, r#"{"server":"9"}"#, 404, "ServerUnknownError"),
        ("ses_missing", r#"{"server":"4301"}"#, 404, "NotFoundError"),
        (SESSION, r#"{"server":4301}"#, 400, "BadRequest"),
        (SESSION, r#"{"port":"4301"}"#, 400, "BadRequest"),
        (SESSION, r#"{"server":"4301""#, 400, "BadRequest"),
        (SESSION, "", 400, "BadRequest"),
        (SESSION, &"x".repeat(3_000_000), 413, "BodyTooLargeError"),
    ] {
        let (told_status, told) = pin(&town, session, body).await;
        assert_eq!((told_status, &told["name"]), (status, &json!(name)));
    }
    assert!(matches!(town.registry.find(&id(SESSION)), Found::In(_, None)));
    assert_eq!(town.registry.find(&id("ses_missing")), Found::Unknown);
}
