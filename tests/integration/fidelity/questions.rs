//! Requests as servers see them.

use serde_json::json;

use crate::support::{
    fake::{FakeServer, FakeStore},
    town::daemon_before,
    wire::exchange,
};

#[tokio::test]
async fn path_and_query_arrive_byte_for_byte() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    for target in [
        "/find/file?query=a+b&x=%2F%2f&empty=&flag&dup=1&dup=2",
        "/file/content%2Fwith%2Fslashes?path=%E4%BD%A0%20%C3%BC",
        "/find?pattern=%5B%5D%7B%7D%7C%25%26%3D%23",
        "/find?a=1&&b=2&=3&directory=",
        "/vcs/..%2f..%2Fx/./y?z=./..",
        "/agent?q=~!$'()*,;:@[]{}|^`",
        "/assets/a%20b.js?v=",
        "/session/ses_does%2Fnot%2Fexist/message?x=%00",
    ] {
        let host = daemon.address();
        let request = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let answer = exchange(host, request).await;
        assert_ne!(answer.status(), 0, "{target}");
        let seen = fake.passed_on().pop().unwrap();
        assert_eq!(seen.target(), target, "{}", answer.text());
    }
}

#[tokio::test]
async fn bytes_beyond_ascii_in_the_query_arrive_as_they_are() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    let host = daemon.address();
    let request = format!("GET /find?query=né HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    let direct = exchange(&fake.address(), &request).await;
    let through = exchange(host, &request).await;
    // Whatever a server makes of it, we make no difference.
    assert_eq!(through.status(), direct.status(), "{}", through.text());
}

#[tokio::test]
async fn headers_pass_except_those_of_one_hop() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = format!(
        "GET /config HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: \
         timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nCookie: a=1\r\nCookie: b=2\r\nX-Twice: one\r\n\
         X-Twice: two\r\nX-Empty:\r\nAuthorization: Bearer theirs\r\nAccept-Encoding: gzip, br\r\nUser-Agent: \
         test/1\r\ntraceparent: {trace}\r\ntracestate: a=b\r\nX-Forwarded-For: 203.0.113.9\r\nVia: 1.1 front\r\n\r\n",
        daemon.address().rsplit(':').next().unwrap(),
    );
    assert_eq!(exchange(daemon.address(), request).await.status(), 200);
    let seen = fake.requests_to("GET /config").pop().unwrap();
    let all = |name: &str| -> Vec<String> {
        let values = seen.headers.get_all(name).iter();
        values.map(|value| value.to_str().unwrap().to_owned()).collect()
    };
    for gone in ["x-mine", "keep-alive", "proxy-connection"] {
        assert_eq!(all(gone), [""; 0], "{gone}");
    }
    let port = daemon.address().rsplit(':').next().unwrap();
    for (name, values) in [
        ("host", vec![&*format!("localhost:{port}")]),
        ("cookie", vec!["a=1", "b=2"]),
        ("x-twice", vec!["one", "two"]),
        ("x-empty", vec![""]),
        ("authorization", vec!["Bearer theirs"]),
        ("accept-encoding", vec!["gzip, br"]),
        ("user-agent", vec!["test/1"]),
        ("te", vec!["trailers"]),
        ("traceparent", vec![trace]),
        ("tracestate", vec!["a=b"]),
        ("x-forwarded-for", vec!["203.0.113.9", "127.0.0.1"]),
        ("x-forwarded-host", vec![&*format!("localhost:{port}")]),
        ("x-forwarded-proto", vec!["http"]),
        ("forwarded", vec!["for=127.0.0.1;proto=http"]),
        ("via", vec!["1.1 front", "1.1 pointsman"]),
    ] {
        assert_eq!(all(name), values, "{name}");
    }
}

#[tokio::test]
async fn bodies_arrive_byte_for_byte_with_or_without_a_length() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    let bytes: Vec<u8> = (0..=255).cycle().take(70_001).collect();
    let with_length = daemon.request("POST", "/log?x=1").body(bytes.clone());
    assert_eq!(daemon.send(with_length).await.status, 200);
    let pieces = bytes.chunks(999).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect::<Vec<_>>();
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    assert_eq!(daemon.send(daemon.request("POST", "/log?x=2").body(stream)).await.status, 200);
    let seen = fake.requests_to("POST /log");
    assert_eq!(seen[0].header("content-length"), Some("70001"));
    assert_eq!(seen[1].header("content-length"), None);
    assert!(seen.iter().all(|request| request.body == bytes), "a body was changed");
    // One that must be read to be routed is the same afterwards.
    let odd = br#"{ "title" : "x",  "n":1.50 }"#;
    let create = daemon.request("POST", "/session").header("content-type", "application/json");
    assert_eq!(daemon.send(create.body(&odd[..])).await.status, 200);
    assert_eq!(fake.requests_to("POST /session").pop().unwrap().body, &odd[..]);
}

#[tokio::test]
async fn every_method_passes() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let answer = daemon.send(daemon.request(method, "/config").json(&json!({}))).await;
        assert_eq!(answer.fake(), fake.address(), "{method}");
        assert_eq!(fake.passed_on().pop().unwrap().method, method);
    }
}
