//! The fast path does what the long way does: requests that are plain, and the same ones with a field that ends here
//! and makes them take the long way, look alike to servers and to clients.

use std::{collections::BTreeSet, io, sync::Arc};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::ReadHalf},
};

use crate::support::{
    daemon::Daemon,
    eventually::patiently,
    fake::{FakeServer, FakeStore, Fault, Invocation, Outcome},
    town::{daemon_before, prompt},
    wire::{Raw, connect, exchange, read_until, rest},
};

/// A field of one hop, which no server sees: a request that has it is not plain.
const LONG_WAY: &str = "te: x\r\n";

struct Town {
    fake: FakeServer,
    daemon: Daemon,
    session: String,
}

impl Town {
    async fn start() -> Self {
        let store = FakeStore::new();
        let fake = FakeServer::serve(&store, &store.directory("a")).await;
        let daemon = daemon_before(&[&fake]).await;
        let session = fake.create_session().id;
        daemon.wait_for_owner(&session, &fake, "emitted").await;
        Self { fake, daemon, session }
    }

    /// A request to the session; `path` comes behind its id.
    fn request(&self, method: &str, path: &str, fields: &str, body: &str) -> String {
        let (session, host) = (&self.session, self.daemon.address());
        let length =
            if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        format!("{method} /session/{session}{path} HTTP/1.1\r\nhost: {host}\r\n{fields}{length}\r\n{body}")
    }

    async fn ask(&self, method: &str, path: &str, fields: &str, body: &str) -> Raw {
        let fields = format!("connection: close\r\n{fields}");
        exchange(self.daemon.address(), self.request(method, path, &fields, body)).await
    }
}

/// Status and fields of an answer, without the date, and its body with chunks put together.
fn told(answer: &Raw) -> (u16, BTreeSet<String>, Vec<u8>) {
    let text = answer.text();
    let head = text.split("\r\n\r\n").next().unwrap();
    let lines = head.lines().skip(1).map(|line| {
        let (name, value) = line.split_once(':').unwrap();
        format!("{}: {}", name.to_lowercase(), value.trim())
    });
    let fields: BTreeSet<String> = lines.filter(|line| !line.starts_with("date:")).collect();
    let body = if fields.contains("transfer-encoding: chunked") {
        dechunked(answer.body())
    } else {
        answer.body().to_vec()
    };
    (answer.status(), fields, body)
}

fn dechunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let end = memchr::memmem::find(body, b"\r\n").expect("a size");
        let size = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        whole.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 4 + size..];
        if size == 0 {
            return whole;
        }
    }
}

