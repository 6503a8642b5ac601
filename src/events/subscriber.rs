//! One live client stream: a position in a lane, and a clock for signs of life.
//!
//! It is a response body. Dropping it is all there is to do when the client goes.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use rand::Rng;
use tokio::{
    sync::futures::OwnedNotified,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

use crate::events::{
    catch_up::CatchUp,
    cursor::{Cursor, Reset},
    hub::Shared,
    lane::{Lane, Reading},
    log::Event,
    own::{self, Hello, Present, Resume},
    picture::Stretch,
    replay::{Missed, Replay},
    text::{Script, put_unnumbered},
    view::Shape,
};

/// As real servers do it. The web UI drops a stream after 15 s without an event.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// As real servers do it on streams of the second interface.
const API_HEARTBEAT: Duration = Duration::from_secs(15);

/// What is sent then, and once behind the greeting: a comment and no event.
const API_BEAT: &[u8] = b": heartbeat\n\n";

/// When clients come back after an end of ours, in milliseconds: not all in one instant, and soon enough for nobody to
/// notice. A restart takes less than the first.
const RETRY_MS: std::ops::Range<u32> = 1_000..4_000;

/// A stream of events: a greeting first (`server.connected`, or `pointsman.hello` on our own stream), then what a
/// subscriber that was here before has missed, then what is published, and a `server.heartbeat` every 10 s (on
/// `/api/event` a comment every 15 s) whenever the client has read all there is.
///
/// Each item is as many whole events as were there, at most about 256 KiB. The stream ends when the hub closes, and
/// when the client has read so slowly that the log has lost what it would read next.
#[derive(Debug)]
pub struct Subscription {
    shared: Arc<Shared>,
    lane: Arc<Lane>,
    position: u64,
    state: State,
    heartbeat: Interval,
    /// Made before the log is looked at, so that what is published in between is not missed.
    news: Pin<Box<OwnedNotified>>,
}

#[derive(Debug)]
enum State {
    New(Start),
    Replaying(Replay),
    CatchingUp(CatchUp),
    Conflating(Conflation),
    Live,
    Ended,
}

/// What the events come to that a subscriber was too slow for.
#[derive(Debug)]
struct Conflation {
    /// What is to be asked for.
    left: Option<Stretch>,
    /// What has been.
    piece: CatchUp,
}

/// Where and how a subscriber begins.
#[derive(Debug)]
pub(super) struct Start {
    /// What became of its cursor: where to go on; `None` if it has none.
    pub(super) judged: Option<Result<u64, Reset>>,
    /// What it is told of the past, if it does not come back.
    pub(super) past: Vec<Arc<Event>>,
    /// Where it is live.
    pub(super) end: u64,
    /// What our own stream names at its beginning.
    pub(super) servers: Vec<Present>,
    /// It is known what happened while we did not run.
    pub(super) is_complete: bool,
}

impl Start {
    /// Where the stream begins.
    fn position(&self) -> u64 {
        match self.judged {
            Some(Ok(from)) => from,
            Some(Err(_)) | None => self.end,
        }
    }
}

impl Subscription {
    pub(super) fn new(shared: Arc<Shared>, lane: Arc<Lane>, start: Start) -> Self {
        shared.audience.send_modify(|audience| *audience += 1);
        let every = if lane.script().shape == Shape::Api { API_HEARTBEAT } else { HEARTBEAT };
        let mut heartbeat = interval_at(Instant::now() + every, every);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let news = Box::pin(shared.news.clone().notified_owned());
        Self { shared, lane, position: start.end, state: State::New(start), heartbeat, news }
    }

    /// The next piece of the stream; `None` when it has ended. Cancelling loses nothing.
    pub async fn next(&mut self) -> Option<Bytes> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`next`](Self::next).
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match &mut self.state {
            State::Ended => return Poll::Ready(None),
            State::New(start) => {
                let text = greeting(&self.lane, start);
                let journal = self.shared.journal.clone();
                let past = std::mem::take(&mut start.past);
                self.state = match (journal, start.position()) {
                    (Some(journal), from) if from < start.end => {
                        State::Replaying(Replay::new(journal, from, start.end))
                    }
                    _ if !past.is_empty() => State::CatchingUp(CatchUp::new(past)),
                    _ => State::Live,
                };
                return Poll::Ready(Some(text));
            }
            State::Replaying(replay) => match ready!(replay.poll_next(&self.shared, &self.lane, cx)) {
                Missed::Text(text) => return Poll::Ready(Some(text)),
                Missed::Over(position) => {
                    self.position = position;
                    self.state = State::Live;
                }
                Missed::Lost => {
                    self.shared.lost();
                    tracing::info!(
                        position = replay.position(),
                        "what a subscriber missed is not kept any more"
                    );
                    self.position = self.shared.log.read().end();
                    self.state = State::Live;
                    return Poll::Ready(Some(self.aside(&own::reset(self.shape(), Reset::TooOld))));
                }
            },
            State::CatchingUp(catch_up) => {
                let text = catch_up.next(self.lane.script(), Some(self.position));
                if catch_up.is_over() {
                    self.state = State::Live;
                }
                return Poll::Ready(Some(text));
            }
            State::Conflating(_) => {
                if let Some(text) = self.conflated() {
                    return Poll::Ready(Some(text));
                }
            }
            State::Live => {}
        }
        if self.lags()
            && let Some(text) = self.conflate()
        {
            return Poll::Ready(Some(text));
        }
        loop {
            // Before the log, so that what was published before the end is still read.
            let closed = self.shared.closed.load(Ordering::Acquire);
            match self.read() {
                Reading::Text { text, to } => {
                    self.position = to;
                    return Poll::Ready(Some(text));
                }
                Reading::Nothing { to } if to > self.position => self.position = to,
                Reading::Behind if !self.shared.conflates() => {
                    self.shared.lost();
                    tracing::info!(position = self.position, "subscriber fell behind the log");
                    return self.end();
                }
                Reading::Behind => {
                    if let Some(text) = self.conflate() {
                        return Poll::Ready(Some(text));
                    }
                }
                Reading::Nothing { .. } if closed => {
                    self.state = State::Ended;
                    return Poll::Ready(Some(retry()));
                }
                Reading::Nothing { .. } => {
                    if self.news.as_mut().poll(cx).is_pending() {
                        ready!(self.heartbeat.poll_tick(cx));
                        return Poll::Ready(Some(self.beat()));
                    }
                    self.news.set(self.shared.news.clone().notified_owned());
                }
            }
        }
    }

    fn read(&self) -> Reading {
        let default = self.shared.default_directory.read().clone();
        let alone = Arc::strong_count(&self.lane) == 1;
        self.lane.read(self.position, &self.shared.log, default.as_deref(), alone)
    }

    fn lags(&self) -> bool {
        self.shared.conflates() && self.shared.log.read().lag(self.position) > self.shared.settings.lag
    }

    /// Begins to tell what the events come to that it was too slow for; `None` if that is nothing it is to see.
    fn conflate(&mut self) -> Option<Bytes> {
        tracing::debug!(position = self.position, "subscriber reads slowly");
        let left = Some(self.shared.falls_behind(self.position));
        self.state = State::Conflating(Conflation { left, piece: CatchUp::default() });
        self.conflated()
    }

    /// The next of it; `None` once all has been told.
    fn conflated(&mut self) -> Option<Bytes> {
        while let State::Conflating(Conflation { left, piece }) = &mut self.state {
            if !piece.is_over() {
                let last = left.is_none().then_some(self.position);
                return Some(piece.next(self.lane.script(), last));
            }
            let Some(stretch) = *left else {
                self.state = State::Live;
                break;
            };
            let Ok(come) = self.shared.since(stretch, self.lane.view()) else {
                return Some(self.forgotten());
            };
            (*left, *piece) = (come.left, CatchUp::new(come.events));
            if left.is_none() {
                self.position = come.end;
            }
        }
        None
    }

    /// Says that what it was too slow for cannot be told, and goes on with what changed lately.
    fn forgotten(&mut self) -> Bytes {
        tracing::info!(position = self.position, "what a subscriber read too slowly is not kept any more");
        self.shared.lost();
        let (past, end) = self.shared.past(self.lane.view());
        let past = CatchUp::new(past);
        self.position = end;
        self.state = if past.is_over() { State::Live } else { State::CatchingUp(past) };
        let mut text = BytesMut::new();
        put_unnumbered(&mut text, &own::reset(self.shape(), Reset::TooOld));
        text.freeze()
    }

    fn shape(&self) -> Shape {
        self.lane.script().shape
    }

    /// An event of this stream alone, with an id that moves its client's cursor on.
    fn aside(&self, event: &[u8]) -> Bytes {
        let mut text = BytesMut::new();
        self.lane.script().put_aside(&mut text, event, self.position);
        text.freeze()
    }

    /// A sign of life.
    fn beat(&self) -> Bytes {
        own::heartbeat(self.shape()).map_or(Bytes::from_static(API_BEAT), |event| self.aside(&event))
    }

    fn end(&mut self) -> Poll<Option<Bytes>> {
        self.state = State::Ended;
        Poll::Ready(None)
    }
}

