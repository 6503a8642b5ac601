//! Many subscribers at once, each on a connection of its own, of whom each must hear every number in its order; and one
//! who reads a byte now and then.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use memchr::memmem;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::Notify,
    task::JoinSet,
};

use super::{eventually::patiently, sse::Received, wire};

/// What stands before each number, which has six digits.
const BEFORE: &[u8] = b"\"number\":\"";
const DIGITS: usize = 6;

/// The properties of an event with a number.
pub fn numbered(session: &str, number: usize) -> serde_json::Value {
    serde_json::json!({"sessionID": session, "number": format!("{number:06}")})
}

/// Lets this process, and daemons it starts, have as many files open as it may.
pub fn many_files(least: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < least) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    let limit = getrlimit(Resource::Nofile).current;
    assert!(
        limit.is_none_or(|limit| limit >= least),
        "{limit:?} open files are too few; `ulimit -n {least}`"
    );
}

/// See the module.
pub struct Crowd {
    size: usize,
    state: Arc<State>,
    _readers: JoinSet<()>,
}

#[derive(Default)]
struct State {
    heard: AtomicUsize,
    news: Notify,
    wrong: Mutex<Option<String>>,
}

impl Crowd {
    /// `size` subscribers of `path`, who have been greeted.
    pub async fn gather(size: usize, address: &str, path: &str) -> Self {
        let state = Arc::<State>::default();
        let mut readers = JoinSet::new();
        for number in 0..size {
            let mut stream = wire::connect(address).await;
            ask(&mut stream, address, path).await;
            let state = state.clone();
            readers.spawn(async move {
                let why = follow(&mut stream, &state).await;
                *state.wrong.lock() = Some(format!("subscriber {number}: {why}"));
                state.news.notify_one();
            });
        }
        Self { size, state, _readers: readers }
    }

    /// Waits until each has heard this many numbers: each once, in their order.
    pub async fn have_heard(&self, numbers: usize) {
        let what = format!("{numbers} numbers heard by each of {}", self.size);
        patiently(&what, async {
            while self.state.heard.load(Ordering::Acquire) < numbers * self.size {
                self.state.news.notified().await;
                let wrong = self.state.wrong.lock().clone();
                assert_eq!(wrong, None);
            }
        })
        .await;
    }
}

/// Reads a stream for ever; gives what was wrong.
async fn follow(stream: &mut TcpStream, state: &State) -> String {
    let mut next = 0_usize;
    let mut buffer = Vec::new();
    loop {
        match stream.read_buf(&mut buffer).await {
            Ok(0) => return format!("ended after {next}"),
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
        let (mut from, before) = (0, next);
        while let Some(at) = memmem::find(&buffer[from..], BEFORE) {
            let start = from + at + BEFORE.len();
            let Some(digits) = buffer.get(start..start + DIGITS) else { break };
            let number = String::from_utf8_lossy(digits).parse::<usize>();
            if number != Ok(next) {
                return format!("{number:?} came where {next} was due");
            }
            next += 1;
            from = start + DIGITS;
        }
        // A number whose digits have not all come is kept whole.
        let keep = buffer.len().saturating_sub(BEFORE.len() + DIGITS).max(from);
        buffer.drain(..keep);
        if next > before {
            state.heard.fetch_add(next - before, Ordering::Release);
            state.news.notify_one();
        }
    }
}

async fn ask(stream: &mut TcpStream, address: &str, path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the connection is open");
    let head = String::from_utf8(wire::read_until(stream, b"\r\n\r\n").await).expect("a head is text");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("transfer-encoding: chunked"), "{head}");
}

/// A subscriber that takes what it is given byte by byte, for as long as it likes to.
pub struct Slow {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Slow {
    pub async fn open(address: &str, path: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        // What the kernel takes for it is not what it reads.
        socket.set_recv_buffer_size(4096).expect("a socket");
        let to: SocketAddr = address.parse().expect("an address");
        let mut stream = patiently("a connection", socket.connect(to)).await.expect("it connects");
        ask(&mut stream, address, path).await;
        Self { stream, read: Vec::new() }
    }

    /// Reads one byte.
    pub async fn sip(&mut self) {
        let byte = patiently("a byte", self.stream.read_u8()).await.expect("the stream is open");
        self.read.push(byte);
    }

    /// Reads all there is until an event satisfies `last`; gives the events that came whole.
    pub async fn drink(&mut self, last: impl Fn(&Received) -> bool) -> Vec<Received> {
        let mut looked = 0;
        patiently("the awaited event", async {
            loop {
                let events = events(&self.read);
                if events[looked..].iter().any(&last) {
                    return events;
                }
                looked = events.len();
                // Looking costs as much as all that was read: seldom, while much comes.
                let enough = self.read.len() + (256 << 10);
                while self.read.len() < enough {
                    let pause = std::time::Duration::from_millis(200);
                    match tokio::time::timeout(pause, self.stream.read_buf(&mut self.read)).await {
                        Ok(read) => assert!(read.expect("the stream is open") > 0, "the stream ended"),
                        Err(_) => break,
                    }
                }
            }
        })
        .await
    }
}

/// The events of a body that is told in chunks, but for a last one that is not whole.
fn events(mut chunked: &[u8]) -> Vec<Received> {
    let mut body = Vec::new();
    while let Some(end) = memmem::find(chunked, b"\r\n") {
        let length = std::str::from_utf8(&chunked[..end]).expect("a length");
        let length = usize::from_str_radix(length, 16).expect("a length");
        let from = end + 2;
        let Some(chunk) = chunked.get(from..from + length) else { break };
        body.extend_from_slice(chunk);
        chunked = chunked.get(from + length + 2..).unwrap_or_default();
    }
    let body = String::from_utf8(body).expect("events are text");
    let whole = body.split_inclusive("\n\n").filter(|frame| frame.ends_with("\n\n"));
    whole.filter_map(event).collect()
}

fn event(frame: &str) -> Option<Received> {
    let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let data = serde_json::from_str(field("data")?).expect("an event is JSON");
    Some(Received {
        id: field("id").unwrap_or_default().to_owned(),
        name: String::new(),
        data,
        at: Instant::now(),
    })
}