#[tokio::test]
async fn servers_and_clients_see_the_same_either_way() {
    let town = Town::start().await;
    let page = Bytes::from(vec![b'x'; 3_000_000]);
    town.fake.fault(&format!("GET /session/{}/large", town.session), Fault::Answer(200, "text/plain", page));
    town.fake.script("PATCH *", |_| async {
        let mut answer = Response::new(Body::from_stream(stream::iter(
            ["one", "two", "three"].map(|piece| Ok::<_, io::Error>(Bytes::from(piece))),
        )));
        let fields = answer.headers_mut();
        for (name, value) in [
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("connection", "x-private, keep-alive"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("x-pointsman-server", "a lie"),
            ("access-control-allow-origin", "*"),
        ] {
            fields.append(name, value.parse().unwrap());
        }
        answer
    });
    let turn = prompt("hello").to_string();
    let directory = "x-opencode-directory: %2Fsome%20where\r\n";
    let forwarded =
        "x-forwarded-for: 10.0.0.9\r\nx-forwarded-host: oc.example\r\nforwarded: for=10.0.0.9\r\n";
    for (method, path, fields, body) in [
        ("GET", "", "x-mine: a\r\nX-Mine: b\r\n", ""),
        ("GET", "?directory=%2Fa&x=1", "", ""),
        ("GET", "/message?limit=2", "accept-encoding: gzip\r\n", ""),
        ("GET", "/todo", directory, ""),
        ("GET", "/large", "", ""),
        ("GET", "/nothing/of/the/kind", "", ""),
        ("HEAD", "", forwarded, ""),
        ("POST", "/message", "content-type: application/json\r\n", &turn),
        ("POST", "/prompt_async", "content-type: application/json\r\nsec-fetch-mode: cors\r\n", &turn),
        ("POST", "/abort", directory, ""),
        ("PATCH", "", "content-type: application/json\r\nauthorization: Basic eDp5\r\n", "{\"title\":\"t\"}"),
    ] {
        let what = format!("{method} {path}");
        let before = town.fake.requests().len();
        let short = town.ask(method, path, fields, body).await;
        let long = town.ask(method, path, &format!("{fields}{LONG_WAY}"), body).await;
        assert_ne!(short.status(), 0, "{what}");
        let (mut short, mut long) = (told(&short), told(&long));
        // What the session's owner is known by changes meanwhile, and a turn's answer has ids and times of its own.
        for told in [&mut short, &mut long] {
            told.1 =
                told.1.iter().map(|field| field.split("; evidence=").next().unwrap().to_owned()).collect();
        }
        if method == "POST" {
            short.2.clear();
            long.2.clear();
            for told in [&mut short, &mut long] {
                told.1.retain(|field| !field.starts_with("content-length"));
            }
        }
        assert_eq!(short, long, "{what}");
        let asked: Vec<_> = town.fake.requests().split_off(before);
        let asked: Vec<_> =
            asked.into_iter().filter(|asked| asked.header("x-pointsman-hop").is_some()).collect();
        let [short, long] = &asked[..] else { panic!("{what}: {asked:?}") };
        assert_eq!((short.line(), short.target(), &short.body), (long.line(), long.target(), &long.body));
        let seen = |headers: &http::HeaderMap| {
            let mut seen: Vec<_> =
                headers.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
            seen.sort_by(|one, other| one.0.cmp(&other.0));
            seen
        };
        assert_eq!(seen(&short.headers), seen(&long.headers), "{what}");
    }
}

/// Passes bytes on to a server and keeps those that it is sent.
async fn listening_in(server: String) -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heard: Arc<Mutex<Vec<u8>>> = Arc::default();
    let kept = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (mut from, mut back) = client.into_split();
            let (mut answers, mut to) = connect(&server).await.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut answers, &mut back).await });
            let kept = Arc::clone(&kept);
            tokio::spawn(async move {
                let mut room = vec![0; 4096];
                while let Ok(count @ 1..) = from.read(&mut room).await {
                    kept.lock().extend_from_slice(&room[..count]);
                    if to.write_all(&room[..count]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (url, heard)
}

#[tokio::test]
async fn a_plain_request_takes_the_fast_path_which_keeps_the_letters_of_its_fields() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let (url, heard) = listening_in(fake.address()).await;
    let daemon = Daemon::start([url]).await;
    fake.wait_for_streams(1).await;
    let session = fake.create_session().id;
    daemon
        .wait_for_answer(&format!("/session/{session}"), |answer| answer.route().starts_with("owner"))
        .await;
    let town = Town { fake, daemon, session };
    for (name, fields) in [("X-Short-Way", ""), ("X-Long-Way", LONG_WAY)] {
        assert_eq!(town.ask("GET", "", &format!("{name}: 1\r\n{fields}"), "").await.status(), 200);
    }
    let mut client = connect(town.daemon.address()).await;
    for fields in [LONG_WAY, "X-Back-Again: 1\r\n"] {
        client.write_all(town.request("GET", "", fields, "").as_bytes()).await.unwrap();
        answer_on(&mut client).await;
    }
    let heard = String::from_utf8_lossy(&heard.lock()).into_owned();
    assert!(heard.contains("\r\nX-Short-Way: 1\r\n"), "{heard}");
    assert!(heard.contains("\r\nx-long-way: 1\r\n"), "the other way is the library's: {heard}");
    assert!(heard.contains("\r\nX-Back-Again: 1\r\n"), "a connection comes back: {heard}");
}

/// One answer whose length is told.
async fn answer_on(stream: &mut TcpStream) -> String {
    answer_from(&mut stream.split().0).await
}

async fn answer_from(stream: &mut ReadHalf<'_>) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(patiently("the head", stream.read_u8()).await.expect("the connection is open"));
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.to_lowercase();
    let length = length.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    patiently("the body", stream.read_exact(&mut body)).await.unwrap();
    format!("{head}{}", String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_in_their_order_whichever_way_they_go() {
    let town = Town::start().await;
    let mut client = connect(town.daemon.address()).await;
    let plain = |n: u32| town.request("GET", &format!("?n={n}"), "", "");
    let long = |n: u32| town.request("GET", &format!("?n={n}"), LONG_WAY, "");
    let all = [plain(1), plain(2), long(3), plain(4), long(5), plain(6)].concat();
    client.write_all(all.as_bytes()).await.unwrap();
    for _ in 1..=6 {
        let answer = answer_on(&mut client).await;
        assert!(answer.contains(&town.session), "{answer}");
    }
    let asked: Vec<String> = town.fake.requests().iter().map(|asked| asked.query.clone()).collect();
    let asked: Vec<&str> =
        asked.iter().filter(|query| query.starts_with("n=")).map(|query| &query[2..]).collect();
    assert_eq!(asked, ["1", "2", "3", "4", "5", "6"]);
}

#[tokio::test]
async fn what_the_long_way_has_read_of_the_next_request_is_not_lost() {
    let town = Town::start().await;
    let next = town.request("GET", "?n=2", "", "");
    for cut in [1, next.len() / 2, next.len() - 1] {
        let mut client = connect(town.daemon.address()).await;
        let first = town.request("GET", "?n=1", LONG_WAY, "");
        client.write_all([&first, &next[..cut]].concat().as_bytes()).await.unwrap();
        assert!(answer_on(&mut client).await.contains(&town.session));
        client.write_all(&next.as_bytes()[cut..]).await.unwrap();
        assert!(answer_on(&mut client).await.starts_with("HTTP/1.1 200 "), "cut at {cut}");
    }
}

#[tokio::test]
async fn a_servers_password_takes_the_place_of_what_the_client_says_either_way() {
    let store = FakeStore::new();
    let builder = FakeServer::builder(&store, &store.directory("a")).invocation(Invocation::Serve);
    let fake = builder.password("opencode", "hunter2").start().await;
    let config = format!("[[server]]\nurl = \"{}\"\npassword = \"hunter2\"\n", fake.url());
    let daemon = Daemon::builder().config(&config).start().await;
    fake.wait_for_streams(1).await;
    let session = fake.create_session().id;
    daemon.wait_for_owner(&session, &fake, "emitted").await;
    let town = Town { fake, daemon, session };
    for fields in ["Authorization: Bearer theirs\r\n", "Authorization: Bearer theirs\r\nte: x\r\n"] {
        assert_eq!(town.ask("GET", "?mine=1", fields, "").await.status(), 200);
        let seen = town.fake.requests().into_iter().rev().find(|asked| asked.query == "mine=1").unwrap();
        let shown: Vec<_> = seen.headers.get_all("authorization").iter().collect();
        assert_eq!(shown, ["Basic b3BlbmNvZGU6aHVudGVyMg=="], "{fields}");
    }
}

#[tokio::test]
async fn however_requests_are_mixed_and_cut_each_has_its_answer() {
    let town = Town::start().await;
    town.fake.script(&format!("GET /session/{}/echo*", town.session), |question| async move {
        Response::new(Body::from(format!("of {}", question.uri().query().unwrap_or_default())))
    });
    town.fake.script(&format!("PUT /session/{}/echo*", town.session), |question| async move {
        let query = question.uri().query().unwrap_or_default().to_owned();
        let body = question.into_body().collect().await.unwrap().to_bytes();
        Response::new(Body::from(format!("of {query} with {} bytes", body.len())))
    });
    let mut random = StdRng::seed_from_u64(7);
    for _ in 0..20 {
        let mut client = connect(town.daemon.address()).await;
        let (mut sent, mut wanted) = (Vec::new(), Vec::new());
        for n in 0..40 {
            let fields = if random.random_bool(0.4) { LONG_WAY } else { "" };
            let path = format!("/echo?n={n}");
            if random.random_bool(0.5) {
                sent.extend_from_slice(town.request("GET", &path, fields, "").as_bytes());
                wanted.push(format!("of n={n}"));
            } else {
                let size = *[1, 10, 5_000, 70_000].choose(&mut random).unwrap();
                sent.extend_from_slice(town.request("PUT", &path, fields, &"x".repeat(size)).as_bytes());
                wanted.push(format!("of n={n} with {size} bytes"));
            }
        }
        let (mut answers, mut requests) = client.split();
        let sending = async {
            let mut rest = &sent[..];
            while !rest.is_empty() {
                let cut = random.random_range(1..=rest.len().min(9_000));
                requests.write_all(&rest[..cut]).await.unwrap();
                rest = &rest[cut..];
            }
        };
        let reading = async {
            let mut told = Vec::new();
            for _ in &wanted {
                told.push(answer_from(&mut answers).await.split_once("\r\n\r\n").unwrap().1.to_owned());
            }
            told
        };
        let ((), told) = tokio::join!(sending, reading);
        assert_eq!(told, wanted);
    }
}

#[tokio::test]
async fn a_request_in_pieces_is_one_request() {
    let town = Town::start().await;
    let mut client = connect(town.daemon.address()).await;
    let turn =
        town.request("POST", "/message", "content-type: application/json\r\n", &prompt("hi").to_string());
    for byte in turn.as_bytes() {
        client.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(read_until(&mut client, b"\r\n\r\n").await.starts_with(b"HTTP/1.1 200 "));
    assert_eq!(town.fake.turns_run().len(), 1);
}

#[tokio::test]
async fn a_read_to_which_nothing_was_answered_is_sent_once_more_and_a_turn_is_not() {
    let town = Town::start().await;
    let path = format!("/session/{}", town.session);
    town.fake.fault_times(&format!("GET {path}"), 1, Fault::Drop);
    assert_eq!(town.ask("GET", "", "", "").await.status(), 200);
    assert_eq!(town.fake.requests_to(&format!("GET {path}")).len(), 2);
    town.fake.fault(&format!("GET {path}"), Fault::Drop);
    let refused = town.ask("GET", "", "", "").await;
    assert_eq!(
        (refused.status(), refused.headers("x-pointsman-error")),
        (502, vec!["ServerBrokeOffError".into()])
    );
    assert_eq!(refused.headers("content-length"), [refused.body().len().to_string()]);
    assert_eq!(town.fake.requests_to(&format!("GET {path}")).len(), 4);
    let turn = format!("POST {path}/message");
    town.fake.fault(&turn, Fault::Drop);
    let refused = town.ask("POST", "/message", "", &prompt("hello").to_string()).await;
    assert_eq!(refused.status(), 502);
    assert_eq!(town.fake.requests_to(&turn).len(), 1);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_told_as_a_whole_one() {
    let town = Town::start().await;
    let path = format!("GET /session/{}", town.session);
    town.fake.fault(&path, Fault::DropAfter(5));
    let mut client = connect(town.daemon.address()).await;
    client.write_all(town.request("GET", "", "", "").as_bytes()).await.unwrap();
    let broken = rest(&mut client).await;
    assert_eq!((broken.status(), broken.body().len()), (200, 5));
    assert_eq!(town.fake.requests_to(&path).len(), 1, "of what has begun nothing is sent again");
}

#[tokio::test]
async fn a_client_that_leaves_is_missed_by_the_server_also_behind_requests_sent_ahead() {
    let town = Town::start().await;
    let path = format!("GET /session/{}", town.session);
    town.fake.fault(&path, Fault::Hang);
    let mut client = connect(town.daemon.address()).await;
    let request = town.request("GET", "", "", "");
    client.write_all(request.repeat(3).as_bytes()).await.unwrap();
    town.fake.wait_for_request(&path).await;
    drop(client);
    town.fake.wait_for(|asked| asked.is(&path) && asked.outcome == Outcome::Abandoned).await;
    assert_eq!(town.fake.requests_to(&path).len(), 1);
}
