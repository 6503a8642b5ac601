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
use tokio::{
    sync::futures::OwnedNotified,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

use crate::events::{
    hub::Shared,
    lane::{Lane, Reading, put_event},
    own,
    view::Shape,
};

/// As real servers do it. The web UI drops a stream after 15 s without an event.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// As real servers do it on streams of the second interface.
const API_HEARTBEAT: Duration = Duration::from_secs(15);

/// What is sent then, and once behind the greeting: a comment and no event.
const API_BEAT: &[u8] = b": heartbeat\n\n";

/// A stream of events: `server.connected` first, then what is published, and a `server.heartbeat` every 10 s (on
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    Live,
    Ended,
}

impl Subscription {
    pub(super) fn new(shared: Arc<Shared>, lane: Arc<Lane>) -> Self {
        shared.audience.send_modify(|audience| *audience += 1);
        let every = if lane.shape() == Shape::Api { API_HEARTBEAT } else { HEARTBEAT };
        let mut heartbeat = interval_at(Instant::now() + every, every);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let news = Box::pin(shared.news.clone().notified_owned());
        let position = shared.log.read().end();
        Self { shared, lane, position, state: State::New, heartbeat, news }
    }

    /// The next piece of the stream; `None` when it has ended. Cancelling loses nothing.
    pub async fn next(&mut self) -> Option<Bytes> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`next`](Self::next).
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self.state {
            State::Ended => return Poll::Ready(None),
            State::New => {
                self.state = State::Live;
                let shape = self.lane.shape();
                let mut text = BytesMut::new();
                put_event(&mut text, &own::connected(shape));
                if shape == Shape::Api {
                    text.extend_from_slice(API_BEAT);
                }
                return Poll::Ready(Some(text.freeze()));
            }
            State::Live => {}
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
                // Instead of ending it, a reader so slow could be given the present state of what it missed.
                Reading::Behind => {
                    tracing::info!(position = self.position, "subscriber fell behind the log");
                    return self.end();
                }
                Reading::Nothing { .. } if closed => return self.end(),
                Reading::Nothing { .. } => {
                    if self.news.as_mut().poll(cx).is_pending() {
                        ready!(self.heartbeat.poll_tick(cx));
                        return Poll::Ready(Some(beat(self.lane.shape())));
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

    fn end(&mut self) -> Poll<Option<Bytes>> {
        self.state = State::Ended;
        Poll::Ready(None)
    }
}

/// A sign of life, of this stream alone.
fn beat(shape: Shape) -> Bytes {
    let Some(event) = own::heartbeat(shape) else { return Bytes::from_static(API_BEAT) };
    let mut out = BytesMut::new();
    put_event(&mut out, &event);
    out.freeze()
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
        self.state == State::Ended
    }
}

#[cfg(test)]
mod tests;
