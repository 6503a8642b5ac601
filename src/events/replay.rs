//! What a subscriber missed while it was away: out of the log as far as that reaches back, before that out of files.
//!
//! One page of files is in memory for it at a time, and the next is read once its client has taken the one before. It
//! sees what it would have seen, but for what was deleted since.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use crate::events::{
    hub::Shared,
    journal::{Journal, Page, Place},
    lane::{self, Lane},
    log::Behind,
};

/// See the module.
pub(super) struct Replay {
    journal: Journal,
    position: u64,
    /// From here on it is live.
    until: u64,
    place: Option<Place>,
    page: Option<Reading>,
}

type Reading = Pin<Box<dyn Future<Output = Result<Page, Behind>> + Send>>;

/// The next of what was missed.
#[derive(Debug)]
pub(super) enum Missed {
    Text(Bytes),
    /// That was all: go on live at this position.
    Over(u64),
    /// The rest is not kept any more.
    Lost,
}

impl Replay {
    /// The events from `from` up to `until`.
    pub(super) fn new(journal: Journal, from: u64, until: u64) -> Self {
        Self { journal, position: from, until, place: None, page: None }
    }

    /// Where it stands.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn poll_next(&mut self, shared: &Shared, lane: &Lane, cx: &mut Context<'_>) -> Poll<Missed> {
        let default = shared.default_directory.read().clone();
        let default = default.as_deref();
        loop {
            if let Some(page) = &mut self.page {
                let read = ready!(page.as_mut().poll(cx));
                self.page = None;
                match read {
                    // Files that do not reach the log: it has lost what was not kept yet.
                    Ok(Page { to, .. }) if to == self.position => return Poll::Ready(Missed::Lost),
                    Ok(Page { mut events, to, place }) => {
                        (self.position, self.place) = (to, place);
                        events.retain(|event| !self.journal.hides(event));
                        let text = lane.text(&events, default);
                        if !text.is_empty() {
                            return Poll::Ready(Missed::Text(text));
                        }
                    }
                    Err(Behind) => return Poll::Ready(Missed::Lost),
                }
            }
            if self.position >= self.until {
                return Poll::Ready(Missed::Over(self.position));
            }
            let hidden = |event: &_| self.journal.hides(event);
            match lane.replay(self.position, self.until, &shared.log, default, hidden) {
                lane::Reading::Text { text, to } => {
                    self.position = to;
                    return Poll::Ready(Missed::Text(text));
                }
                // The log ends before `until` only if it never got there.
                lane::Reading::Nothing { to } if to == self.position => return Poll::Ready(Missed::Over(to)),
                lane::Reading::Nothing { to } => self.position = to,
                lane::Reading::Behind => {
                    self.page = Some(Box::pin(self.journal.clone().page(self.position, self.place.take())));
                }
            }
        }
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("position", &self.position)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}
