//! The threads that carry requests and answers.
//!
//! Each has a runtime of its own on one thread, and connections of its own to every server: whatever a request waits
//! for wakes the thread that it runs on, and nothing of it crosses to another. Connections stay with the thread they were
//! given, the one with the fewest at that moment; so nothing that computes for long may run here.

use std::{io, net::TcpStream, sync::Arc, thread, time::Duration};

use tokio::{
    runtime::{Builder, Handle},
    time::{MissedTickBehavior, interval},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::proxy::forward::Forwarder;

/// How often connections are looked through. Much shorter than the time a client has for a head.
const TIDY: Duration = Duration::from_secs(1);

/// All of them. The threads end when it is dropped.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
    _stop: DropGuard,
}

/// One of them.
#[derive(Debug)]
pub struct Worker {
    runtime: Handle,
    /// Its connections to servers.
    pub forwarder: Arc<Forwarder>,
    connections: TaskTracker,
}

impl Workers {
    /// Starts as many as there are `forwarders`.
    pub fn start(forwarders: impl IntoIterator<Item = Forwarder>) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let start = |(n, forwarder)| Worker::start(n, forwarder, stop.clone());
        let workers = forwarders.into_iter().enumerate().map(start).collect::<io::Result<_>>()?;
        Ok(Self { workers, _stop: stop.drop_guard() })
    }

    /// Gives a client's connection to the worker that has the fewest. Whatever outlives a connection that became
    /// something else is counted with the others, as a task of the tracker.
    pub fn give<F>(&self, stream: TcpStream, serve: impl FnOnce(TcpStream, Arc<Forwarder>, TaskTracker) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if let Some(worker) = self.workers.iter().min_by_key(|worker| worker.connections.len()) {
            let serving = serve(stream, Arc::clone(&worker.forwarder), worker.connections.clone());
            worker.connections.spawn_on(serving, &worker.runtime);
        }
    }

    /// How many clients are connected.
    pub fn connections(&self) -> usize {
        self.workers.iter().map(|worker| worker.connections.len()).sum()
    }

    /// Waits until all clients' connections have ended.
    pub async fn ended(&self) {
        for worker in &self.workers {
            worker.connections.close();
            worker.connections.wait().await;
        }
    }
}

/// Closes idle connections to servers, for ever.
///
/// That a timer is always near has a use of its own: the runtime wakes itself, by a system call, when a timer begins
/// that ends before all others, and each request begins one, for the head of the next.
async fn tidy(forwarder: &Forwarder) {
    let mut tick = interval(TIDY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        forwarder.tidy();
    }
}

impl Worker {
    fn start(n: usize, forwarder: Forwarder, stop: CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let forwarder = Arc::new(forwarder);
        let tidied = Arc::clone(&forwarder);
        thread::Builder::new().name(format!("worker-{n}")).spawn(move || {
            runtime.block_on(stop.run_until_cancelled(tidy(&tidied)));
        })?;
        Ok(Self { runtime: handle, forwarder, connections: TaskTracker::new() })
    }
}
