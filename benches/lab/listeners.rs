//! Clients of a merged stream: each makes sure that it hears every event of every server once and in order, and notes
//! how long each was on its way.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use memchr::memmem::Finder;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
};

use super::emitters::epoch;

/// What all of them heard.
#[derive(Default)]
pub(crate) struct Heard {
    /// How long each event was on its way, in µs.
    pub(crate) took_us: Vec<u32>,
    /// Events that were lost, doubled or out of order.
    pub(crate) wrong: usize,
    /// When the last was heard.
    pub(crate) end: Option<Instant>,
}

/// Listeners on a thread of their own.
pub(crate) struct Listeners {
    heard: mpsc::UnboundedReceiver<Heard>,
    count: usize,
}

impl Listeners {
    /// `count` that read and `stalled` that never do, once all have been greeted. Each reader expects `events` of each
    /// of `servers`.
    pub(crate) fn start(
        address: SocketAddr,
        count: usize,
        stalled: usize,
        servers: usize,
        events: usize,
    ) -> Self {
        let (told, heard) = mpsc::unbounded_channel();
        let greeted = Arc::new(AtomicUsize::new(0));
        let greetings = greeted.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let mut tasks = JoinSet::new();
                for n in 0..count + stalled {
                    let (told, greetings) = (told.clone(), greetings.clone());
                    tasks.spawn(async move {
                        let connection = connect(address, &greetings).await;
                        if n < count {
                            let _ = told.send(listen(connection, servers, events).await);
                        } else {
                            std::future::pending::<()>().await;
                        }
                    });
                }
                while tasks.join_next().await.is_some() {}
            });
        });
        let until = Instant::now() + Duration::from_secs(30);
        while greeted.load(Ordering::Relaxed) < count + stalled {
            assert!(Instant::now() < until, "not all were greeted");
            thread::sleep(Duration::from_millis(10));
        }
        Self { heard, count }
    }

    /// What they heard, once all have heard all.
    pub(crate) fn end(mut self) -> Heard {
        let mut all = Heard::default();
        for _ in 0..self.count {
            let one = self.heard.blocking_recv().expect("each tells");
            all.took_us.extend(one.took_us);
            all.wrong += one.wrong;
            all.end = all.end.max(one.end);
        }
        all
    }
}

/// A stream, once its greeting has been read.
async fn connect(address: SocketAddr, greeted: &AtomicUsize) -> TcpStream {
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection
        .write_all(b"GET /global/event HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n")
        .await
        .unwrap();
    let mut text = Vec::new();
    while !text.windows(16).any(|window| window == b"server.connected") || !text.ends_with(b"\n") {
        assert!(connection.read_buf(&mut text).await.unwrap() > 0, "a greeting");
    }
    greeted.fetch_add(1, Ordering::Relaxed);
    connection
}

async fn listen(mut connection: TcpStream, servers: usize, events: usize) -> Heard {
    const MARK: &[u8] = br##""delta":"#"##;
    let finder = Finder::new(MARK);
    let mut next = vec![0; servers];
    let mut heard = Heard { took_us: Vec::with_capacity(servers * events), ..Heard::default() };
    let mut text = Vec::with_capacity(64 << 10);
    // A stream that says nothing any more has lost the rest.
    let patience = Duration::from_secs(20);
    while heard.took_us.len() < servers * events {
        let read = tokio::time::timeout(patience, connection.read_buf(&mut text)).await;
        if !matches!(read, Ok(Ok(1..))) {
            heard.wrong += servers * events - heard.took_us.len();
            break;
        }
        let now = u64::try_from(epoch().elapsed().as_micros()).unwrap();
        let mut done = 0;
        while let Some(at) = finder.find(&text[done..]) {
            let start = done + at + MARK.len();
            let Some(length) = memchr::memchr(b'#', &text[start..]) else { break };
            let mut fields = std::str::from_utf8(&text[start..start + length]).unwrap().split(',');
            let mut field = || fields.next().unwrap().parse::<u64>().unwrap();
            let (server, number, at) = (usize::try_from(field()).unwrap(), field(), field());
            heard.wrong += usize::from(next[server] != number);
            next[server] = number + 1;
            heard.took_us.push(u32::try_from(now.saturating_sub(at)).unwrap_or(u32::MAX));
            done = start + length;
        }
        // What may be the beginning of a mark stays.
        let rest = if finder.find(&text[done..]).is_some() {
            done
        } else {
            done.max(text.len().saturating_sub(MARK.len()))
        };
        text.drain(..rest);
    }
    heard.end = Some(Instant::now());
    heard
}
