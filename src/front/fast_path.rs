//! Plain requests to a session's server pass without the HTTP library.
//!
//! Most of what a busy client sends is a whole small request about a session whose server is known. For those the head
//! is read in place, written on with what we add, and the answer's bytes pass as they come; that costs a good third less
//! than building requests and answers as objects. It does the same as the long way ([`super::dispatch`]) in everything that
//! servers and clients can see, but that names of fields keep their letters and their order.
//!
//! Whatever is not plain ([`request`]), or is answered by more than passing it on, goes the long way, and so does a request
//! of which nothing could be sent: nothing is decided here that is not decided there as well. Leaves to others: who is let
//! in ([`Guard`](crate::guard::Guard)), which server ([`Router`](crate::proxy::router::Router)), what an answer teaches
//! ([`Lesson`]).

mod answer;
mod chunks;
mod client;
mod exchange;
#[cfg(target_os = "linux")]
mod pipe;
mod request;
mod told;

use std::{sync::Arc, time::Instant};

use http::StatusCode;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_util::sync::CancellationToken;

use self::{
    answer::{Head, Marks},
    client::{Arrival, Awaited, Client},
    exchange::{Exchange, Failure},
    request::{Plain, Read},
};
use super::{
    HEAD,
    dispatch::{Connection, Dispatch, decision},
    plain_words, programs,
};
use crate::{
    domain::ids::SessionId,
    metrics::Decision,
    proxy::{forward::ForwardError, headers, learn::Lesson, named, route::Target, upstream::Upstream},
    registry::usage::Usage,
};

/// How a connection left here.
#[derive(Debug)]
pub(super) enum Left {
    /// It has ended.
    Ended,
    /// It goes on the long way.
    LongWay {
        /// The client's end.
        stream: TcpStream,
        /// What the client has sent already.
        begun: Vec<u8>,
        /// Whether a request was carried before.
        carried: bool,
    },
}

/// The requests of one connection.
pub(super) struct FastPath<'c> {
    dispatch: &'c Dispatch,
    connection: &'c Connection,
    stop: &'c CancellationToken,
}

/// What is to be done for one request, without what was borrowed from its bytes.
struct Errand {
    /// The request as its server is told it.
    request: Vec<u8>,
    upstream: Arc<Upstream>,
    /// How long it is as the client sent it.
    in_hand: usize,
    to_head: bool,
    reads: bool,
    closes: bool,
    lesson: Lesson,
    directory: Option<Arc<str>>,
    target: Target,
    begun: Instant,
}

/// What comes next on a connection.
enum Next {
    Wait(Awaited),
    Run(Errand),
    Leave,
}

/// What becomes of the connections behind a whole answer.
struct After {
    /// Whether the server can be asked again on its own.
    keeps_link: bool,
    /// Whether the client's ends.
    closes: bool,
}

/// How a request ended.
enum Outcome {
    /// It was answered, and the next one may come.
    Answered,
    /// The connection has nothing more to carry.
    Ended,
    /// Nobody has taken anything of it.
    Unsent,
}

impl<'c> FastPath<'c> {
    /// For `connection`, until `stop`. `None` where every request is to be looked at more closely: behind a path of ours,
    /// or with a token.
    pub(super) fn new(
        dispatch: &'c Dispatch,
        connection: &'c Connection,
        stop: &'c CancellationToken,
    ) -> Option<Self> {
        (dispatch.base_path.is_none() && !dispatch.has_token).then_some(Self { dispatch, connection, stop })
    }

    /// Carries plain requests, of which the client may have sent some already, until one comes that is none.
    pub(super) async fn carry(&self, (stream, begun): (TcpStream, Vec<u8>)) -> Left {
        let mut client = Client::new(stream, begun, HEAD);
        let mut carried = false;
        let leave =
            |client: Client, carried| Left::LongWay { stream: client.stream, begun: client.inbox, carried };
        loop {
            match self.next(&client.inbox) {
                Next::Wait(awaited) => {
                    if client.wait(awaited, self.stop).await == Arrival::End {
                        return Left::Ended;
                    }
                }
                Next::Run(errand) => match self.run(&errand, &mut client).await {
                    Outcome::Answered => carried = true,
                    Outcome::Ended => return Left::Ended,
                    Outcome::Unsent => return leave(client, carried),
                },
                Next::Leave => return leave(client, carried),
            }
        }
    }

    fn next(&self, inbox: &[u8]) -> Next {
        match request::read(inbox) {
            Read::PartOfHead => Next::Wait(Awaited::Head),
            Read::PartOfBody => Next::Wait(Awaited::Body),
            Read::Plain(plain) => self.errand(&plain).map_or(Next::Leave, Next::Run),
            Read::Other => Next::Leave,
        }
    }

