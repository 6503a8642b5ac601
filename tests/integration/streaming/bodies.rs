//! Bodies stream both ways, held back by whoever reads slowly, and cost no memory.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Response;
use http_body_util::BodyExt;
use tokio::{
    io::AsyncReadExt,
    io::AsyncWriteExt,
    sync::{Notify, mpsc},
};

use crate::support::{
    daemon::Daemon,
    eventually::{eventually, patiently},
    fake::{FakeServer, FakeStore},
    town::daemon_before,
    wire::{connect, read_until},
};

const PIECE: usize = 64 * 1024;
const PIECES: usize = 1024;

/// What the daemon may grow by while 64 MiB pass: its buffers of one connection, and what its allocator keeps.
const MOST_GROWTH: usize = 24 * 1024 * 1024;

async fn one() -> (FakeServer, Daemon) {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let daemon = daemon_before(&[&fake]).await;
    (fake, daemon)
}

/// The most memory the daemon has ever had resident, in bytes.
fn peak(daemon: &Daemon) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// `PIECES` pieces, counted as they are taken.
fn pieces(taken: &Arc<AtomicUsize>) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (taken, piece) = (taken.clone(), Bytes::from(vec![7; PIECE]));
    stream::iter(0..PIECES).map(move |_| {
        taken.fetch_add(1, Ordering::Relaxed);
        Ok(piece.clone())
    })
}

/// Waits until nobody takes any more pieces; gives how many were taken.
async fn stalled(taken: &AtomicUsize) -> usize {
    let (last, same) = (AtomicUsize::new(0), AtomicUsize::new(0));
    eventually("the sender being held back", || async {
        let now = taken.load(Ordering::Relaxed);
        let unchanged = last.swap(now, Ordering::Relaxed) == now && now > 0;
        let rounds =
            if unchanged { same.fetch_add(1, Ordering::Relaxed) } else { same.swap(0, Ordering::Relaxed) };
        if unchanged && rounds >= 10 { Ok(now) } else { Err(now) }
    })
    .await
}

#[tokio::test]
async fn an_answer_of_64_mib_waits_for_a_client_that_does_not_read_and_fills_no_memory() {
    let (fake, daemon) = one().await;
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = taken.clone();
    fake.script("GET /file/content", move |_| {
        let body = Body::from_stream(pieces(&counted));
        async move { Response::new(body) }
    });
    let before = peak(&daemon);
    let host = daemon.address();
    let mut client = connect(host).await;
    let request = format!("GET /file/content HTTP/1.0\r\nhost: {host}\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    read_until(&mut client, b"\r\n\r\n").await;
    let taken = stalled(&taken).await;
    assert!(taken < PIECES, "nobody held the server back");
    let mut read = 0;
    let mut buffer = vec![0; PIECE];
    while let Ok(count @ 1..) = patiently("the rest", client.read(&mut buffer)).await {
        read += count;
    }
    assert_eq!(read, PIECE * PIECES);
    let growth = peak(&daemon) - before;
    assert!(growth < MOST_GROWTH, "grew by {growth} bytes");
}

#[tokio::test]
async fn a_request_of_64_mib_waits_for_a_server_that_does_not_read_and_fills_no_memory() {
    let (fake, daemon) = one().await;
    let go = Arc::new(Notify::new());
    let wait = go.clone();
    fake.script("POST /log", move |question| {
        let wait = wait.clone();
        async move {
            wait.notified().await;
            let mut body = question.into_body();
            let mut read = 0;
            while let Some(Ok(frame)) = body.frame().await {
                read += frame.data_ref().map_or(0, Bytes::len);
            }
            Response::new(Body::from(read.to_string()))
        }
    });
    let before = peak(&daemon);
    let taken = Arc::new(AtomicUsize::new(0));
    let request = daemon.request("POST", "/log").body(reqwest::Body::wrap_stream(pieces(&taken)));
    let sending = tokio::spawn(request.send());
    assert!(stalled(&taken).await < PIECES, "nobody held the client back");
    go.notify_one();
    let answer = patiently("the answer", sending).await.unwrap().unwrap();
    assert_eq!(answer.text().await.unwrap(), (PIECE * PIECES).to_string());
    let growth = peak(&daemon) - before;
    assert!(growth < MOST_GROWTH, "grew by {growth} bytes");
}

#[tokio::test]
async fn the_first_bytes_of_an_answer_arrive_before_the_last_are_made() {
    let (fake, daemon) = one().await;
    let (say, said) = mpsc::unbounded_channel::<io::Result<Bytes>>();
    let said = parking_lot::Mutex::new(Some(said));
    fake.script("POST /session/*", move |_| {
        let mut said = said.lock().take().expect("asked once");
        let body = Body::from_stream(stream::poll_fn(move |cx| said.poll_recv(cx)));
        async move { Response::new(body) }
    });
    let session = fake.create_session().id;
    let request = daemon.request("POST", &format!("/session/{session}/message")).body("{}");
    let response = patiently("the head", request.send()).await.unwrap();
    let mut body = response.bytes_stream();
    for piece in ["one", "two"] {
        say.send(Ok(Bytes::from(piece))).unwrap();
        assert_eq!(patiently("a piece", body.next()).await.unwrap().unwrap(), piece);
    }
    drop(say);
    assert!(patiently("the end", body.next()).await.is_none());
}

#[tokio::test]
async fn the_first_bytes_of_a_request_arrive_before_the_last_are_sent() {
    let (fake, daemon) = one().await;
    let (heard, mut hear) = mpsc::unbounded_channel();
    fake.script("POST /log", move |question| {
        let heard = heard.clone();
        async move {
            let mut body = question.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                heard.send(frame.into_data().unwrap_or_default()).unwrap();
            }
            Response::new(Body::from("done"))
        }
    });
    let (say, mut said) = mpsc::unbounded_channel::<io::Result<Bytes>>();
    let body = reqwest::Body::wrap_stream(stream::poll_fn(move |cx| said.poll_recv(cx)));
    let sending = tokio::spawn(daemon.request("POST", "/log").body(body).send());
    for piece in ["one", "two"] {
        say.send(Ok(Bytes::from(piece))).unwrap();
        assert_eq!(patiently("a piece", hear.recv()).await.unwrap(), piece);
    }
    drop(say);
    assert_eq!(patiently("the answer", sending).await.unwrap().unwrap().text().await.unwrap(), "done");
}

#[tokio::test]
async fn a_turn_that_stays_silent_for_longer_than_every_deadline_is_not_cut() {
    let store = FakeStore::new();
    let fake = FakeServer::serve(&store, &store.directory("a")).await;
    let builder = Daemon::builder().server(fake.url());
    let builder = builder.env("POINTSMAN_CONNECT_TIMEOUT", "100ms").env("POINTSMAN_MERGE_DEADLINE", "100ms");
    let daemon = builder.start().await;
    fake.wait_for_streams(1).await;
    let session = fake.create_session().id;
    let turn = daemon.turn(&session, "SLOW");
    let silence = async {
        fake.wait_for(|request| request.is(&format!("POST /session/{session}/message"))).await;
        // The silence itself is what is tested.
        tokio::time::sleep(Duration::from_secs(4)).await;
        fake.finish(&session);
    };
    let (answer, ()) = tokio::join!(turn, silence);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["info"]["finish"], "stop");
    assert!(answer.took >= Duration::from_secs(4));
}
