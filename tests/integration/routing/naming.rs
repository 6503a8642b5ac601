//! Servers named outright, sessions nobody has mentioned, and one id in two stores.

use serde_json::json;

use crate::support::{
    fake::{FakeServer, FakeSession, FakeStore, session_id},
    ports::free_port,
    town::{Pair, daemon_before},
};

#[tokio::test]
async fn a_session_that_nobody_has_mentioned_is_found_without_opening_a_directory() {
    let store = FakeStore::new();
    let (here, there) = (store.directory("here"), store.directory("there"));
    let one = FakeServer::serve(&store, &here).await;
    let two = FakeServer::serve(&store, &there).await;
    let elsewhere = FakeStore::new();
    let other = FakeServer::serve(&elsewhere, &elsewhere.directory("other")).await;
    let daemon = daemon_before(&[&one, &two, &other]).await;

    let session = store.insert_new(&there).id;
    let answer = daemon.turn(&session, "hello").await;
    assert_eq!((answer.status, answer.fake()), (200, &*two.address()));
    let unknown = session_id(1_700_000_000_000);
    let answer = daemon.get(&format!("/session/{unknown}")).await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.json()["data"]["message"], format!("Session not found: {unknown}"));
    for server in [&one, &two, &other] {
        assert_eq!(server.opened(), [server.directory()], "{}", server.address());
    }
}

#[tokio::test]
async fn one_id_in_two_stores_is_refused_naming_both_until_the_client_names_one() {
    let (store, elsewhere) = (FakeStore::new(), FakeStore::new());
    let one = FakeServer::serve(&store, &store.directory("a")).await;
    let two = FakeServer::serve(&elsewhere, &elsewhere.directory("b")).await;
    let daemon = daemon_before(&[&one, &two]).await;
    let session = FakeSession::new(one.directory());
    store.insert(session.clone());
    elsewhere.insert(session.clone());
    let path = format!("/session/{}", session.id);
    // As long as one list has not been read again the other store may be the only one known.
    let refused = daemon.wait_for_answer(&path, |answer| answer.status == 409).await;
    assert_eq!(refused.json()["name"], "AmbiguousSessionError");
    for server in [&one, &two] {
        assert!(
            refused.json()["data"]["message"].as_str().unwrap().contains(&server.address()),
            "{refused:?}"
        );
        let named = daemon.send(daemon.request("GET", &path).header("x-pointsman-server", server.address()));
        let named = named.await;
        assert_eq!((named.status, named.fake(), named.route()), (200, &*server.address(), "explicit"));
    }
}

#[tokio::test]
async fn a_server_can_be_named_by_header_by_id_and_by_port() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    for server in [&pair.low, &pair.high] {
        let known = daemon.servers().await;
        let known = known.iter().find(|known| known["port"] == server.port()).unwrap();
        let (id, port) = (known["id"].as_str().unwrap(), server.port());
        for name in [id.to_owned(), server.address(), server.url(), port.to_string()] {
            let request = daemon.request("GET", "/path").header("x-pointsman-server", &name);
            assert_eq!(daemon.send(request).await.fake(), server.address(), "{name}");
        }
        for path in [
            format!("/servers/{id}/proxy/find?query=a%2Fb+c"),
            format!("/api/opencode/{port}/find?query=a%2Fb+c"),
        ] {
            let answer = daemon.get(&path).await;
            assert_eq!((answer.status, answer.fake()), (200, &*server.address()), "{path}");
        }
        let seen = server.requests_to("GET /find");
        assert_eq!(seen.iter().map(|seen| &*seen.query).collect::<Vec<_>>(), ["query=a%2Fb+c"; 2]);
        // The predecessor's clients read a server's own stream there.
        let mut stream = daemon.events(&format!("/api/sse/{port}")).await;
        assert_eq!(stream.headers()["x-fake-server"], *server.address());
        server.emit(&pair.directory, "test.marker", json!({}));
        stream.expect_kind("test.marker").await;
    }
}

#[tokio::test]
async fn a_port_where_no_known_server_is_is_never_contacted() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let port = free_port();
    let stranger = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    stranger.set_nonblocking(true).unwrap();
    for path in [
        format!("/api/opencode/{port}/session"),
        format!("/api/sse/{port}"),
        format!("/servers/{port}/proxy/session"),
        "/servers/srv_0000000000000000/proxy/session".to_owned(),
    ] {
        let answer = daemon.get(&path).await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
        assert_eq!(answer.json()["name"], "ServerUnknownError");
    }
    let request = daemon.request("GET", "/session").header("x-pointsman-server", format!("127.0.0.1:{port}"));
    assert_eq!(daemon.send(request).await.status, 404);
    assert_eq!(stranger.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn a_pinned_session_goes_where_it_was_pinned_until_it_is_unpinned() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let session = pair.low.create_session().id;
    daemon.wait_for_owner(&session, &pair.low, "emitted").await;
    let path = format!("/sessions/{session}/owner");
    let pin = daemon.trusted("PUT", &path).json(&json!({"server": pair.high.address()}));
    let pinned = daemon.send(pin).await;
    assert!((200..300).contains(&pinned.status), "{pinned:?}");
    // Not even a turn elsewhere outweighs what a person has said.
    pair.low.begin_turn(&session, "SLOW");
    let answer = daemon.turn(&session, "hello").await;
    assert_eq!((answer.fake(), answer.route()), (&*pair.high.address(), "owner; evidence=pinned"));
    pair.low.finish(&session);
    let unpinned = daemon.send(daemon.trusted("DELETE", &path)).await;
    assert!((200..300).contains(&unpinned.status), "{unpinned:?}");
    let after = daemon.get(&format!("/session/{session}")).await;
    assert_ne!(after.route(), "owner; evidence=pinned");

    let stranger = json!({"server": format!("127.0.0.1:{}", free_port())});
    let refused = daemon.send(daemon.trusted("PUT", &path).json(&stranger)).await;
    assert_eq!(refused.status, 404, "{refused:?}");
}

#[tokio::test]
async fn a_directory_has_one_server_for_reads_and_writes() {
    let store = FakeStore::new();
    let one = FakeServer::serve(&store, &store.directory("one")).await;
    let two = FakeServer::serve(&store, &store.directory("two")).await;
    let daemon = daemon_before(&[&one, &two]).await;
    for server in [&one, &two] {
        let directory = server.directory();
        for (method, path) in [("GET", "/mcp"), ("POST", "/mcp"), ("GET", "/lsp"), ("GET", "/formatter")] {
            let query = daemon.request(method, path).query(&[("directory", directory)]);
            assert_eq!(daemon.send(query).await.fake(), server.address());
            let location = daemon.request(method, path).query(&[("location[directory]", directory)]);
            assert_eq!(daemon.send(location).await.fake(), server.address());
            let header = daemon.request(method, path).header("x-opencode-directory", directory);
            assert_eq!(daemon.send(header).await.fake(), server.address());
        }
    }
}
