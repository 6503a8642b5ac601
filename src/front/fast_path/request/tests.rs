//! What is plain, and that the long way would take the same bytes for the same request.

use std::{convert::Infallible, sync::Arc};

use http::{Request, Response, request::Parts};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

use super::*;
use crate::{
    config::Access,
    guard::{Admitted, Guard, InstanceId, Peer, PeerUser},
};

const GET: &str = "GET /session/ses_1/message?limit=5 HTTP/1.1\r\nHost: localhost:4747\r\nX-Mine: 1\r\n\r\n";

fn is_plain(text: &str) -> bool {
    matches!(read(text.as_bytes()), Read::Plain(_))
}

fn with(line: &str) -> String {
    GET.replace("X-Mine: 1", line)
}

#[test]
fn a_whole_small_request_about_a_session_is_plain() {
    let Read::Plain(plain) = read(GET.as_bytes()) else { panic!("it is plain") };
    assert_eq!((plain.session, plain.turn, plain.reads(), plain.length()), ("ses_1", false, true, GET.len()));
    assert_eq!((plain.path(), plain.query()), ("/session/ses_1/message", Some("limit=5")));
    assert_eq!((plain.host, plain.field("x-mine")), (&b"localhost:4747"[..], Some(&b"1"[..])));
    let turn = "POST /api/session/ses_1/prompt HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}GET /";
    let Read::Plain(plain) = read(turn.as_bytes()) else { panic!("it is plain") };
    assert_eq!((plain.turn, plain.content, plain.length()), (true, &b"{}"[..], turn.len() - 5));
}

#[test]
fn what_has_not_come_yet_is_waited_for() {
    for end in 0..GET.len() {
        assert_eq!(read(&GET.as_bytes()[..end]), Read::PartOfHead, "{end}");
    }
    let turn = "POST /session/ses_1/message HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{";
    assert_eq!(read(turn.as_bytes()), Read::PartOfBody);
}

#[test]
fn whatever_means_more_goes_the_long_way() {
    for line in [
        "Origin: http://localhost:3000",
        "Sec-Fetch-Site: same-origin",
        "SEC-FETCH-DEST: image",
        "Sec-WebSocket-Key: x",
        "Expect: 100-continue",
        "Upgrade: websocket",
        "Connection: upgrade",
        "Connection: keep-alive, x-mine",
        "Keep-Alive: timeout=5",
        "TE: trailers",
        "Trailer: x",
        "Transfer-Encoding: chunked",
        "Via: 1.1 pointsman",
        "Proxy-Authorization: x",
        "Access-Control-Request-Method: POST",
        "X-Pointsman-Server: srv_1",
        "x-pointsman-hop: 1",
        "X-POINTSMAN-Secret: x",
        "X-Pointsman-Annotate: 1",
        "X-Forwarded-Prefix: /outer",
        "Host: other",
        "Content-Length: 5",
        "Content-Length: 0\r\nContent-Length: 0",
        "Content-Length: +0",
        "Content-Length: ",
    ] {
        assert_eq!(read(with(line).as_bytes()), Read::Other, "{line}");
    }
    for target in [
        "/",
        "*",
        "http://localhost/session/ses_1",
        "/session",
        "/session/status",
        "/session/msg_1",
        "/session/ses_1#x",
        "/session/ses_1/fork",
        "/session/ses_1/permissions/per_1",
        "/session/ses_1?ownerPort=true",
        "/session/ses_1?owner%50ort=true",
        "/session/ses_1\\x",
        "/session/ses_1?x=\u{e9}",
        "/event",
        "/servers",
        "/sessions/ses_1/owner",
    ] {
        let request = GET.replace("/session/ses_1/message?limit=5", target);
        assert_eq!(read(request.as_bytes()), Read::Other, "{target}");
    }
    for (from, to) in [
        ("HTTP/1.1", "HTTP/1.0"),
        ("GET", "OPTIONS"),
        ("GET", "BREW"),
        ("Host: localhost:4747\r\n", ""),
        ("X-Mine", "X Mine"),
        ("GET /session/ses_1/message", "DELETE /session/ses_1"),
    ] {
        assert_eq!(read(GET.replacen(from, to, 1).as_bytes()), Read::Other, "{to}");
    }
    let long =
        format!("POST /session/ses_1/message HTTP/1.1\r\nHost: a\r\nContent-Length: {MOST_BYTES}\r\n\r\n");
    assert_eq!(read(long.as_bytes()), Read::Other);
    assert_eq!(read(&vec![b'a'; 2 * MOST_BYTES]), Read::Other);
}

