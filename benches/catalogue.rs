//! What ninety clients that start at one time cost, and what a second start takes, through the catalogue and direct.
//!
//! `cargo bench --bench catalogue` prints one line for each. The server is simulated: it takes 500 ms over 6.4 MB of
//! JSON, in gzip if asked, as a real one does for `/provider`. Everything runs in this process over loopback; the
//! catalogue is behind a plain HTTP front of its own, so that what is measured is the path and no guard.

#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    convert::Infallible,
    fmt::Write as _,
    io::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{Request, Response, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use pointsman::{
    domain::{ids::StoreKey, kind::Kind},
    opencode::operations::Subject,
    proxy::{
        body::RequestBody,
        catalogue::Catalogue,
        forward::Forwarder,
        route::{Route, Target},
    },
    registry::{
        Registry,
        server::{Address, Server, ServerId, State},
    },
};
use tokio::{net::TcpListener, runtime::Handle, task::JoinSet};

const CLIENTS: usize = 90;
const TAKES: Duration = Duration::from_millis(500);
const BYTES: usize = 6_400_000;
const KEEP_FOR: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() {
    let asked = Arc::new(AtomicUsize::new(0));
    let server = serve_origin(Arc::clone(&asked)).await;
    let off = serve_front(server, Duration::ZERO).await;
    let on = serve_front(server, KEEP_FOR).await;
    for coding in ["gzip", "identity"] {
        println!("-- accept-encoding: {coding}");
        for (name, address) in [("direct", server), ("proxy, nothing kept", off), ("catalogue", on)] {
            // The catalogue keeps one answer for both codings: a change makes each round begin anew.
            forget(address).await;
            let before = asked.load(Relaxed);
            let begun = Instant::now();
            let mut clients = JoinSet::new();
            for _ in 0..CLIENTS {
                clients.spawn(read(address, coding));
            }
            let bytes: usize = clients.join_all().await.into_iter().sum();
            let (took, requests) = (begun.elapsed(), asked.load(Relaxed) - before);
            let again = best_of(5, address, coding).await;
            println!(
                "{name:20} {CLIENTS} at once: {requests:2} requests, {took:>9.1?}, {:5.1} MB; one more: {again:>9.1?}",
                megabytes(bytes)
            );
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

async fn best_of(times: usize, address: SocketAddr, coding: &str) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..times {
        let begun = Instant::now();
        read(address, coding).await;
        best = best.min(begun.elapsed());
    }
    best
}

/// Reads the catalogue as a client that has just started, on a connection of its own.
fn read(address: SocketAddr, coding: &str) -> impl Future<Output = usize> + Send + 'static {
    let request = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = request.get(format!("http://{address}/provider")).header("accept-encoding", coding);
    async move { request.send().await.unwrap().bytes().await.unwrap().len() }
}

async fn forget(address: SocketAddr) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client.patch(format!("http://{address}/config")).send().await.unwrap();
}

/// Some text with about as much in it to compress as a list of models.
fn text() -> String {
    let mut text = String::from("[");
    for n in 0_u32.. {
        let (id, cost) = (n.wrapping_mul(2_654_435_761), n % 97);
        let _ = write!(
            text,
            r#"{{"id":"model-{id:x}","name":"Model {n}","cost":{{"input":{cost},"output":{}}},"limit":{{"context":{},"output":8192}},"capabilities":{{"temperature":true,"reasoning":{},"attachment":false,"toolcall":true}}}},"#,
            cost * 3,
            (id % 64) * 4096,
            n % 2 == 0,
        );
        if text.len() > BYTES {
            break;
        }
    }
    text + "{}]"
}

async fn serve_origin(asked: Arc<AtomicUsize>) -> SocketAddr {
    let plain = Bytes::from(text());
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&plain).unwrap();
    let zipped = Bytes::from(encoder.finish().unwrap());
    println!("{:.1} MB, {:.2} MB in gzip", megabytes(plain.len()), megabytes(zipped.len()));
    serve(move |request: Request<Incoming>| {
        let (asked, plain, zipped) = (Arc::clone(&asked), plain.clone(), zipped.clone());
        async move {
            let response = Response::builder().header(header::CONTENT_TYPE, "application/json");
            if request.uri().path() != "/provider" {
                return response.body(Full::from("{}")).unwrap();
            }
            asked.fetch_add(1, Relaxed);
            tokio::time::sleep(TAKES).await;
            let accepts = request.headers().get(header::ACCEPT_ENCODING);
            if accepts.is_some_and(|accepts| accepts.to_str().is_ok_and(|accepts| accepts.contains("gzip"))) {
                response.header(header::CONTENT_ENCODING, "gzip").body(Full::from(zipped)).unwrap()
            } else {
                response.body(Full::from(plain)).unwrap()
            }
        }
    })
    .await
}

/// The catalogue as the daemon has it, in front of `server`.
async fn serve_front(server: SocketAddr, keep_for: Duration) -> SocketAddr {
    let registry = Arc::new(Registry::new(None));
    let server = registry
        .arrive(|key| Server {
            key,
            id: ServerId("srv_1".into()),
            address: Address::new("127.0.0.1", server.port()),
            credentials: None,
            kind: Kind::Serve,
            process: None,
            store: StoreKey(1),
            directory: Some("/work".into()),
            worktree: None,
            project: None,
            version: None,
            state: State::Up,
            since_ms: 0,
            sources: Vec::new(),
            preferred: false,
            plugin: false,
            reports_screen: false,
            usage: None,
            directories: Arc::default(),
        })
        .unwrap();
    let forwarder = Arc::new(Forwarder::new(registry, Duration::from_secs(2)));
    let catalogue = Catalogue::new(Arc::clone(&forwarder), keep_for, Handle::current());
    let target = Target::new(server, Route::Default);
    serve(move |request: Request<Incoming>| {
        let (catalogue, forwarder, target) = (catalogue.clone(), Arc::clone(&forwarder), target.clone());
        async move {
            let request = request.map(RequestBody::Incoming);
            catalogue.pass(&forwarder, request, Subject::Directory, &target).await.unwrap().0
        }
    })
    .await
}

async fn serve<B, F>(answer: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static) -> SocketAddr
where
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    F: Future<Output = Response<B>> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                stream.set_nodelay(true).unwrap();
                let service = service_fn(|request| {
                    let answer = answer(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                // A client that leaves ends here.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}