    /// What is to be done for `plain`. `None` where more is to be thought about.
    fn errand(&self, plain: &Plain<'_>) -> Option<Errand> {
        let begun = Instant::now();
        let dispatch = self.dispatch;
        let opens = plain.turn || plain.path().ends_with("/message");
        if !dispatch.guard.admits_plain(plain.host, &self.connection.peer)
            || !*dispatch.first_round.borrow()
            || (opens && plain.field("user-agent").is_some_and(programs::is_agents))
        {
            return None;
        }
        let session = SessionId::try_new(plain.session).ok()?;
        let target = dispatch.router.at_hand(&session)?;
        let upstream = self.connection.forwarder.upstream(&target.server).ok()?;
        let directory = named::directory_in(plain.query(), plain.field(headers::DIRECTORY.as_str()));
        Some(Errand {
            request: told::to_server(plain, &self.connection.forwarding, &upstream),
            upstream,
            in_hand: plain.length(),
            to_head: plain.method == http::Method::HEAD,
            reads: plain.reads(),
            closes: plain.closes,
            lesson: if plain.turn { Lesson::Turn(session) } else { Lesson::None },
            directory: directory.map(|directory| directory.as_ref().into()),
            target,
            begun,
        })
    }

    async fn run(&self, errand: &Errand, client: &mut Client) -> Outcome {
        let (server, upstream) = (&errand.target.server, &errand.upstream);
        let _using = server.usage.as_ref().map(Usage::begin);
        // A turn may ask for something long before it is answered. A read that fails may have opened nothing.
        if let Some(directory) = errand.directory.as_deref().filter(|_| !errand.reads) {
            server.directories.note(directory);
        }
        let mut may_repeat = errand.reads;
        loop {
            let rested = upstream.idle_link();
            let is_fresh = rested.is_none();
            let mut link = match rested {
                Some(link) => link,
                None => match upstream.link().await {
                    Ok(link) => link,
                    Err(_) => return Outcome::Unsent,
                },
            };
            let mut exchange = Exchange::new(client, &mut link, errand.in_hand);
            match self.exchange(errand, &mut exchange).await {
                Ok(After { keeps_link, closes }) => {
                    if keeps_link {
                        upstream.give_back_link(link);
                    }
                    client.answered(errand.in_hand);
                    return if closes { Outcome::Ended } else { Outcome::Answered };
                }
                Err(Failure::Unsent) if is_fresh => return Outcome::Unsent,
                Err(Failure::Unsent) => {}
                Err(Failure::Unanswered(_)) if may_repeat => may_repeat = false,
                Err(Failure::Unanswered(error)) => {
                    let broke = ForwardError::Broke(upstream.broke(error.into()));
                    let (decision, answer) = self.dispatch.failed(&broke, &errand.target).await;
                    self.count(decision, answer.status(), errand.begun);
                    if let Some(words) = plain_words::last_answer(&answer, errand.to_head) {
                        // A client that has gone by now need not know.
                        let _ = client.stream.write_all(&words).await;
                    }
                    return Outcome::Ended;
                }
                Err(Failure::Cut) => return Outcome::Ended,
            }
        }
    }

    /// Asks, and tells the client the answer.
    async fn exchange<'e>(&self, errand: &'e Errand, exchange: &mut Exchange<'e>) -> Result<After, Failure> {
        let (route, server) = (errand.target.route, errand.upstream.mark().as_bytes());
        // Looked at when the answer comes: we may have been told to stop in the meantime.
        let closes = || errand.closes || self.stop.is_cancelled();
        let marks = || Marks { server, route: route.as_str(), closes: closes() };
        let teaches = errand.lesson != Lesson::None;
        exchange.ask(&errand.request).await?;
        let head = exchange.hear(errand.to_head, marks, !teaches).await?;
        self.learn(errand, &head).await;
        self.count(decision(route), head.status, errand.begun);
        let keeps_link = exchange.tell(head.body).await? && head.keeps_alive;
        Ok(After { keeps_link, closes: head.closes })
    }

    /// What was learned is told to the client only once it would survive our own death.
    async fn learn(&self, errand: &Errand, head: &Head) {
        let server = &errand.target.server;
        if let Some(directory) = errand.directory.as_deref().filter(|_| !head.status.is_server_error()) {
            server.directories.note(directory);
        }
        if errand.lesson != Lesson::None {
            let registry = &self.dispatch.registry;
            let news = errand.lesson.learn(registry, server, head.status, None, None);
            registry.settled().await;
            self.dispatch.crier.cry(news);
        }
    }

    fn count(&self, decision: Decision, status: StatusCode, begun: Instant) {
        self.dispatch.metrics.decided(decision);
        self.dispatch.metrics.answered(decision, status, begun.elapsed());
    }
}

/// The value of `Content-Length`, which is digits alone and nothing that another might read otherwise.
fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}
