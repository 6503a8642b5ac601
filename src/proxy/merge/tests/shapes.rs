//! What merged lists look like.

use std::sync::Arc;

use http::HeaderMap;

use super::town::{Manner, Session, Town, api_element, element, session};
use crate::{
    domain::{evidence::Evidence, ids::SessionId},
    opencode::lists::List,
    proxy::merge::{Settings, Wanted, merge},
    registry::asked::Origin,
};

fn text(body: &[u8]) -> &str {
    str::from_utf8(body).unwrap()
}

async fn with_owner_port(town: &Town, list: List) -> String {
    let headers = HeaderMap::new();
    let wanted = Wanted { list, query: "", headers: &headers, directory: None, chosen: None };
    let merged = merge(town, &town.registry, &wanted, Settings::default()).await.unwrap();
    text(&merged.body).to_owned()
}

#[tokio::test]
async fn elements_pass_byte_for_byte() {
    let town = Town::new();
    town.server(4001, 0, "/a");
    let odd = "[ {\"id\":\"ses_1\" , \"n\":1.0e+2,\"u\":\"\\u00e9\", \"time\":{\"updated\":2.0,\"created\":1}} ,\n{\"id\":\"ses_0\",\"time\":{\"created\":1,\"updated\":1}} ]";
    town.behave(4001, Manner::Says(http::StatusCode::OK, "application/json; charset=utf-8", odd.into()));
    let merged = town.get(List::Sessions, "").await.unwrap();
    let expected = "[{\"id\":\"ses_1\" , \"n\":1.0e+2,\"u\":\"\\u00e9\", \"time\":{\"updated\":2.0,\"created\":1}},{\"id\":\"ses_0\",\"time\":{\"created\":1,\"updated\":1}}]";
    assert_eq!(text(&merged.body), expected);
    assert_eq!(
        (&merged.headers["content-type"], &merged.headers["vary"]),
        (&"application/json".parse().unwrap(), &"Origin".parse().unwrap())
    );
}

#[tokio::test]
async fn sessions_gain_the_port_of_their_owner_and_nothing_else() {
    let town = Town::new();
    let one = town.server(4001, 0, "/a");
    town.server(4002, 0, "/a");
    town.server(4003, 1, "/a");
    let (owned, free, only) = (session(3, "/a", 3, 3), session(2, "/a", 2, 2), session(1, "/a", 1, 1));
    town.put(0, [owned.clone(), free.clone()]);
    town.put(1, [only.clone()]);
    town.registry.claim(&one, &SessionId::try_new(&owned.id).unwrap(), Evidence::Emitted);
    let with =
        |element: String, port: u16| format!("{},\"ownerPort\":{port}}}", &element[..element.len() - 1]);
    let rows = |element: fn(&Session) -> String| {
        format!("[{},{},{}]", with(element(&owned), 4001), element(&free), with(element(&only), 4003))
    };
    assert_eq!(with_owner_port(&town, List::Sessions).await, rows(element));
    assert_eq!(with_owner_port(&town, List::ExperimentalSessions).await, rows(element));
    let api = with_owner_port(&town, List::ApiSessions).await;
    assert!(api.starts_with(&format!("{{\"data\":{},\"cursor\":{{\"previous\":\"", rows(api_element))));
}

#[tokio::test]
async fn a_session_never_heard_of_is_known_once_it_was_listed() {
    let town = Town::new();
    let server = town.server(4001, 0, "/a");
    let (one, two) = (session(1, "/a", 1, 1), session(2, "/b", 2, 2));
    town.put(0, [one.clone(), two.clone()]);
    town.get(List::Sessions, "").await.unwrap();
    town.get(List::ApiSessions, "").await.unwrap();
    for session in [&one, &two] {
        let id = SessionId::try_new(&session.id).unwrap();
        let known = town.registry.sessions.describe(&id, &town.registry.servers.now());
        assert_eq!(known[0].store, server.store);
        assert_eq!(&*known[0].row.directory, session.directory);
    }
}

