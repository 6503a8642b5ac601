//! The barest possible fan-out: every event of every server, as it came, to whoever is connected. No ids, no filters, no
//! memory; who is behind by more than the channel holds loses events.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::broadcast::{self, error::RecvError},
};

use super::emitters::{GREETING, head};

const DEPTH: usize = 1 << 16;

/// Runs until it is ended, and says where it listens.
pub(crate) fn run(servers: Vec<SocketAddr>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (events, _) = broadcast::channel(DEPTH);
        for server in servers {
            tokio::spawn(read(server, events.clone()));
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("listening on http://{}", listener.local_addr().unwrap());
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            connection.set_nodelay(true).unwrap();
            tokio::spawn(tell(connection, events.subscribe()));
        }
    });
}

async fn read(server: SocketAddr, events: broadcast::Sender<Bytes>) {
    let mut connection = TcpStream::connect(server).await.unwrap();
    connection.write_all(b"GET /global/event HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut text = BytesMut::with_capacity(64 << 10);
    while connection.read_buf(&mut text).await.is_ok_and(|read| read > 0) {
        // All whole events of a read are one piece. The answer's own head ends in the same way, at the first.
        if let Some(end) = memmem::rfind(&text, b"\n\n") {
            let _ = events.send(text.split_to(end + 2).freeze());
        }
    }
}

async fn tell(mut connection: TcpStream, mut events: broadcast::Receiver<Bytes>) -> Option<()> {
    if head(&mut connection).await?.starts_with("GET /readyz ") {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        return connection.write_all(answer).await.ok();
    }
    connection.write_all(GREETING).await.ok()?;
    loop {
        match events.recv().await {
            Ok(piece) => connection.write_all(&piece).await.ok()?,
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
    }
}
