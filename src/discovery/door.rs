//! Where servers come in that make themselves known, and where they say goodbye.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::{
    domain::{ids::ServerKey, kind::Kind},
    machine::{Process, SocketId},
    opencode::wire::Health,
    registry::{
        server::{Address, Credentials, Server, Source},
        usage::Usage,
    },
};

/// How many may wait to come in. Each waits for its answer, so nobody is lost.
const WAITING: usize = 16;

/// A server that registered, and answered when it was asked.
#[derive(Clone, Debug)]
pub struct Registrant {
    /// Where it answered.
    pub address: Address,
    /// What it wants to be told.
    pub credentials: Option<Credentials>,
    /// What it answered; `None` if it wants a password that is not known.
    pub health: Option<Health>,
    /// How it was started.
    pub kind: Kind,
    /// Its process, where that is on this machine.
    pub process: Option<Process>,
    /// The socket that listens there.
    pub socket: Option<SocketId>,
    /// Its directory.
    pub directory: Option<Arc<str>>,
    /// The root of the working tree around it.
    pub worktree: Option<Arc<str>>,
    /// Whether its listener is a plugin's.
    pub plugin: bool,
    /// Whether it tells what its screen shows.
    pub reports_screen: bool,
    /// Who told of it.
    pub source: Source,
    /// Notes when it is used, for whoever wants to know.
    pub usage: Option<Arc<Usage>>,
}

/// What is called in through the door.
#[derive(Debug)]
pub(super) enum Call {
    /// A server wants in.
    Register(Box<Registrant>, oneshot::Sender<Arc<Server>>),
    /// A server says goodbye, or its lease has ended.
    Leave { server: ServerKey, farewell: bool },
    /// A server is about to be ended: nothing new is to go there.
    Dismiss(ServerKey, oneshot::Sender<()>),
}

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Door(mpsc::Sender<Call>);

impl Door {
    pub(super) fn new() -> (Self, mpsc::Receiver<Call>) {
        let (calls, receiver) = mpsc::channel(WAITING);
        (Self(calls), receiver)
    }

    /// Takes a server in, or adds to what is known of it: one process is one server, whoever told of it first. `None`
    /// if discovery has ended.
    pub async fn register(&self, registrant: Registrant) -> Option<Arc<Server>> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Call::Register(Box::new(registrant), answer)).await.ok()?;
        answered.await.ok()
    }

    /// Takes out a server that its caller is about to end. On return no request is routed there any more.
    pub async fn dismiss(&self, server: ServerKey) {
        let (answer, answered) = oneshot::channel();
        if self.0.send(Call::Dismiss(server, answer)).await.is_ok() {
            // No answer: discovery has ended, and routes nothing there either.
            let _ = answered.await;
        }
    }

    /// A registration has ended: with a `farewell` a plugin's listener is no server any more; without, the server stays
    /// for as long as its process lives.
    pub async fn leave(&self, server: ServerKey, farewell: bool) {
        // Who left after discovery has ended is missed by nobody.
        let _ = self.0.send(Call::Leave { server, farewell }).await;
    }
}
