//! Answers as clients see them.

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;
use http_body_util::StreamBody;

use crate::support::{
    daemon::Daemon,
    fake::{FakeServer, FakeStore, Fault},
    town::{daemon_before, prompt},
    wire::{Raw, exchange},
};

async fn one() -> (FakeServer, Daemon) {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    (fake, daemon)
}

async fn raw(daemon: &Daemon, line: &str, headers: &str) -> Raw {
    let host = daemon.address();
    exchange(host, format!("{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{headers}\r\n")).await
}

#[tokio::test]
async fn a_204_stays_one_and_has_no_body() {
    let (fake, daemon) = one().await;
    let session = fake.create_session().id;
    daemon.wait_for_owner(&session, &fake, "emitted").await;
    let body = prompt("hello").to_string();
    let host = daemon.address();
    let request = format!(
        "POST /session/{session}/prompt_async HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: \
         application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = exchange(host, request).await;
    assert_eq!((answer.status(), answer.body()), (204, &b""[..]));
    assert_eq!(answer.headers("content-length"), [""; 0]);
    assert_eq!(answer.headers("transfer-encoding"), [""; 0]);
}

#[tokio::test]
async fn refusals_pass_byte_for_byte() {
    let (fake, daemon) = one().await;
    let body = "{\"name\" : \"BadRequest\",\n \"data\":{\"message\":\"né\",\"kind\":\"Body\"}}";
    for status in [400, 401, 403, 404, 409, 418, 422, 429, 500, 502, 503, 504] {
        fake.fault_times("/config", 1, Fault::Answer(status, "application/json", Bytes::from(body)));
        let answer = daemon.get("/config").await;
        assert_eq!((answer.status, &*answer.text()), (status, body));
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.server(), fake.address());
        assert_eq!(answer.header("x-pointsman-error"), "");
    }
}

#[tokio::test]
async fn every_answer_tells_who_gave_it_and_why() {
    let (fake, daemon) = one().await;
    for path in ["/config", "/session/ses_unknown", "/", "/assets/x.js"] {
        let answer = raw(&daemon, &format!("GET {path}"), "").await;
        assert_eq!(answer.headers("x-pointsman-server"), [fake.address()], "{path}");
        assert_eq!(answer.headers("x-pointsman-route").len(), 1, "{path}");
        assert_eq!(answer.headers("via"), ["1.1 pointsman"], "{path}");
    }
}