/// How the stream begins.
fn greeting(lane: &Lane, start: &Start) -> Bytes {
    let (script, mut text) = (lane.script(), BytesMut::new());
    let position = start.position();
    let reset = start.judged.and_then(Result::err);
    // What is told of the past comes behind this, and whoever is cut off before its end has not seen it.
    let script = if start.past.is_empty() { script } else { Script { epoch: None, ..script } };
    if script.shape == Shape::Own {
        let hello = Hello {
            cursor: script.epoch.map(|epoch| Cursor { epoch, seq: position.saturating_sub(1) }.to_string()),
            resume: start.judged.map(|judged| match judged {
                Ok(_) if start.is_complete => Resume::Ok,
                Ok(_) => Resume::Repairing,
                Err(_) => Resume::Gap,
            }),
            reason: reset,
            servers: &start.servers,
        };
        script.put_aside(&mut text, &own::hello(hello), position);
        return text.freeze();
    }
    script.put_aside(&mut text, &own::connected(script.shape), position);
    if let Some(reset) = reset {
        script.put_aside(&mut text, &own::reset(script.shape, reset), position);
    }
    if script.shape == Shape::Api {
        text.extend_from_slice(API_BEAT);
    }
    text.freeze()
}

/// When to come back, told as the last thing of all.
fn retry() -> Bytes {
    format!("retry: {}\n\n", rand::rng().random_range(RETRY_MS)).into()
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.audience.send_modify(|audience| *audience -= 1);
    }
}

impl Body for Subscription {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.get_mut().poll_next(cx).map(|text| text.map(|text| Ok(Frame::data(text))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Ended)
    }
}

#[cfg(test)]
mod tests;
