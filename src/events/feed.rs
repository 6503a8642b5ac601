//! One server's stream of events, kept open for as long as we care about the server.
//!
//! A feed connects, decodes, reports to its [`Intake`] and connects again, for ever. It decides nothing: whether a
//! server that is silent or gone still owns its sessions is for others to say.

mod backoff;

use std::{error::Error as _, future::Future, io, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{HeaderValue, StatusCode, header};
use reqwest::{RequestBuilder, Response};
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    domain::{ask::Interface, ids::ServerKey},
    events::sse,
    opencode::event::{Decoded, Decoder, Malformed, Signal},
};
use backoff::Backoff;

/// Servers send a heartbeat every 10 s, so that two of them are missing by now.
const SILENCE: Duration = Duration::from_secs(25);

/// After how long without an answer a stream is asked for a second time. Servers answer at once.
const ASKED_AGAIN: Duration = Duration::from_secs(2);

/// A stream that lasted as long was a good one: when it ends, the next attempt is a first one again.
const GOOD_STREAM: Duration = Duration::from_secs(5);

/// The wait before a first attempt: too short to miss anything by, long enough for a server that ends every stream as
/// soon as it has sent something to cost next to nothing.
const BREATH: Duration = Duration::from_millis(5);

/// Up to how many bytes a piece of a stream is copied. Reading makes room for some 8 to 400 KiB at a time, and all of it
/// stays for as long as a byte does that was read into it: for a word of a turn, that is more than ten times its size.
const COPIED: usize = 128 << 10;

/// Which stream to read, and how.
#[derive(Clone, Debug)]
pub struct Feed {
    /// The server, as reported to the intake.
    pub server: ServerKey,
    /// Makes the connections. It should bound connecting and keep TCP connections probed; it must not bound reading
    /// or the whole request.
    pub client: reqwest::Client,
    /// The address of the stream.
    pub url: Url,
    /// The interface whose stream that is: `/global/event` or `/api/event`.
    pub interface: Interface,
    /// The credentials, where the server wants some.
    pub authorization: Option<HeaderValue>,
}

/// Takes what a feed reports, in the order it happened. Called from the feed's task: it must not block.
pub trait Intake: Send + Sync {
    /// The server greeted us: what it emits from now on is received.
    fn connected(&self, server: ServerKey);
    /// The server emitted an event that is neither a greeting nor a heartbeat.
    fn received(&self, server: ServerKey, event: Decoded);
    /// The server sent something that was skipped; the stream goes on.
    fn malformed(&self, server: ServerKey, why: Skipped);
    /// Not a byte has come for 25 s, on an open stream or in answer to a request for one.
    fn silent(&self, server: ServerKey);
    /// The first bytes after a silence have come.
    fn awake(&self, server: ServerKey);
    /// The stream has ended or could not be opened. The feed tries again; while attempts fail this is called for
    /// each.
    fn lost(&self, server: ServerKey, why: Lost);
}