#[tokio::test]
async fn headers_pass_with_their_doubles_except_those_of_one_hop() {
    let (fake, daemon) = one().await;
    fake.script("GET /config", |_| async {
        let mut answer = Response::new(Body::from("{}"));
        let headers = answer.headers_mut();
        for (name, value) in [
            ("set-cookie", "a=1; Path=/"),
            ("set-cookie", "b=2"),
            ("x-odd", "a,  b ;c"),
            ("etag", "\"abc\""),
            ("vary", "Accept"),
            ("vary", "Origin"),
            ("link", "<http://localhost/x>; rel=\"next\""),
            ("x-next-cursor", "17"),
            ("access-control-allow-origin", "http://localhost:3000"),
            ("access-control-expose-headers", "Link, X-Next-Cursor"),
            ("connection", "x-private, keep-alive"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
            ("content-security-policy", "default-src 'self'; connect-src *"),
            ("x-pointsman-server", "a lie"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        answer
    });
    let answer = raw(&daemon, "GET /config", "").await;
    for (name, values) in [
        ("set-cookie", vec!["a=1; Path=/", "b=2"]),
        ("x-odd", vec!["a,  b ;c"]),
        ("etag", vec!["\"abc\""]),
        ("vary", vec!["Accept", "Origin"]),
        ("link", vec!["<http://localhost/x>; rel=\"next\""]),
        ("x-next-cursor", vec!["17"]),
        ("content-security-policy", vec!["default-src 'self'; connect-src *"]),
        ("access-control-allow-origin", vec!["http://localhost:3000"]),
        ("x-private", vec![]),
        ("keep-alive", vec![]),
        ("proxy-authenticate", vec![]),
        ("x-pointsman-server", vec![&*fake.address()]),
    ] {
        assert_eq!(answer.headers(name), values, "{name}");
    }
    let exposed = answer.headers("access-control-expose-headers").join(", ");
    for name in ["Link", "X-Next-Cursor", "X-Pointsman-Server", "X-Pointsman-Route"] {
        assert!(exposed.contains(name), "{exposed}");
    }
}

#[tokio::test]
async fn the_links_of_a_page_of_messages_name_the_host_the_client_asked() {
    let (fake, daemon) = one().await;
    let session = fake.create_session().id;
    for _ in 0..3 {
        assert_eq!(daemon.turn(&session, "hello").await.status, 200);
    }
    let answer = daemon.get(&format!("/session/{session}/message?limit=2")).await;
    assert!(answer.header("link").starts_with(&format!("<{}/session/", daemon.url())), "{answer:?}");
    assert_eq!(answer.header("x-next-cursor"), "4");
    assert!(answer.header("access-control-expose-headers").contains("X-Next-Cursor"));
}

#[tokio::test]
async fn a_compressed_body_passes_as_it_is() {
    let (fake, daemon) = one().await;
    // Whether it is gzip at all is the client's business.
    let packed = Bytes::from_static(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xff, 0xfe, 0, 1]);
    let body = packed.clone();
    fake.script("GET /provider", move |question| {
        assert_eq!(question.headers()["accept-encoding"], "gzip");
        let body = body.clone();
        async move {
            let mut answer = Response::new(Body::from(body));
            answer.headers_mut().insert("content-encoding", HeaderValue::from_static("gzip"));
            answer
        }
    });
    let answer = raw(&daemon, "GET /provider", "accept-encoding: gzip\r\n").await;
    assert_eq!(answer.headers("content-encoding"), ["gzip"]);
    assert_eq!(answer.headers("content-length"), ["14"]);
    assert_eq!(answer.body(), packed);
}

#[tokio::test]
async fn trailers_reach_the_client_that_takes_them() {
    let (fake, daemon) = one().await;
    fake.script("GET /config", |_| async {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-checksum", HeaderValue::from_static("42"));
        let frames = [Ok::<_, std::io::Error>(Frame::data(Bytes::from("{}"))), Ok(Frame::trailers(trailers))];
        let mut answer = Response::new(Body::new(StreamBody::new(stream::iter(frames))));
        answer.headers_mut().insert("trailer", HeaderValue::from_static("x-checksum"));
        answer
    });
    let answer = raw(&daemon, "GET /config", "te: trailers\r\n").await;
    assert_eq!(answer.headers("trailer"), ["x-checksum"]);
    assert!(answer.text().ends_with("0\r\nx-checksum: 42\r\n\r\n"), "{}", answer.text());
}

#[tokio::test]
async fn a_head_is_answered_without_a_body_and_with_the_length() {
    let (fake, daemon) = one().await;
    let direct = {
        let request = format!("HEAD / HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", fake.address());
        exchange(&fake.address(), request).await
    };
    let through = raw(&daemon, "HEAD /", "").await;
    assert_eq!((through.status(), through.body()), (200, &b""[..]));
    assert_eq!(through.headers("content-length"), direct.headers("content-length"));
    assert_eq!(through.headers("content-type"), direct.headers("content-type"));
    // The connection is good for more.
    assert_eq!(daemon.get("/config").await.status, 200);
}

#[tokio::test]
async fn a_session_passes_byte_for_byte_unless_the_client_asks_for_its_owner() {
    let (fake, daemon) = one().await;
    let session = fake.create_session().id;
    daemon.wait_for_owner(&session, &fake, "emitted").await;
    let path = format!("/session/{session}");
    let direct = reqwest::get(fake.url() + &path).await.unwrap().bytes().await.unwrap();
    assert_eq!(daemon.get(&path).await.body, direct);

    let by_query = daemon.get(&format!("{path}?ownerPort=true")).await;
    let header = daemon.request("GET", &path).header("x-pointsman-annotate", "1");
    for answer in [by_query, daemon.send(header).await] {
        let mut session = answer.json();
        let port = session.as_object_mut().unwrap().remove("ownerPort");
        assert_eq!(port, Some(fake.port().into()), "{answer:?}");
        assert_eq!(session, serde_json::from_slice::<serde_json::Value>(&direct).unwrap());
        assert_eq!(answer.server(), fake.address());
    }
    // What cannot be annotated passes as it is.
    let unknown = daemon.get("/session/ses_unknown?ownerPort=true").await;
    assert_eq!((unknown.status, &*unknown.json()["name"].to_string()), (404, "\"NotFoundError\""));
}
