//! Servers whose answers are framed oddly, cut oddly, or false: what they say to one request is never taken for the
//! answer to another, on the fast path and on the long way.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::yield_now,
};

use crate::support::{
    daemon::Daemon,
    eventually::{eventually, patiently},
    fake::{FakeServer, FakeStore, Fault},
    wire::{Raw, connect, read_until, rest},
};

/// How bytes are said in place of an answer, and what follows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    AtOnce,
    ByteByByte,
    ThenCloses,
}

use How::{AtOnce, ByteByByte, ThenCloses};

/// What was said instead of a server's answers, and on which of its connections.
#[derive(Default)]
struct Said {
    lines: HashMap<String, (Vec<u8>, How)>,
    /// Path and number of the connection.
    asked: Vec<(String, usize)>,
    /// Connections that have ended.
    ended: Vec<usize>,
}

/// One server with one session. What is asked of `/session/ID/odd/NAME` is answered with bytes.
struct Town {
    fake: FakeServer,
    daemon: Daemon,
    session: String,
    said: Arc<Mutex<Said>>,
}

impl Town {
    async fn start() -> Self {
        let store = FakeStore::new();
        let fake = FakeServer::serve(&store, &store.directory("a")).await;
        let said: Arc<Mutex<Said>> = Arc::default();
        let daemon = Daemon::start([meddled(fake.address(), Arc::clone(&said)).await]).await;
        fake.wait_for_streams(1).await;
        let session = fake.create_session().id;
        daemon
            .wait_for_answer(&format!("/session/{session}"), |answer| answer.route().starts_with("owner"))
            .await;
        Self { fake, daemon, session, said }
    }

    fn says(&self, name: &str, bytes: impl AsRef<[u8]>, how: How) {
        self.said.lock().lines.insert(name.to_owned(), (bytes.as_ref().to_vec(), how));
    }

    fn request(&self, method: &str, path: &str, fields: &str) -> String {
        let (session, host) = (&self.session, self.daemon.address());
        format!("{method} /session/{session}{path} HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n")
    }

    /// Asks for `name` alone.
    async fn ask(&self, method: &str, name: &str) -> Raw {
        let mut client = connect(self.daemon.address()).await;
        let request = self.request(method, &format!("/odd/{name}"), "connection: close\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        rest(&mut client).await
    }

    /// Waits until this connection has ended.
    async fn ended(&self, link: usize) {
        eventually("the connection ends", async || {
            let ended = self.said.lock().ended.contains(&link);
            if ended { Ok(()) } else { Err("it is open") }
        })
        .await;
    }

    /// The number of the connection on which `name` was asked last.
    fn link(&self, name: &str) -> usize {
        let said = self.said.lock();
        said.asked.iter().rev().find(|(asked, _)| asked == name).unwrap().1
    }
}

/// Stands before `server`, and says what `said` has instead of it.
async fn meddled(server: String, said: Arc<Mutex<Said>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((client, _)) = listener.accept().await {
            number += 1;
            let (server, said) = (server.clone(), Arc::clone(&said));
            tokio::spawn(async move {
                meddle(client, &server, number, &said).await;
                said.lock().ended.push(number);
            });
        }
    });
    url
}

