//! Clients: so many connections, one request outstanding on each.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{self, Instant},
};

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// The object of a session, some hundred bytes.
    Get,
    /// A turn of 300 bytes.
    Post,
    /// The messages of a session, so many KiB.
    Messages(usize),
}

impl Ask {
    fn write(self, session: &str, into: &mut Vec<u8>) {
        into.clear();
        match self {
            Self::Get => {
                let head =
                    format!("GET /session/{session} HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\n\r\n");
                into.extend_from_slice(head.as_bytes());
            }
            Self::Messages(size) => {
                let head = format!(
                    "GET /session/{session}/message?kib={size} HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\n\r\n"
                );
                into.extend_from_slice(head.as_bytes());
            }
            Self::Post => {
                let body = "x".repeat(300);
                let head = format!(
                    "POST /session/{session}/message HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\ncontent-type: \
                     application/json\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                into.extend_from_slice(head.as_bytes());
            }
        }
    }
}

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// The next request follows the answer at once.
    Closed,
    /// So many a second over all connections, each timed from when it was due.
    PerSecond(u32),
}

/// Runs load for `how_long`, after a moment to warm up; the time of each answer. Requests go to the address beside a
/// session, or all to `proxy`.
pub(crate) fn run(
    sessions: &Arc<[(String, SocketAddr)]>,
    proxy: Option<SocketAddr>,
    ask: Ask,
    pace: Pace,
    connections: u32,
    how_long: Duration,
) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for n in 0..connections {
            let client = Client { sessions: Arc::clone(sessions), proxy, ask, n, connections, pace };
            clients.spawn(client.run(Arc::clone(&stop)));
        }
        time::sleep(how_long).await;
        stop.store(true, Ordering::Relaxed);
        clients.join_all().await.concat()
    })
}

struct Client {
    sessions: Arc<[(String, SocketAddr)]>,
    proxy: Option<SocketAddr>,
    ask: Ask,
    n: u32,
    connections: u32,
    pace: Pace,
}

impl Client {
    async fn run(self, stop: Arc<AtomicBool>) -> Vec<Duration> {
        // Without a proxy a client keeps to one server, as direct clients do.
        let home = self.sessions[self.n as usize * 7919 % self.sessions.len()].1;
        let mine: Vec<&str> = self
            .sessions
            .iter()
            .filter(|(_, server)| self.proxy.is_some() || *server == home)
            .map(|(session, _)| session.as_str())
            .collect();
        let mut stream = TcpStream::connect(self.proxy.unwrap_or(home)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut request, mut buffer, mut times) = (Vec::new(), vec![0; 128 << 10], Vec::new());
        let mut next = self.n as usize * 104_729;
        let gap = match self.pace {
            Pace::Closed => None,
            Pace::PerSecond(rate) => Some(Duration::from_secs(1) * self.connections / rate),
        };
        let mut due = Instant::now() + gap.unwrap_or_default() * self.n / self.connections;
        while !stop.load(Ordering::Relaxed) {
            if let Some(gap) = gap {
                // Timers are a millisecond coarse; what is due in between is sent at its tick and timed from there.
                time::sleep_until(due).await;
                due += gap;
            }
            self.ask.write(mine[next % mine.len()], &mut request);
            next += 31;
            let sent = Instant::now();
            stream.write_all(&request).await.unwrap();
            read_answer(&mut stream, &mut buffer).await;
            times.push(sent.elapsed());
        }
        // The first ones open connections and fill caches.
        times.split_off(times.len() / 10)
    }
}

async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await.unwrap();
        assert!(read > 0, "the connection was closed");
        filled += read;
        let so_far = &buffer[..filled];
        let Some(end) = so_far.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&so_far[..end]).unwrap();
        assert!(head.starts_with("HTTP/1.1 2"), "{head}");
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
        });
        let mut left = (end + 4 + length.expect("a length")).saturating_sub(filled);
        while left > 0 {
            let read = stream.read(buffer).await.unwrap();
            assert!(read > 0, "the connection was closed");
            left = left.saturating_sub(read);
        }
        return;
    }
}