/// Why a piece of a stream was skipped.
#[derive(Debug, Error)]
pub enum Skipped {
    /// Larger than we read.
    #[error("{0} events were larger than {max} bytes and have been skipped", max = sse::MAX_EVENT)]
    TooLarge(u64),
    /// Not an event.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Why there is no stream.
#[derive(Debug, Error)]
pub enum Lost {
    /// Nobody listens at the address.
    #[error("nobody listens there; start the server, or correct its address")]
    Refused(#[source] reqwest::Error),
    /// No answer came.
    #[error("the server cannot be reached: {0}")]
    Unreachable(#[source] reqwest::Error),
    /// The server wants other credentials than we have.
    #[error("the server wants a user name and a password; put them into the configuration")]
    Locked,
    /// The answer is not an event stream.
    #[error("the answer is not an event stream but {status} {content_type:?}; is this an OpenCode server?")]
    Foreign {
        /// The status of the answer.
        status: StatusCode,
        /// Its content type; empty if it had none.
        content_type: String,
    },
    /// The stream broke off, as it does when the server is killed.
    #[error("the stream broke off: {0}")]
    Broken(#[source] reqwest::Error),
    /// The stream came to a regular end.
    #[error("the server ended the stream")]
    Ended,
}

/// Keeps the feed going until `stop` is cancelled. Reports nothing after that.
pub async fn run(feed: Feed, intake: impl Intake, stop: CancellationToken) {
    stop.run_until_cancelled(feed.run(&intake)).await;
}

impl Feed {
    async fn run(&self, intake: &impl Intake) {
        let mut backoff = Backoff::default();
        loop {
            let opened = Instant::now();
            let mut told = false;
            let why = match self.open(intake).await {
                Ok(response) => {
                    let chunks = Box::pin(response.bytes_stream());
                    self.follow(chunks, intake, &mut told).await.map_or(Lost::Ended, Lost::Broken)
                }
                Err(why) => why,
            };
            let lasted = opened.elapsed() >= GOOD_STREAM;
            // Servers end a stream of the second interface at each event that they cannot write in its form, and so
            // several times in a turn of the first. What it told shows that it was a good one until then.
            let ended_early = told && self.interface == Interface::Second;
            let good = matches!(why, Lost::Ended | Lost::Broken(_)) && (lasted || ended_early);
            intake.lost(self.server, why);
            if good {
                backoff = Backoff::default();
            }
            sleep(backoff.next(rand::random()).max(BREATH)).await;
        }
    }

    /// Reads a stream to its end and reports what it holds; `told` becomes true at the first event. `Some` is what
    /// broke it.
    async fn follow<E>(
        &self,
        mut chunks: impl Stream<Item = Result<Bytes, E>> + Unpin,
        intake: &impl Intake,
        told: &mut bool,
    ) -> Option<E> {
        let server = self.server;
        let mut lines = sse::Decoder::new();
        let mut events = Decoder::new();
        let mut skipped = 0;
        while let Some(chunk) =
            or_silence(server, chunks.next(), |chunk| matches!(chunk, Some(Ok(_))), intake).await
        {
            match chunk {
                Ok(chunk) => lines.push(on_its_own(chunk)),
                Err(error) => return Some(error),
            }
            for data in lines.by_ref() {
                let event = match self.interface {
                    Interface::First => events.decode(data),
                    Interface::Second => events.decode_api(data),
                };
                match event {
                    Ok(event) => match event.signal {
                        Signal::Connected => intake.connected(server),
                        Signal::Heartbeat => {}
                        _ => {
                            *told = true;
                            intake.received(server, event);
                        }
                    },
                    Err(why) => intake.malformed(server, why.into()),
                }
            }
            let more = lines.skipped() - skipped;
            if more > 0 {
                skipped += more;
                intake.malformed(server, Skipped::TooLarge(more));
            }
        }
        None
    }

    async fn open(&self, intake: &impl Intake) -> Result<Response, Lost> {
        let mut request = self.client.get(self.url.clone()).header(header::ACCEPT, "text/event-stream");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let response =
            or_silence(self.server, asked_twice(request), Result::is_ok, intake).await.map_err(unopened)?;
        let content_type =
            response.headers().get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        let is_stream =
            content_type.get(..EVENT_STREAM.len()).is_some_and(|is| is.eq_ignore_ascii_case(EVENT_STREAM));
        match response.status() {
            StatusCode::OK if is_stream => Ok(response),
            StatusCode::UNAUTHORIZED => Err(Lost::Locked),
            status => {
                let content_type = String::from_utf8_lossy(content_type).into_owned();
                Err(Lost::Foreign { status, content_type })
            }
        }
    }
}

const EVENT_STREAM: &[u8] = b"text/event-stream";

/// Sends a request, and after a while without an answer once more on another connection: a server that was met in the
/// instant it began to listen answers the second alone.
async fn asked_twice(request: RequestBuilder) -> reqwest::Result<Response> {
    let again = request.try_clone();
    let mut first = std::pin::pin!(request.send());
    if let Ok(answered) = timeout(ASKED_AGAIN, first.as_mut()).await {
        return answered;
    }
    match again {
        Some(again) => tokio::select! {
            answered = first => answered,
            answered = again.send() => answered,
        },
        None => first.await,
    }
}

/// Waits for `bytes`, however long, and tells of a silence, and of its end if what came `is_life` and not the end of
/// the connection.
async fn or_silence<T>(
    server: ServerKey,
    bytes: impl Future<Output = T>,
    is_life: impl FnOnce(&T) -> bool,
    intake: &impl Intake,
) -> T {
    let mut bytes = std::pin::pin!(bytes);
    if let Ok(come) = timeout(SILENCE, bytes.as_mut()).await {
        return come;
    }
    intake.silent(server);
    let come = bytes.await;
    if is_life(&come) {
        intake.awake(server);
    }
    come
}

fn unopened(error: reqwest::Error) -> Lost {
    let mut cause = error.source();
    while let Some(at) = cause {
        if at.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused) {
            return Lost::Refused(error);
        }
        cause = at.source();
    }
    Lost::Unreachable(error)
}

/// The same bytes in memory of their own, unless they fill what they were read into.
fn on_its_own(chunk: Bytes) -> Bytes {
    if chunk.len() > COPIED { chunk } else { Bytes::copy_from_slice(&chunk) }
}

#[cfg(test)]
mod tests;