#[test]
fn what_every_program_says_is_plain() {
    for line in [
        "Connection: keep-alive",
        "connection: close",
        "Sec-Fetch-Mode: cors",
        "Accept-Encoding: gzip",
        "Authorization: Basic eDp5",
        "X-OpenCode-Directory: /a",
        "X-Forwarded-Host: a",
        "Cookie: a=b",
        "Content-Length: 0",
    ] {
        assert!(is_plain(&with(line)), "{line}");
    }
}

/// A request as the HTTP library sees it.
type Seen = (Parts, Vec<u8>);

/// What the HTTP library makes of the first request in `bytes`.
fn long_way(bytes: &[u8]) -> Option<Seen> {
    let seen: Arc<Mutex<Option<Seen>>> = Arc::default();
    let note = Arc::clone(&seen);
    let service = service_fn(move |request: Request<Incoming>| {
        let note = Arc::clone(&note);
        async move {
            let (parts, body) = request.into_parts();
            if let Ok(body) = body.collect().await {
                note.lock().get_or_insert_with(|| (parts, body.to_bytes().to_vec()));
            }
            Ok::<_, Infallible>(Response::new(Empty::<&[u8]>::new()))
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(256 * 1024);
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        // A later request may be none.
        let _ = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(server), service).await;
    });
    seen.lock().take()
}

fn line() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        4 => "[A-Za-z][A-Za-z-]{0,12}",
        1 => proptest::sample::select(vec![
            "Content-Length", "Transfer-Encoding", "Host", "Connection", "Expect", "Origin", "X-Pointsman-Hop",
            "Sec-Fetch-Mode", "Sec-Fetch-Site", "Authorization", "Via", "TE",
        ]).prop_map(str::to_owned),
    ];
    let value = prop_oneof![
        2 => "[ -~]{0,20}",
        1 => proptest::sample::select(vec!["0", "3", "close", "keep-alive", "chunked", "localhost"]).prop_map(str::to_owned),
    ];
    let end = proptest::sample::select(vec!["\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r\n "]);
    (name, proptest::sample::select(vec![": ", ":", ":  ", " :"]), value, end)
        .prop_map(|(name, colon, value, end)| format!("{name}{colon}{value}{end}"))
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let method = proptest::sample::select(vec!["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
    let target = prop_oneof![
        Just("/session/ses_1/message".to_owned()),
        "/session/ses_[a-z0-9]{1,6}[!-~]{0,12}",
        "/api/session/ses_1/[!-~]{0,12}",
    ];
    let change = proptest::option::weighted(0.4, (any::<proptest::sample::Index>(), any::<u8>()));
    let lines = proptest::collection::vec(line(), 0..5);
    (method, target, lines, proptest::collection::vec(any::<u8>(), 0..40), any::<bool>(), change).prop_map(
        |(method, target, lines, body, tells, change)| {
            let lines = lines.concat();
            let length = if tells { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
            let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost:1\r\n{lines}{length}\r\n");
            let mut bytes = [head.as_bytes(), &body].concat();
            if let Some((at, to)) = change {
                let at = at.index(bytes.len());
                bytes[at] = to;
            }
            bytes
        },
    )
}

fn guard() -> Guard {
    let access = Access { token: None, allowed_hosts: Vec::new(), cors: Vec::new(), user_check: true };
    Guard::new(access, "key".into(), "127.0.0.1:4747".parse().unwrap(), InstanceId::draw(), Arc::default())
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 100_000, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn whatever_is_plain_is_the_same_request_to_the_long_way(bytes in request()) {
        let Read::Plain(plain) = read(&bytes) else {
            return Err(TestCaseError::reject("it goes the long way"));
        };
        let Some((parts, body)) = long_way(&bytes) else {
            return Err(TestCaseError::fail("the long way sees no request"));
        };
        prop_assert_eq!((&parts.method, parts.uri.to_string()), (&plain.method, plain.target.to_owned()));
        prop_assert_eq!(&body[..], plain.content);
        let mut here: Vec<(String, &[u8])> =
            plain.fields.iter().map(|(name, value)| (name.to_lowercase(), *value)).collect();
        let mut there: Vec<(String, &[u8])> = parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.as_bytes()))
            .filter(|(name, _)| name != "connection")
            .collect();
        here.sort_unstable();
        there.sort_unstable();
        prop_assert_eq!(here, there);
        for user in [PeerUser::Same, PeerUser::Other] {
            let peer = Peer { address: ([127, 0, 0, 1], 9).into(), user };
            let guard = guard();
            let there = guard.check(&parts, &peer) == Ok(Admitted::Request);
            prop_assert_eq!(guard.admits_plain(plain.host, &peer), there);
        }
    }

    #[test]
    fn bytes_of_any_kind_make_nothing_fall(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
    }
}
