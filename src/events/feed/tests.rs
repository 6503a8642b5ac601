use std::convert::Infallible;

use futures_util::stream;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use super::*;

const SERVER: ServerKey = ServerKey(7);
const GREETING: &str =
    "data: {\"payload\":{\"id\":\"evt_1\",\"type\":\"server.connected\",\"properties\":{}}}\n\n";
const BEAT: &str =
    "data: {\"payload\":{\"id\":\"evt_1\",\"type\":\"server.heartbeat\",\"properties\":{}}}\n\n";
const IDLE: &str = "data: {\"directory\":\"/a\",\"payload\":{\"type\":\"session.idle\",\"properties\":{\"sessionID\":\"ses_1\"}}}\n\n";

/// Hands what was reported to the test.
struct Reports(mpsc::UnboundedSender<String>);

impl Reports {
    fn new() -> (Self, mpsc::UnboundedReceiver<String>) {
        let (send, receive) = mpsc::unbounded_channel();
        (Self(send), receive)
    }

    fn report(&self, server: ServerKey, text: String) {
        assert_eq!(server, SERVER);
        self.0.send(text).unwrap();
    }
}

impl Intake for Reports {
    fn connected(&self, server: ServerKey) {
        self.report(server, "connected".into());
    }

    fn received(&self, server: ServerKey, event: Decoded) {
        self.report(server, event.kind.into_owned());
    }

    fn malformed(&self, server: ServerKey, why: Skipped) {
        let text = match why {
            Skipped::TooLarge(count) => format!("{count} too large"),
            Skipped::Malformed(_) => "malformed".into(),
        };
        self.report(server, text);
    }

    fn silent(&self, server: ServerKey) {
        self.report(server, "silent".into());
    }

    fn awake(&self, server: ServerKey) {
        self.report(server, "awake".into());
    }

    fn lost(&self, server: ServerKey, why: Lost) {
        let text = match why {
            Lost::Refused(_) => "refused".into(),
            Lost::Unreachable(_) => "unreachable".into(),
            Lost::Locked => "locked".into(),
            Lost::Foreign { status, content_type } => format!("foreign {} {content_type}", status.as_u16()),
            Lost::Broken(_) => "broken".into(),
            Lost::Ended => "ended".into(),
        };
        self.report(server, text);
    }
}

fn feed(interface: Interface) -> Feed {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let authorization = Some(HeaderValue::from_static("Basic b3Blbg=="));
    let url = Url::parse("http://127.0.0.1:1/").unwrap();
    Feed { server: SERVER, client, url, interface, authorization }
}

async fn reports_of(chunks: Vec<&str>) -> Vec<String> {
    let (intake, mut reports) = Reports::new();
    let chunks =
        chunks.into_iter().map(|chunk| Ok::<_, Infallible>(Bytes::copy_from_slice(chunk.as_bytes())));
    assert!(feed(Interface::First).follow(stream::iter(chunks), &intake, &mut false).await.is_none());
    drop(intake);
    let mut all = Vec::new();
    while let Some(report) = reports.recv().await {
        all.push(report);
    }
    all
}

