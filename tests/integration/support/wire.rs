//! Bytes on a connection, for what no well-behaved client would send and no library would show.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

use super::{eventually::patiently, ports::free_port};

/// Sends these bytes on a fresh connection and reads all that comes until the other side closes it.
pub async fn exchange(address: &str, bytes: impl AsRef<[u8]>) -> Raw {
    let mut stream = connect(address).await;
    // The other side may have heard enough before all is written.
    let _ = stream.write_all(bytes.as_ref()).await;
    rest(&mut stream).await
}

pub async fn connect(address: &str) -> TcpStream {
    let stream = patiently("a connection", TcpStream::connect(address)).await.expect("it connects");
    stream.set_nodelay(true).expect("a socket");
    stream
}

/// All that comes until the other side closes the connection.
pub async fn rest(stream: &mut TcpStream) -> Raw {
    let mut read = Vec::new();
    // A reset after the answer is an end like any other.
    let _ = patiently("the end of the connection", stream.read_to_end(&mut read)).await;
    Raw(read)
}

/// Reads until these bytes have come; gives all up to and with them.
pub async fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    let what = format!("{:?} on the connection", String::from_utf8_lossy(end));
    patiently(&what, async {
        while !read.ends_with(end) {
            read.push(stream.read_u8().await.expect("the connection is open"));
        }
    })
    .await;
    read
}

/// An answer as it stood on the wire; empty if there was none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw(pub Vec<u8>);

impl Raw {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }

    /// The status; 0 if there is no answer.
    pub fn status(&self) -> u16 {
        self.text().split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// Every value of a header, in order.
    pub fn headers(&self, name: &str) -> Vec<String> {
        let text = self.text();
        let head = text.split("\r\n\r\n").next().unwrap_or_default();
        let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let of_name = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        of_name.map(|(_, value)| value.trim().to_owned()).collect()
    }

    /// Everything after the head.
    pub fn body(&self) -> &[u8] {
        let end = memchr::memmem::find(&self.0, b"\r\n\r\n").map_or(self.0.len(), |at| at + 4);
        &self.0[end..]
    }
}

/// A server that speaks bytes: each connection sends one request head and gets what `say` makes of it, then is closed.
///
/// `say` gets the first line, such as `GET /path HTTP/1.1`. What it does not know (`None`) is answered well enough to
/// be taken for an agent.
pub async fn raw_server(say: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> RawServer {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("a socket");
    socket.bind(address).expect("a free port");
    // A short queue, so that a test can fill it.
    let listener = Arc::new(socket.listen(8).expect("a free port"));
    let say = Arc::new(say);
    let accepting = listener.clone();
    let task = tokio::spawn(async move {
        let mut open = tokio::task::JoinSet::new();
        while let Ok((mut stream, _)) = accepting.accept().await {
            let say = say.clone();
            open.spawn(async move {
                let head = read_until(&mut stream, b"\r\n\r\n").await;
                let head = String::from_utf8_lossy(&head);
                let line = head.lines().next().unwrap_or_default();
                let answer = say(line).unwrap_or_else(|| as_an_agent(line));
                let _ = stream.write_all(&answer).await;
            });
        }
    });
    RawServer { address, listener, task }
}

/// Ends when dropped.
pub struct RawServer {
    address: SocketAddr,
    listener: Arc<TcpListener>,
    task: tokio::task::JoinHandle<()>,
}

impl RawServer {
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Accepts no more, and fills its queue, so that further connections come about with nobody: as if packets were
    /// lost on the way. Ends when what is returned is dropped.
    pub async fn hang(&self) -> Vec<TcpStream> {
        assert!(self.listener.local_addr().is_ok());
        self.task.abort();
        let mut filled = Vec::new();
        let soon = std::time::Duration::from_millis(200);
        while let Ok(stream) = tokio::time::timeout(soon, TcpStream::connect(self.address)).await {
            filled.push(stream.expect("the port is open"));
            assert!(filled.len() < 100, "the queue has no end");
        }
        filled
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A whole answer with this body, after which the connection ends.
pub fn answer(kind: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
        .into_bytes()
}

fn as_an_agent(line: &str) -> Vec<u8> {
    let path = line.split([' ', '?']).nth(1).unwrap_or_default();
    match path {
        "/global/health" => answer("application/json", "{\"healthy\":true,\"version\":\"1.18.33\"}"),
        "/path" => answer(
            "application/json",
            "{\"home\":\"/h\",\"state\":\"/s\",\"config\":\"/c\",\"worktree\":\"/w\",\"directory\":\"/w\"}",
        ),
        "/api/session" => {
            answer("application/json", "{\"data\":[],\"cursor\":{\"previous\":null,\"next\":null}}")
        }
        "/global/event" => b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n\
              data: {\"payload\":{\"id\":\"evt_1\",\"type\":\"server.connected\",\"properties\":{}}}\n\n"
            .to_vec(),
        _ => answer("application/json", "[]"),
    }
}
