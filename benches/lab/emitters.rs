//! Simulated agent servers that emit what they are told to, each event with its number and the moment it was emitted.

use std::{
    net::SocketAddr,
    sync::{OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::broadcast,
};

/// Events that a stream may be behind before it is given up: none ever is, here.
const BEHIND: usize = 1 << 18;

/// The moments in events count from here.
pub(crate) fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

/// Some servers on loopback, on a thread of their own. They end with the program.
pub(crate) struct Emitters {
    pub(crate) addresses: Vec<SocketAddr>,
    streams: Vec<broadcast::Sender<Bytes>>,
    emitted: Vec<usize>,
}

impl Emitters {
    pub(crate) fn start(count: usize) -> Self {
        let streams: Vec<_> = (0..count).map(|_| broadcast::channel(BEHIND).0).collect();
        let (told, addresses) = mpsc::channel();
        let serving = streams.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                for (server, stream) in serving.into_iter().enumerate() {
                    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                    told.send(listener.local_addr().unwrap()).unwrap();
                    tokio::spawn(accept(listener, server, stream));
                }
                std::future::pending::<()>().await;
            });
        });
        let addresses = addresses.iter().take(count).collect();
        Self { addresses, streams, emitted: vec![0; count] }
    }

    /// Waits until somebody listens to each.
    pub(crate) fn heard(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        while self.streams.iter().any(|stream| stream.receiver_count() == 0) {
            assert!(Instant::now() < until, "nobody listens");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// One more event of this server, of some 300 bytes.
    pub(crate) fn emit(&mut self, server: usize) {
        let number = self.emitted[server];
        self.emitted[server] += 1;
        let at = epoch().elapsed().as_micros();
        let before = format!(
            r##"{{"directory":"/sim/{server}","project":"p{server}","payload":{{"id":"evt_{number:012x}{server:014}","type":"message.part.delta","properties":{{"sessionID":"ses_{server:026}","messageID":"msg_{server}","partID":"prt_{server}","field":"text","delta":"#{server},{number},{at}#"##
        );
        let filler = "w".repeat(295_usize.saturating_sub(before.len()));
        let _ = self.streams[server].send(format!("data: {before}{filler}\"}}}}}}\n\n").into());
    }
}

async fn accept(listener: TcpListener, server: usize, stream: broadcast::Sender<Bytes>) {
    loop {
        let Ok((connection, _)) = listener.accept().await else { continue };
        connection.set_nodelay(true).unwrap();
        tokio::spawn(serve(connection, server, stream.clone()));
    }
}

/// Answers one request after another, the last of which may be one for events.
async fn serve(mut connection: TcpStream, server: usize, stream: broadcast::Sender<Bytes>) -> Option<()> {
    loop {
        let head = head(&mut connection).await?;
        let path = head.split([' ', '?']).nth(1).unwrap_or_default();
        let body = match path {
            "/global/event" => return emit(connection, stream.subscribe()).await,
            "/global/health" => r#"{"healthy":true,"version":"1.18.33"}"#.to_owned(),
            "/path" => format!(
                r#"{{"home":"/home/u","state":"/s{server}","config":"/c","worktree":"/sim/{server}","directory":"/sim/{server}"}}"#
            ),
            "/project/current" => format!(r#"{{"id":"p{server}","worktree":"/sim/{server}"}}"#),
            "/session/status" => "{}".to_owned(),
            _ => "[]".to_owned(),
        };
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.write_all(answer.as_bytes()).await.ok()?;
    }
}

/// Reads the head of a request; `None` if the client has gone.
pub(crate) async fn head(connection: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// How the answer to a request for events begins, greeting included.
pub(crate) const GREETING: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
    data: {\"payload\":{\"type\":\"server.connected\",\"properties\":{}}}\n\n";

async fn emit(mut connection: TcpStream, mut events: broadcast::Receiver<Bytes>) -> Option<()> {
    connection.write_all(GREETING).await.ok()?;
    let beat =
        Bytes::from_static(b"data: {\"payload\":{\"type\":\"server.heartbeat\",\"properties\":{}}}\n\n");
    loop {
        let event = match tokio::time::timeout(Duration::from_secs(10), events.recv()).await {
            Ok(event) => event.ok()?,
            Err(_) => beat.clone(),
        };
        connection.write_all(&event).await.ok()?;
    }
}