#[tokio::test]
async fn events_are_reported_and_the_streams_own_kept_back() {
    assert_eq!(
        reports_of(vec![GREETING, BEAT, &IDLE[..20], &IDLE[20..], BEAT]).await,
        ["connected", "session.idle"]
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_reported_and_the_next_event_received() {
    let large = format!("data: \"{}\n\n", "x".repeat(sse::MAX_EVENT));
    let chunks = vec![GREETING, "data: {broken\n\n", IDLE, "data: <html>\n\n: comment\n\n", &large, IDLE];
    assert_eq!(
        reports_of(chunks).await,
        ["connected", "malformed", "session.idle", "malformed", "1 too large", "session.idle"]
    );
}

#[tokio::test(start_paused = true)]
async fn silence_is_reported_once_and_any_byte_ends_it() {
    let (intake, mut reports) = Reports::new();
    let (bytes, chunks) = mpsc::unbounded_channel::<Result<Bytes, Infallible>>();
    let chunks = tokio_stream::wrappers::UnboundedReceiverStream::new(chunks);
    let feed = tokio::spawn(async move { feed(Interface::First).follow(chunks, &intake, &mut false).await });
    let start = Instant::now();
    assert_eq!(reports.recv().await.unwrap(), "silent");
    assert_eq!(start.elapsed().as_secs(), SILENCE.as_secs());
    tokio::time::advance(SILENCE * 10).await;
    bytes.send(Ok(Bytes::from_static(b":"))).unwrap();
    assert_eq!(reports.recv().await.unwrap(), "awake");
    // A byte every 20 s is life.
    for _ in 0..5 {
        tokio::time::advance(Duration::from_secs(20)).await;
        bytes.send(Ok(Bytes::from_static(b":"))).unwrap();
        tokio::task::yield_now().await;
    }
    assert!(reports.is_empty());
    assert_eq!(reports.recv().await.unwrap(), "silent");
    drop(bytes);
    feed.await.unwrap();
    assert_eq!(reports.recv().await, None, "an end is no life");
}

/// A server on loopback whose answers the test writes, and a feed that reads it.
struct Scene {
    listener: TcpListener,
    reports: mpsc::UnboundedReceiver<String>,
    stop: CancellationToken,
    feed: tokio::task::JoinHandle<()>,
}

impl Scene {
    async fn new() -> Self {
        Self::of(Interface::First).await
    }

    async fn of(interface: Interface) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/global/event", listener.local_addr().unwrap()).parse().unwrap();
        let (intake, reports) = Reports::new();
        let stop = CancellationToken::new();
        let feed = Feed { url, ..feed(interface) };
        let feed = tokio::spawn(run(feed, intake, stop.clone()));
        Self { listener, reports, stop, feed }
    }

    /// Takes the next request and answers it by `answer`.
    async fn answer(&self, answer: &str) -> TcpStream {
        let (mut socket, _) = self.listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert_ne!(socket.read_buf(&mut head).await.unwrap(), 0);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        assert!(head.starts_with("get /global/event http/1.1\r\n"), "{head}");
        assert!(head.contains("accept: text/event-stream\r\n"), "{head}");
        assert!(head.contains("authorization: basic b3blbg==\r\n"), "{head}");
        socket.write_all(answer.as_bytes()).await.unwrap();
        socket
    }

    async fn report(&mut self) -> String {
        self.reports.recv().await.unwrap()
    }
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn opening() -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: Text/Event-Stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        chunk(GREETING)
    )
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_opened_again() {
    let mut scene = Scene::new().await;
    for _ in 0..2 {
        let mut socket = scene.answer(&opening()).await;
        assert_eq!(scene.report().await, "connected");
        socket.write_all(chunk(IDLE).as_bytes()).await.unwrap();
        assert_eq!(scene.report().await, "session.idle");
        drop(socket);
        assert_eq!(scene.report().await, "broken");
    }
    let mut socket = scene.answer(&opening()).await;
    assert_eq!(scene.report().await, "connected");
    socket.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(scene.report().await, "ended");
}

#[tokio::test]
async fn a_stream_of_the_second_interface_that_ends_in_the_middle_of_things_is_opened_at_once() {
    const API: &str = "data: {\"id\":\"evt_1\",\"type\":\"server.connected\",\"data\":{}}\n\n: heartbeat\n\ndata: {\"type\":\"plugin.added\",\"data\":{}}\n\n";
    let mut scene = Scene::of(Interface::Second).await;
    let start = Instant::now();
    // Attempts that count as failed would take more than ten seconds.
    for _ in 0..10 {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut socket = scene.answer(&format!("{head}{}", chunk(API))).await;
        assert_eq!(scene.report().await, "connected");
        assert_eq!(scene.report().await, "plugin.added");
        socket.write_all(b"0\r\n\r\n").await.unwrap();
        assert_eq!(scene.report().await, "ended");
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_answer_that_is_no_stream_is_told_for_what_it_is() {
    let mut scene = Scene::new().await;
    for (answer, told) in [
        ("200 OK\r\nContent-Type: text/html", "foreign 200 text/html"),
        ("404 Not Found\r\nContent-Type: application/json", "foreign 404 application/json"),
        ("200 OK", "foreign 200 "),
        ("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"Secure Area\"", "locked"),
    ] {
        let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        scene.answer(&answer).await;
        assert_eq!(scene.report().await, told);
    }
    scene.answer(&opening()).await;
    assert_eq!(scene.report().await, "connected");
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_told_as_refused() {
    let Scene { listener, mut reports, stop, feed } = Scene::new().await;
    // The first connection waits in the listener's queue and is reset with it.
    drop(listener);
    while reports.recv().await.unwrap() != "refused" {}
    stop.cancel();
    feed.await.unwrap();
}

#[tokio::test]
async fn a_cancelled_feed_ends_and_lets_its_connection_go() {
    let mut scene = Scene::new().await;
    let mut socket = scene.answer(&opening()).await;
    assert_eq!(scene.report().await, "connected");
    scene.stop.cancel();
    scene.feed.await.unwrap();
    assert_eq!(socket.read(&mut [0; 16]).await.unwrap(), 0);
    assert_eq!(scene.reports.recv().await, None);
}
