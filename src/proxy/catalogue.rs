//! What servers have to offer (providers, models, agents, commands, skills), asked for once and told to everybody.
//!
//! Every start of a client asks for these again; the largest takes its server a second and is 6 MB. Equal reads at one
//! time become one request, and its answer is kept, compressed as the server sent it, for a short time within a bound
//! of bytes.
//!
//! Promises: an answer told from here is, but for its coding, the one its server gave, to a request that was sent no
//! earlier than the last change anybody told us of: an event of a server of the store, or a write that passed through,
//! which counts before its own answer is told. Errors are never kept. A read that cannot be answered from here goes to
//! its server as if there were no such place. Leaves to others: which requests these are ([`crate::opencode::catalogue`])
//! and which server is to answer ([`super::router`]).

mod edition;
mod epochs;
mod flights;
pub mod inflate;
mod key;
mod shelf;
mod wish;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response,
    header::{ACCEPT_ENCODING, CACHE_CONTROL, IF_MODIFIED_SINCE, IF_NONE_MATCH, ORIGIN, PRAGMA},
    request::Parts,
    response,
};
use http_body_util::{BodyExt, Limited};
use tokio::runtime::Handle;

pub use self::{edition::CACHE, wish::reads_gzip};
use self::{
    edition::Edition,
    epochs::Epochs,
    flights::{Boarding, Flights, Pilot},
    key::Key,
    shelf::Shelf,
    wish::Wish,
};
use super::{
    answer::AnswerBody,
    body::RequestBody,
    forward::{ForwardError, Forwarder},
    route::Target,
};
use crate::{
    domain::ids::StoreKey,
    opencode::{
        catalogue::{Concern, concern},
        operations::Subject,
    },
    registry::News,
};

/// How much is kept at most. The largest answer, of all providers, is 0.4 MB compressed; this holds it for some
/// hundred directories.
pub const MOST_KEPT: u64 = 64 * 1024 * 1024;

/// The largest answer that is read whole. Five times the largest seen, and that uncompressed.
const MOST_READ: usize = 32 * 1024 * 1024;

const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// Gets an answer from a server, whole.
pub trait Fetch: Send + Sync + 'static {
    /// Sends `request` to `target`. `None` if no whole answer came: whoever wants one sends a request of its own, and
    /// learns why.
    fn fetch(
        &self,
        request: Parts,
        target: &Target,
    ) -> impl Future<Output = Option<(response::Parts, Bytes)>> + Send;
}

/// See the module. Cheap to clone.
pub struct Catalogue<F = Forwarder>(Arc<Inner<F>>);

struct Inner<F> {
    fetch: Arc<F>,
    runtime: Handle,
    off: bool,
    shelf: Shelf,
    flights: Flights,
    epochs: Epochs,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    shared: AtomicU64,
    unchanged: AtomicU64,
    saved: AtomicU64,
    drops: AtomicU64,
}

/// What was counted since the start, and what is kept now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Reads answered with what was kept.
    pub hits: u64,
    /// Reads for which a server was asked.
    pub misses: u64,
    /// Reads answered with what another had asked for at that time.
    pub shared: u64,
    /// Reads answered with 304: the client had it already.
    pub unchanged: u64,
    /// Bytes that servers did not have to send for hits and shared reads, as they would have been sent.
    pub saved_bytes: u64,
    /// Times that all that was kept, of a store or at all, was dropped.
    pub drops: u64,
    /// Bytes kept now.
    pub kept_bytes: u64,
}

/// Where an answer came from: the word of `X-Pointsman-Cache`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// It was kept.
    Kept,
    /// It was fetched for this read.
    Fetched,
    /// It was fetched for another read, at the same time.
    Shared,
}

/// A write that may change what servers offer is on its way. When this is dropped, be it with the answer or because
/// the client has left, all that was read before is worth nothing, from whichever server.
struct Changing<'c, F: Fetch>(&'c Catalogue<F>);

impl Catalogue {
    /// Passes `request` on to `target` by `forwarder`, unless it is a read that can be answered from here. The same as
    /// [`Forwarder::forward`] to whoever calls it.
    pub async fn pass(
        &self,
        forwarder: &Forwarder,
        request: Request<RequestBody>,
        subject: Subject<'_>,
        target: &Target,
    ) -> Result<(Response<AnswerBody>, News), ForwardError> {
        match concern(request.method(), request.uri().path()) {
            Concern::None => forwarder.forward(request, subject, target).await,
            Concern::Change => {
                let _changing = Changing(self);
                forwarder.forward(request, subject, target).await
            }
            Concern::Read => {
                let (parts, body) = request.into_parts();
                let answer = if http_body::Body::is_end_stream(&body) {
                    self.read(&parts, target).await
                } else {
                    None
                };
                match answer {
                    Some(answer) => Ok((answer, News::default())),
                    None => forwarder.forward(Request::from_parts(parts, body), subject, target).await,
                }
            }
        }
    }
}

impl<F: Fetch> Catalogue<F> {
    /// A catalogue that asks through `fetch` and keeps an answer for `keep_for`; not at all, and without joining
    /// reads, if that is nought. What it asks is nobody's in particular and runs on `runtime`.
    pub fn new(fetch: Arc<F>, keep_for: Duration, runtime: Handle) -> Self {
        Self(Arc::new(Inner {
            fetch,
            runtime,
            off: keep_for.is_zero(),
            shelf: Shelf::new(MOST_KEPT, keep_for),
            flights: Flights::default(),
            epochs: Epochs::default(),
            counts: Counts::default(),
        }))
    }

