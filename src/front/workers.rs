//! The threads that carry requests and answers.
//!
//! Each has a runtime of its own on one thread, and connections of its own to every server: whatever a request waits
//! for wakes the thread that it runs on, and nothing of it crosses to another. Connections stay with the thread they were given, the one with the fewest at that moment; so nothing
//! that computes for long may run here.

use std::{io, net::TcpStream, sync::Arc, thread};

use tokio::runtime::{Builder, Handle};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::proxy::forward::Forwarder;

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

    /// Closes idle connections to servers.
    pub fn tidy(&self) {
        for worker in &self.workers {
            worker.forwarder.tidy();
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

impl Worker {
    fn start(n: usize, forwarder: Forwarder, stop: CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        thread::Builder::new().name(format!("worker-{n}")).spawn(move || {
            runtime.block_on(stop.cancelled());
        })?;
        Ok(Self { runtime: handle, forwarder: Arc::new(forwarder), connections: TaskTracker::new() })
    }
}
