//! Servers that hang, fail and lie.

use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::town::{Manner, Town, session};
use crate::{opencode::lists::List, proxy::merge::MergeError, registry::server::State};

fn says(kind: &'static str, body: &str) -> Manner {
    Manner::Says(StatusCode::OK, kind, body.to_owned())
}

/// Servers on stores of their own, one session each.
fn town(servers: u16) -> Town {
    let town = Town::new();
    for number in 0..servers {
        town.server(4000 + number, number.into(), "/a");
        town.put(number.into(), [session(number.into(), "/a", number.into(), number.into())]);
    }
    town
}

fn count(body: &[u8]) -> usize {
    serde_json::from_slice::<Vec<serde_json::Value>>(body).unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn whoever_hangs_breaks_or_lies_is_left_out_and_named() {
    for (manner, reason) in [
        (Manner::Hangs, "timeout"),
        (Manner::Breaks, "failed"),
        (Manner::Says(StatusCode::INTERNAL_SERVER_ERROR, "application/json", "{}".into()), "failed"),
        (Manner::Says(StatusCode::UNAUTHORIZED, "text/plain", String::new()), "locked"),
        (Manner::Says(StatusCode::FOUND, "text/html", String::new()), "malformed"),
        (says("text/html", "<!doctype html>"), "malformed"),
        (says("application/json", ""), "malformed"),
        (says("application/json", "{}"), "malformed"),
        (says("application/json", "null"), "malformed"),
        (says("application/json", "[1]"), "malformed"),
        (says("application/json", "[{}]"), "malformed"),
        (says("application/json", r#"[{"id":"ses_1"}]"#), "malformed"),
        (says("application/json", r#"[{"id":"per_1","time":{"created":1,"updated":1}}]"#), "malformed"),
        (says("application/json", r#"[{"id":"ses_1","time":{"created":1,"updated":1}}"#), "malformed"),
        (says("application/json", r#"[{"id":"ses_1","time":{"created":1,"updated":1}},]"#), "malformed"),
        (says("application/json", r#"[{"id":"ses_1","time":{"created":1,"updated":1}}] x"#), "malformed"),
        (says("application/json", r#"[,{"id":"ses_1","time":{"created":1,"updated":1}}]"#), "malformed"),
    ] {
        let town = town(3);
        let shown = format!("{manner:?}");
        town.behave(4001, manner);
        let start = Instant::now();
        let merged = town.get(List::Sessions, "").await.unwrap();
        assert!(start.elapsed() <= Duration::from_millis(2001), "{shown}");
        assert_eq!(count(&merged.body), 2, "{shown}");
        assert_eq!(
            merged.headers["x-pointsman-partial"],
            format!("127.0.0.1:4001; reason={reason}"),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn every_list_leaves_out_what_is_no_such_list() {
    for list in List::ALL {
        for lie in ["<html>", "[[]]", r#"{"data":{"x":1},"cursor":{}}"#, r#"{"data":[1],"cursor":{}}"#, "5"] {
            let town = town(2);
            town.behave(4001, says("application/json", lie));
            let merged = town.get(list, "").await.unwrap();
            let partial = &merged.headers["x-pointsman-partial"];
            assert_eq!(partial, "127.0.0.1:4001; reason=malformed", "{list:?} {lie}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn another_server_of_the_store_stands_in_long_before_the_deadline() {
    for manner in [Manner::Hangs, Manner::Breaks, says("text/html", "<html>")] {
        let town = Town::new();
        town.server(4001, 0, "/a");
        town.server(4002, 0, "/a");
        town.put(0, [session(1, "/a", 1, 1)]);
        town.behave(4001, manner);
        for list in [List::Sessions, List::ExperimentalSessions, List::ApiSessions, List::Projects] {
            let start = Instant::now();
            let merged = town.get(list, "").await.unwrap();
            assert!(start.elapsed() <= Duration::from_millis(501), "{list:?}");
            assert!(!merged.headers.contains_key("x-pointsman-partial"), "{list:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_with_many_directories_keeps_no_place_from_the_others() {
    let town = Town::new();
    for number in 0..100 {
        town.server(4000 + number, number.into(), "/a");
    }
    town.behave(4000, Manner::Hangs);
    for number in 0..300 {
        town.registry.servers.now().iter().next().unwrap().directories.note(&format!("/d{number}"));
    }
    let start = Instant::now();
    let merged = town.get(List::Permissions, "").await.unwrap();
    assert!(start.elapsed() <= Duration::from_millis(2001));
    assert_eq!(merged.headers["x-pointsman-partial"], "127.0.0.1:4000; reason=timeout");
}

#[tokio::test]
async fn silent_and_locked_servers_are_named_and_not_asked() {
    let town = town(3);
    let servers: Vec<_> = town.registry.servers.now().iter().cloned().collect();
    town.set_state(&servers[0], State::Stalled);
    town.set_state(&servers[1], State::Locked);
    for list in List::ALL {
        let merged = town.get(list, "").await.unwrap();
        let partial = "127.0.0.1:4000; reason=stalled, 127.0.0.1:4001; reason=locked";
        assert_eq!(merged.headers["x-pointsman-partial"], partial, "{list:?}");
        assert!(town.asked().iter().all(|(port, _)| *port == 4002), "{list:?}");
    }
}

#[tokio::test]
async fn a_silent_server_lacks_nothing_where_another_one_reads_its_store() {
    let town = Town::new();
    let silent = town.server(4001, 0, "/a");
    town.server(4002, 0, "/a");
    town.set_state(&silent, State::Stalled);
    let partial = |merged: crate::proxy::merge::Merged| merged.headers.contains_key("x-pointsman-partial");
    for list in [List::Sessions, List::ExperimentalSessions, List::ApiSessions, List::Projects] {
        assert!(!partial(town.get(list, "").await.unwrap()), "{list:?}");
        assert!(!partial(town.get_for(list, "directory=/a", Some("/a")).await.unwrap()), "{list:?}");
    }
    assert!(partial(town.get(List::Permissions, "").await.unwrap()));
    assert!(partial(town.get_for(List::Permissions, "directory=/a", Some("/a")).await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn with_no_answer_at_all_the_error_tells_who_and_why() {
    let nobody = Town::new().get(List::Sessions, "").await;
    assert!(matches!(nobody, Err(MergeError::NoServer)));

    let hanging = town(2);
    hanging.behave(4000, Manner::Hangs);
    hanging.behave(4001, Manner::Hangs);
    let error = hanging.get(List::Sessions, "").await.unwrap_err();
    assert!(matches!(error, MergeError::TimedOut { .. }));
    let told = "no server answered /session in time: 127.0.0.1:4000 (timeout), 127.0.0.1:4001 (timeout)";
    assert_eq!(error.to_string(), told);

    hanging.behave(4001, Manner::Breaks);
    assert!(matches!(hanging.get(List::Sessions, "").await, Err(MergeError::Failed { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_all_who_spoke_passes_byte_for_byte() {
    let town = town(4);
    town.behave(4003, Manner::Breaks);
    let refusal = |body: &str| Manner::Says(StatusCode::BAD_REQUEST, "application/json", body.to_owned());
    town.behave(4000, refusal("{ \"name\" : \"BadRequest\" }"));
    town.behave(4001, refusal("{}"));
    town.behave(4002, Manner::Hangs);
    let merged = town.get(List::Sessions, "roots=yes").await.unwrap();
    assert_eq!(merged.status, StatusCode::BAD_REQUEST);
    assert_eq!(&merged.body[..], b"{ \"name\" : \"BadRequest\" }");
    let partial = "127.0.0.1:4002; reason=timeout, 127.0.0.1:4003; reason=failed";
    assert_eq!(merged.headers["x-pointsman-partial"], partial);
}
