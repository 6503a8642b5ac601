//! Simulated agent servers: they answer what a proxy asks and nothing else, as fast as hyper can.
//!
//! They run on one thread of their own, so that what is measured beside them has the rest of the machine.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{LazyLock, mpsc},
    thread,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderValue, Method, Request, Response, header::CONTENT_TYPE};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpSocket},
    time,
};

/// How often a stream of events says that it is there, as real servers do.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Some servers on loopback, each with sessions of its own. They end with the program.
#[derive(Debug)]
pub(crate) struct Servers {
    /// Where they listen.
    pub(crate) addresses: Vec<SocketAddr>,
    sessions: usize,
}

impl Servers {
    /// Starts `count` servers, each with `sessions` sessions. A list takes each of them up to `list_takes`, the last
    /// one all of it.
    pub(crate) fn start(count: usize, sessions: usize, list_takes: Duration) -> Self {
        let (told, addresses) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                for server in 0..count {
                    let socket = TcpSocket::new_v4().unwrap();
                    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
                    let listener = socket.listen(1024).unwrap();
                    told.send(listener.local_addr().unwrap()).unwrap();
                    let part = u32::try_from(server + 1).unwrap();
                    let list_takes = list_takes * part / u32::try_from(count).unwrap();
                    tokio::spawn(serve(listener, Simulated { server, sessions, list_takes }));
                }
                std::future::pending::<()>().await;
            });
        });
        Self { addresses: addresses.iter().take(count).collect(), sessions }
    }

    /// Every session with the server that has it.
    pub(crate) fn sessions(&self) -> Vec<(String, SocketAddr)> {
        let of = |server| (0..self.sessions).map(move |number| session_id(server, number));
        let addresses = self.addresses.iter().enumerate();
        addresses.flat_map(|(server, &address)| of(server).map(move |id| (id, address))).collect()
    }
}

/// One of them.
#[derive(Clone, Copy)]
struct Simulated {
    server: usize,
    sessions: usize,
    list_takes: Duration,
}

async fn serve(listener: TcpListener, simulated: Simulated) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        stream.set_nodelay(true).unwrap();
        let service =
            service_fn(move |request| async move { Ok::<_, Infallible>(answer(request, simulated).await) });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

fn session_id(server: usize, number: usize) -> String {
    format!("ses_{:012x}{server:06}{number:08}", 0x1fde_f41d_e001_u64)
}

fn session(server: usize, number: usize) -> String {
    let id = session_id(server, number);
    format!(
        r#"{{"id":"{id}","slug":"calm-otter","version":"1.18.33","projectID":"p{server}","directory":"/sim/{server}","title":"Session {number} of server {server}","time":{{"created":1795260000000,"updated":{}}}}}"#,
        updated_ms(number)
    )
}

async fn answer(
    request: Request<Incoming>,
    Simulated { server, sessions, list_takes }: Simulated,
) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let path = request.uri().path();
    let text = match (request.method(), path) {
        (_, "/global/health") => r#"{"healthy":true,"version":"1.18.33"}"#.to_owned(),
        (_, "/path") => format!(
            r#"{{"home":"/home/u","state":"/s{server}","config":"/c","worktree":"/sim/{server}","directory":"/sim/{server}"}}"#
        ),
        (_, "/project/current") => format!(r#"{{"id":"p{server}","worktree":"/sim/{server}"}}"#),
        (_, "/global/event") => return events(),
        (&Method::GET, "/session" | "/experimental/session") => {
            if !list_takes.is_zero() {
                time::sleep(list_takes).await;
            }
            return list(request.uri().query().unwrap_or_default(), server, sessions);
        }
        (&Method::GET, path) if path.ends_with("/message") => {
            let kib = request.uri().query().and_then(|query| query.strip_prefix("kib=")?.parse().ok());
            return json(messages(kib.unwrap_or(1)));
        }
        (&Method::GET, path) if path.starts_with("/session/ses_") => {
            let number = path.get(path.len() - 8..).and_then(|digits| digits.parse().ok());
            session(server, number.unwrap_or_default())
        }
        (&Method::POST, _) => {
            let length = request.into_body().collect().await.map_or(0, |body| body.to_bytes().len());
            format!(r#"{{"info":{{"role":"assistant"}},"parts":[],"received":{length}}}"#)
        }
        _ => String::from("[]"),
    };
    json(text.into())
}

/// So many KiB, made once.
fn messages(kib: usize) -> Bytes {
    static LONGEST: LazyLock<Bytes> = LazyLock::new(|| vec![b' '; 1024 * 1024].into());
    LONGEST.slice(..(kib * 1024).min(LONGEST.len()))
}

fn json(text: Bytes) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let mut response = Response::new(Full::new(text).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// One page, newest first, as real servers cut it: whoever keeps up to date asks for little.
fn list(query: &str, server: usize, sessions: usize) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let asked = |key: &str| {
        let value = query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))?;
        value.parse::<u64>().ok()
    };
    let (start, before) = (asked("start").unwrap_or(0), asked("cursor").unwrap_or(u64::MAX));
    let limit = usize::try_from(asked("limit").unwrap_or(100)).unwrap();
    let wanted = |number: &usize| (start..before).contains(&updated_ms(*number));
    let mut numbers: Vec<usize> = (0..sessions).rev().filter(wanted).take(limit.saturating_add(1)).collect();
    let more = numbers.len() > limit;
    numbers.truncate(limit);
    let rows: Vec<String> = numbers.iter().map(|&number| session(server, number)).collect();
    let mut response = json(format!("[{}]", rows.join(",")).into());
    if more && let Some(&last) = numbers.last() {
        response.headers_mut().insert("x-next-cursor", HeaderValue::from(updated_ms(last)));
    }
    response
}

/// When a session changed last: one a minute.
fn updated_ms(number: usize) -> u64 {
    1_795_260_000_000 + number as u64 * 60_000
}

fn events() -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let data = |json: &str| Ok(Frame::data(Bytes::from(format!("data: {json}\n\n"))));
    let connected = data(r#"{"payload":{"type":"server.connected","properties":{}}}"#);
    let beats = stream::unfold((), move |()| async move {
        time::sleep(HEARTBEAT).await;
        Some((data(r#"{"payload":{"type":"server.heartbeat","properties":{}}}"#), ()))
    });
    let stream = stream::iter([connected]).chain(beats);
    let mut response = Response::new(StreamBody::new(stream).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response
}