#[tokio::test]
async fn the_busier_word_on_a_session_counts_and_the_owners_among_equals() {
    let town = Town::new();
    town.server(4001, 0, "/a");
    let owner = town.server(4002, 0, "/a");
    let session = SessionId::try_new("ses_both").unwrap();
    town.registry.claim(&owner, &session, Evidence::Emitted);
    let path = "/session/status";
    town.give(
        4001,
        path,
        "/a",
        r#"{"ses_1":{"type":"busy"},"ses_2":{"type":"retry","attempt":1},"ses_both":{"type":"busy","by":1}}"#,
    );
    town.give(4002, path, "/a", r#"{"ses_1":{"type":"idle"},"ses_2":{"type":"busy"},"ses_both":{"type":"busy","by":2},"ses_3":{"type":"busy"}}"#);
    let merged = town.get(List::SessionStatus, "").await.unwrap();
    let expected = r#"{"ses_1":{"type":"busy"},"ses_2":{"type":"busy"},"ses_both":{"type":"busy","by":2},"ses_3":{"type":"busy"}}"#;
    assert_eq!(text(&merged.body), expected);
}

#[tokio::test]
async fn active_sessions_are_those_of_all_processes() {
    let town = Town::new();
    town.server(4001, 0, "/a");
    town.server(4002, 0, "/b");
    town.give(4001, "/api/session/active", "/a", r#"{"data":{"ses_1":{"type":"running"}}}"#);
    town.give(4002, "/api/session/active", "/b", r#"{"data":{"ses_2":{"type":"running"}}}"#);
    let merged = town.get(List::ActiveSessions, "").await.unwrap();
    assert_eq!(text(&merged.body), r#"{"data":{"ses_1":{"type":"running"},"ses_2":{"type":"running"}}}"#);
}

#[tokio::test]
async fn projects_stand_in_the_order_of_their_making_and_the_newer_row_counts() {
    let town = Town::new();
    town.server(4001, 0, "/a");
    town.server(4002, 1, "/b");
    // Seen on a 1.18.33 server, shortened.
    let project = |id: &str, created: u64, updated: u64| {
        format!(
            r#"{{"id":"{id}","worktree":"/","time":{{"created":{created},"updated":{updated}}},"sandboxes":[]}}"#
        )
    };
    let list = |projects: &[String]| format!("[{}]", projects.join(","));
    let (old, mid, new) = (project("15be", 10, 11), project("703d", 20, 21), project("0000", 30, 31));
    town.give(4001, "/project", "/a", &list(&[old.clone(), project("global", 25, 26), new.clone()]));
    town.give(4002, "/project", "/b", &list(&[mid.clone(), project("global", 25, 99)]));
    let merged = town.get(List::Projects, "").await.unwrap();
    assert_eq!(text(&merged.body), list(&[old, mid, project("global", 25, 99), new]));
}

#[tokio::test]
async fn whoever_raised_a_listed_request_is_remembered_with_its_directory() {
    let town = Town::new();
    let one = town.server(4001, 0, "/a");
    let two = town.server(4002, 0, "/b");
    two.directories.note("/c d");
    let (first, second) = (
        r#"{"id":"per_1","sessionID":"ses_1","permission":"bash"}"#,
        r#"{"id":"per_2","sessionID":"ses_2","permission":"edit"}"#,
    );
    town.give(4002, "/permission", "/c d", &format!("[{first}]"));
    town.give(4001, "/permission", "/a", &format!("[{second}]"));
    let merged = town.get(List::Permissions, "").await.unwrap();
    assert_eq!(text(&merged.body), format!("[{first},{second}]"));
    let ask = crate::domain::ask::Ask::of("per_1", crate::domain::ask::Interface::First);
    let origin = |server: &Arc<_>, session: &str, directory: &str| {
        let server: &crate::registry::server::Server = server;
        let session = SessionId::try_new(session).ok();
        Some(Origin { server: server.key, session, directory: Some(directory.into()), ask })
    };
    assert_eq!(town.registry.asked.origin("per_1"), origin(&two, "ses_1", "/c d"));
    assert_eq!(town.registry.asked.origin("per_2"), origin(&one, "ses_2", "/a"));
}

#[tokio::test]
async fn around_requests_of_the_second_interface_stands_the_first_servers_location() {
    let town = Town::new();
    town.server(4001, 0, "/a");
    town.server(4002, 0, "/b");
    let located = |directory: &str, data: &str| {
        format!(
            r#"{{"location":{{"directory":"{directory}","project":{{"id":"p","directory":"/"}}}},"data":[{data}]}}"#
        )
    };
    let (one, two) = (r#"{"id":"pty_1","title":"x"}"#, r#"{"id":"pty_2","title":"y"}"#);
    town.give(4001, "/api/pty", "/a", &located("/a", two));
    town.give(4002, "/api/pty", "/b", &located("/b", one));
    let merged = town.get(List::ApiTerminals, "").await.unwrap();
    assert_eq!(text(&merged.body), located("/a", &format!("{one},{two}")));
    assert!(town.registry.asked.origin("pty_1").is_some());
}