    /// What the servers of `store` offer has changed, or may have: nothing that was asked for before is told to
    /// anybody who asks from now on.
    pub fn changed(&self, store: StoreKey) {
        self.0.epochs.event(store);
        self.0.counts.drops.fetch_add(1, Relaxed);
    }

    /// Lets go of what is too old to be told. What is never asked for again would stay otherwise.
    pub fn tidy(&self) {
        self.0.shelf.tidy(&self.0.epochs, Instant::now());
    }

    /// What was counted so far.
    pub fn counted(&self) -> Counted {
        let counts = &self.0.counts;
        Counted {
            hits: counts.hits.load(Relaxed),
            misses: counts.misses.load(Relaxed),
            shared: counts.shared.load(Relaxed),
            unchanged: counts.unchanged.load(Relaxed),
            saved_bytes: counts.saved.load(Relaxed),
            drops: counts.drops.load(Relaxed),
            kept_bytes: self.0.shelf.bytes(),
        }
    }

    /// The answer to a read; `None` if it must go to its server by itself.
    async fn read(&self, request: &Parts, target: &Target) -> Option<Response<AnswerBody>> {
        let wish = Wish::of(request);
        if self.0.off || wish == Wish::Direct || target.directory.is_some() {
            return None;
        }
        let (edition, found) = self.find(request, target, wish == Wish::Fresh).await?;
        let answer = edition.answer(&request.headers, target, found);
        self.0.counts.count(found, &answer, &edition);
        Some(answer)
    }

    async fn find(&self, request: &Parts, target: &Target, fresh: bool) -> Option<(Arc<Edition>, Found)> {
        let inner = &self.0;
        let key = Key::of(target.server.key, request);
        let mark = inner.epochs.mark(target.server.store);
        let now = Instant::now();
        let kept = || if fresh { None } else { inner.shelf.take(&key, mark, now) };
        if let Some(edition) = kept() {
            return Some((edition, Found::Kept));
        }
        let (seat, found) = match inner.flights.board(&key, mark, fresh, now, kept) {
            Boarding::Kept(edition) => return Some((edition, Found::Kept)),
            Boarding::Joined(seat) => (seat, Found::Shared),
            Boarding::Begun(pilot, seat) => {
                let flight =
                    Flight { key, mark, begun: now, request: question(request), target: target.clone() };
                inner.runtime.spawn(flight.fly(Arc::clone(inner), pilot));
                (seat, Found::Fetched)
            }
        };
        Some((seat.arrival().await?, found))
    }
}

impl<F> Clone for Catalogue<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F> fmt::Debug for Catalogue<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Catalogue")
    }
}

impl<F: Fetch> Drop for Changing<'_, F> {
    fn drop(&mut self) {
        let inner = &self.0.0;
        inner.epochs.write();
        inner.counts.drops.fetch_add(1, Relaxed);
    }
}

impl Counts {
    fn count(&self, found: Found, answer: &Response<AnswerBody>, edition: &Edition) {
        let counter = match found {
            Found::Kept => &self.hits,
            Found::Fetched => &self.misses,
            Found::Shared => &self.shared,
        };
        counter.fetch_add(1, Relaxed);
        if answer.status() == http::StatusCode::NOT_MODIFIED {
            self.unchanged.fetch_add(1, Relaxed);
        }
        if found != Found::Fetched {
            self.saved.fetch_add(edition.length(), Relaxed);
        }
    }
}

impl Found {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "hit",
            Self::Fetched => "miss",
            Self::Shared => "shared",
        }
    }
}

/// One request to a server, for everybody who waits.
struct Flight {
    key: Key,
    mark: epochs::Mark,
    begun: Instant,
    request: Parts,
    target: Target,
}

impl Flight {
    async fn fly<F: Fetch>(self, inner: Arc<Inner<F>>, pilot: Pilot) {
        let Self { key, mark, begun, request, target } = self;
        let answer = tokio::select! {
            answer = inner.fetch.fetch(request, &target) => answer,
            () = pilot.abandoned() => None,
        };
        let edition = answer.and_then(|(head, body)| Edition::new(head, body, begun, mark)).map(Arc::new);
        if let Some(edition) = &edition
            && edition.may_be_kept()
            && inner.epochs.is_current(mark)
        {
            inner.shelf.put(key.clone(), Arc::clone(edition));
        }
        inner.flights.close(&key, &pilot);
        pilot.arrive(edition);
    }
}

/// What the server is asked on behalf of all: the same as by the one who asked first, but for what is between that one
/// and us.
fn question(request: &Parts) -> Parts {
    let mut question = Request::new(()).into_parts().0;
    question.method = Method::GET;
    question.uri = request.uri.clone();
    question.headers = request.headers.clone();
    for name in [CACHE_CONTROL, PRAGMA, IF_NONE_MATCH, IF_MODIFIED_SINCE, ORIGIN] {
        question.headers.remove(name);
    }
    question.headers.insert(ACCEPT_ENCODING, GZIP);
    question
}

impl Fetch for Forwarder {
    async fn fetch(&self, request: Parts, target: &Target) -> Option<(response::Parts, Bytes)> {
        let request = Request::from_parts(request, RequestBody::EMPTY);
        let (response, _) = self.forward(request, Subject::Directory, target).await.ok()?;
        let (head, body) = response.into_parts();
        let whole = Limited::new(body, MOST_READ).collect().await.ok()?;
        Some((head, whole.to_bytes()))
    }
}

#[cfg(test)]
mod tests;
