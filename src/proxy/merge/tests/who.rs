//! Who is asked, and that nothing is opened which nobody wanted open.

use std::collections::BTreeSet;

use super::town::{Manner, Town, session};
use crate::opencode::lists::List;

/// Two servers on one store, one on another.
fn town() -> Town {
    let town = Town::new();
    town.server(4001, 0, "/p/a");
    town.server(4002, 0, "/q/b");
    town.server(4003, 1, "/p/a");
    town.put(0, [session(1, "/p/a", 1, 1), session(2, "/q/b", 2, 2), session(3, "/r/c", 3, 3)]);
    town.put(1, [session(4, "/p/a", 4, 4)]);
    town
}

fn ids(body: &[u8]) -> Vec<u32> {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    let rows = if body.is_array() { &body } else { &body["data"] };
    let id = |row: &serde_json::Value| row["id"].as_str().unwrap()[4..].parse().unwrap();
    rows.as_array().unwrap().iter().map(id).collect()
}

#[tokio::test]
async fn no_list_opens_a_directory_that_is_not_in_use() {
    let town = town();
    town.registry.servers.now().iter().next().unwrap().directories.note("/p/x y%41");
    let in_use: BTreeSet<(u16, String)> =
        [(4001, "/p/a"), (4001, "/p/x y%41"), (4002, "/q/b"), (4003, "/p/a")]
            .map(|(port, directory)| (port, directory.to_owned()))
            .into();
    for list in List::ALL {
        town.get(list, "search=x&directory=").await.unwrap();
        let opened = town.opened();
        assert!(opened.is_subset(&in_use), "{list:?} opened {opened:?}");
    }
    town.get(List::Permissions, "").await.unwrap();
    assert_eq!(town.opened(), in_use);
}

#[tokio::test]
async fn a_store_is_asked_once_however_many_servers_share_it() {
    let town = town();
    for list in [List::ExperimentalSessions, List::ApiSessions, List::Projects] {
        town.get(list, "").await.unwrap();
        let asked: Vec<u16> = town.asked().into_iter().map(|(port, _)| port).collect();
        assert_eq!(asked, [4001, 4003], "{list:?}");
    }
}

#[tokio::test]
async fn without_a_directory_sessions_are_those_of_every_project_in_use() {
    let town = town();
    let merged = town.get(List::Sessions, "").await.unwrap();
    assert_eq!(ids(&merged.body), [4, 2, 1]);
    assert_eq!(town.asked().len(), 3);
}

#[tokio::test]
async fn a_named_directory_is_asked_for_where_it_is_in_use() {
    let town = town();
    let merged = town.get_for(List::Sessions, "directory=%2Fp%2Fa&limit=5", Some("/p/a")).await.unwrap();
    assert_eq!(ids(&merged.body), [4, 1]);
    let words = "/session?directory=%2Fp%2Fa&limit=5".to_owned();
    assert_eq!(town.asked(), [(4001, words.clone()), (4003, words)]);
    town.get_for(List::Permissions, "directory=/q/b", Some("/q/b/")).await.unwrap();
    assert_eq!(town.asked(), [(4002, "/permission?directory=/q/b".to_owned())]);
}

#[tokio::test]
async fn a_directory_that_nobody_uses_is_opened_by_its_server_alone_and_is_in_use_from_then_on() {
    let town = town();
    for list in [List::Sessions, List::Permissions, List::ExperimentalSessions] {
        town.get_for(list, "directory=/new", Some("/new")).await.unwrap();
        assert_eq!(town.opened(), [(4001, "/new".to_owned())].into(), "{list:?}");
    }
    assert!(town.registry.servers.now().iter().next().unwrap().directories.contains("/new"));
    // Projects are those of all stores; only one of them needs to hear of the directory.
    town.get_for(List::Projects, "directory=/newer", Some("/newer")).await.unwrap();
    assert_eq!(town.opened(), [(4001, "/newer".to_owned()), (4003, "/p/a".to_owned())].into());
}

#[tokio::test]
async fn a_directory_that_could_not_be_opened_is_not_taken_for_one_in_use() {
    let town = town();
    let status = http::StatusCode::INTERNAL_SERVER_ERROR;
    town.behave(4001, Manner::Says(status, "application/json", "{}".into()));
    let refused = town.get_for(List::ApiTerminals, "location[directory]=/no", Some("/no")).await.unwrap();
    assert_eq!(refused.status, status);
    assert!(!town.registry.servers.now().iter().next().unwrap().directories.contains("/no"));
}

#[tokio::test]
async fn on_the_second_interface_a_directory_filters_sessions_and_every_store_is_asked() {
    let town = town();
    town.get_for(List::ApiSessions, "directory=/zzz", Some("/zzz")).await.unwrap();
    let words = "/api/session?directory=/zzz".to_owned();
    assert_eq!(town.asked(), [(4001, words.clone()), (4003, words)]);
    town.get_for(List::ActiveSessions, "", Some("/zzz")).await.unwrap();
    assert_eq!(town.asked().len(), 3);
}

#[tokio::test]
async fn servers_are_asked_for_plain_and_whole_answers() {
    let town = town();
    town.get(List::Projects, "").await.unwrap();
    for headers in town.asked_headers() {
        assert!(!headers.contains_key("accept-encoding") && !headers.contains_key("if-none-match"));
        assert_eq!(headers["traceparent"], "kept");
    }
}