async fn meddle(mut client: TcpStream, server: &str, number: usize, said: &Mutex<Said>) {
    let mut server = connect(server).await;
    let (mut question, mut answer) = (vec![0; 128 * 1024], vec![0; 128 * 1024]);
    loop {
        tokio::select! {
            read = client.read(&mut question) => {
                let Ok(count @ 1..) = read else { return };
                let line = String::from_utf8_lossy(&question[..count]).into_owned();
                let target = line.split(' ').nth(1).unwrap_or_default();
                let Some((_, name)) = target.split_once("/odd/") else {
                    if server.write_all(&question[..count]).await.is_err() {
                        return;
                    }
                    continue;
                };
                let (bytes, how) = {
                    let mut said = said.lock();
                    said.asked.push((name.to_owned(), number));
                    said.lines[name].clone()
                };
                let piece = if how == ByteByByte { 1 } else { bytes.len() };
                for part in bytes.chunks(piece.max(1)) {
                    if client.write_all(part).await.is_err() {
                        return;
                    }
                    yield_now().await;
                }
                if how == ThenCloses {
                    return;
                }
            }
            read = server.read(&mut answer) => {
                let Ok(count @ 1..) = read else { return };
                if client.write_all(&answer[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// What makes a request take the long way.
const LONG_WAY: &str = "te: x\r\n";

const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";

#[tokio::test]
async fn what_stands_behind_an_answer_is_never_taken_for_the_next() {
    let town = Town::start().await;
    town.says("fine", FINE, AtOnce);
    let lie = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nlie";
    for (name, method, bytes, same_link) in [
        ("known-length", "GET", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", true),
        ("chunked", "GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", true),
        ("no-content", "GET", "HTTP/1.1 204 No Content\r\n\r\n", true),
        ("unchanged", "GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", true),
        ("head", "HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", true),
        (
            "interim",
            "GET",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n\
             HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            true,
        ),
        (
            "says-close",
            "GET",
            "HTTP/1.1 200 OK\r\nconnection: x-y\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
            false,
        ),
        ("older", "GET", "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", false),
    ] {
        for behind in ["", lie] {
            town.says(name, format!("{bytes}{behind}"), AtOnce);
            let mut client = connect(town.daemon.address()).await;
            client.write_all(town.request(method, &format!("/odd/{name}"), "").as_bytes()).await.unwrap();
            read_until(&mut client, b"\r\n\r\n").await;
            let fine = town.request("POST", "/odd/fine", "connection: close\r\n");
            client.write_all(fine.as_bytes()).await.unwrap();
            let told = rest(&mut client).await.text();
            // The rest of the first answer comes before the next.
            let body = bytes.rsplit("\r\n\r\n").next().unwrap();
            let body = if name == "chunked" { "2\r\nok\r\n0\r\n\r\n" } else { body };
            let next = told.strip_prefix(body).unwrap_or_else(|| panic!("{name}: {told}"));
            assert!(
                next.starts_with("HTTP/1.1 200 OK\r\n") && next.ends_with("\r\n\r\nfine"),
                "{name}: {told}"
            );
            let is_same = town.link(name) == town.link("fine");
            assert_eq!(is_same, same_link && behind.is_empty(), "{name} with {behind:?} behind");
        }
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_the_clients_last() {
    let town = Town::start().await;
    town.says("endless", "HTTP/1.1 200 OK\r\n\r\nhello", ThenCloses);
    let mut client = connect(town.daemon.address()).await;
    let both = [town.request("GET", "/odd/endless", ""), town.request("GET", "", "")].concat();
    client.write_all(both.as_bytes()).await.unwrap();
    let told = rest(&mut client).await;
    assert_eq!((told.status(), told.body()), (200, &b"hello"[..]), "{}", told.text());
    assert_eq!(told.headers("connection"), ["close"]);
}

#[tokio::test]
async fn a_connection_that_its_server_has_closed_carries_no_turn() {
    let town = Town::start().await;
    town.says("leaves", FINE, ThenCloses);
    town.says("fine", FINE, AtOnce);
    let mut client = connect(town.daemon.address()).await;
    for _ in 0..3 {
        client.write_all(town.request("GET", "/odd/leaves", "").as_bytes()).await.unwrap();
        read_until(&mut client, b"\r\n\r\nfine").await;
        let link = town.link("leaves");
        town.ended(link).await;
        client.write_all(town.request("POST", "/odd/fine", "").as_bytes()).await.unwrap();
        assert!(read_until(&mut client, b"\r\n\r\nfine").await.starts_with(b"HTTP/1.1 200 "));
        assert_ne!(town.link("fine"), link);
    }
}

#[tokio::test]
async fn an_answer_that_comes_byte_by_byte_is_one_answer() {
    let town = Town::start().await;
    let chunks = "2\r\nok\r\n1;x=y\r\n!\r\n0\r\nx-sum: 1\r\n\r\n";
    let head = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nx-a: b\r\ntransfer-encoding: chunked\r\n\r\n";
    town.says("pieces", format!("{head}{chunks}"), ByteByByte);
    let told = town.ask("GET", "pieces").await;
    assert_eq!((told.status(), told.body(), told.headers("x-a")), (200, chunks.as_bytes(), vec!["b".into()]));
}

#[tokio::test]
async fn what_is_no_answer_is_refused_in_words_and_the_connection_ends() {
    let town = Town::start().await;
    let large = format!("HTTP/1.1 200 OK\r\nx-large: {}", "x".repeat(70 * 1024));
    for (name, bytes) in [
        ("garbage", "what do you want?\r\n\r\n"),
        ("large", large.as_str()),
        ("switched", "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"),
        ("two-lengths", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
        ("bad-chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokk"),
    ] {
        town.says(name, bytes, AtOnce);
        let told = town.ask("POST", name).await;
        assert_eq!(
            (told.status(), told.headers("x-pointsman-error")),
            (502, vec!["ServerBrokeOffError".into()]),
            "{name}"
        );
        assert_eq!(told.headers("content-length"), [told.body().len().to_string()], "{name}");
        let link = town.link(name);
        town.ended(link).await;
        let told = town.ask("HEAD", name).await;
        // Its answer has no chunks, so none can be bad.
        let status = if name == "bad-chunk" { 200 } else { 502 };
        assert_eq!((told.status(), told.body()), (status, &b""[..]), "a HEAD has no body: {name}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_an_answer_is_missed_by_its_server() {
    let town = Town::start().await;
    town.says("stalls", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello", AtOnce);
    for fields in ["", LONG_WAY] {
        let mut client = connect(town.daemon.address()).await;
        client.write_all(town.request("GET", "/odd/stalls", fields).as_bytes()).await.unwrap();
        read_until(&mut client, b"\r\n\r\nhello").await;
        let link = town.link("stalls");
        assert!(!town.said.lock().ended.contains(&link));
        drop(client);
        town.ended(link).await;
    }
}

#[tokio::test]
async fn what_has_begun_when_we_are_told_to_stop_is_answered_and_the_answer_says_that_it_is_the_last() {
    for fields in ["", LONG_WAY] {
        let mut town = Town::start().await;
        let path = format!("GET /session/{}/message", town.session);
        town.says("fine", FINE, AtOnce);
        town.fake.fault(&path, Fault::Hang);
        let mut waiting = connect(town.daemon.address()).await;
        waiting.write_all(town.request("GET", "/message", fields).as_bytes()).await.unwrap();
        town.fake.wait_for_request(&path).await;
        let mut begun = connect(town.daemon.address()).await;
        let mut idle = connect(town.daemon.address()).await;
        for client in [&mut begun, &mut idle] {
            client.write_all(town.request("GET", "/odd/fine", fields).as_bytes()).await.unwrap();
            read_until(client, b"\r\n\r\nfine").await;
        }
        let request = town.request("GET", "/todo", fields);
        let (one, other) = request.split_at(request.len() / 2);
        begun.write_all(one.as_bytes()).await.unwrap();
        town.daemon.process().signal(Signal::TERM);
        assert_eq!(rest(&mut idle).await.text(), "", "a connection at rest ends at once");
        begun.write_all(other.as_bytes()).await.unwrap();
        town.fake.lift_faults();
        for client in [&mut begun, &mut waiting] {
            let told = patiently("the last answer", rest(client)).await;
            assert_eq!((told.status(), told.headers("connection")), (200, vec!["close".into()]), "{fields}");
        }
    }
}
