//! The merged log: the last events of all servers, numbered in the order they were published.
//!
//! Bounded by bytes and by count; the oldest go first. Readers hold a position (the sequence number they read
//! next) and nothing else, so the log does not know them and none of them delays it.

use std::{borrow::Cow, collections::VecDeque, ops::Range, sync::Arc};

use bytes::Bytes;

use crate::{domain::ids::SessionId, events::view::Attention};

/// The type of the event that tells the end of a session.
pub(super) const DELETED: &str = "session.deleted";

/// One published event.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its place in the merged stream.
    pub seq: u64,
    /// The id of the server that emitted it; `None` for our own.
    pub server: Option<Arc<str>>,
    /// The directory whose instance emitted it; `None` for an event of a whole process, and for our own.
    pub directory: Option<Arc<str>>,
    /// Who is to see it.
    pub attention: Attention,
    /// The session it speaks of.
    pub session: Option<SessionId>,
    /// Its type, such as `message.part.delta`.
    pub kind: Cow<'static, str>,
    /// The `/global/event` form, as received.
    pub frame: Bytes,
    /// Where the `/event` form lies in `frame`.
    pub payload: Range<usize>,
    /// Whether no `/event` stream holds it, as is so for events of whole processes and for `sync` twins.
    pub global_only: bool,
}

/// Up to how many bytes a frame is copied to be kept for long. What is read at a time is not much more.
const COPIED: usize = 256 << 10;

impl Event {
    /// The same in memory of its own. A frame is a slice of what was read at a time, all of which stays for as long as
    /// the frame does: in the log that is so with its neighbours, elsewhere one in a thousand may be kept for long.
    pub(super) fn on_its_own(self) -> Self {
        if self.frame.len() > COPIED {
            return self;
        }
        Self { frame: Bytes::copy_from_slice(&self.frame), ..self }
    }
}

/// How much the log keeps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of frames. The newest event is kept even if it is larger.
    pub bytes: usize,
    /// Events.
    pub events: usize,
}

impl Default for Limits {
    /// A reader may be 64 MiB or 65,536 events behind: about half a minute of a hundred sessions that stream at
    /// once, at 20 events a second each, and six of the largest events that real servers were seen to send.
    fn default() -> Self {
        Self { bytes: 64 << 20, events: 1 << 16 }
    }
}

/// The position asked for lies before the oldest event that is kept: something was missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Behind;

/// Events taken together.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) events: Vec<Arc<Event>>,
    /// Where they begin.
    pub(super) from: u64,
    /// Where to go on.
    pub(super) to: u64,
    /// Something between where they were asked for and `from` was lost.
    pub(super) lost: bool,
}

impl Gathered {
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

#[derive(Debug)]
pub(super) struct Log {
    events: VecDeque<Arc<Event>>,
    /// How many bytes had been written before each of them.
    before: VecDeque<u64>,
    written: u64,
    /// The position behind the newest event.
    end: u64,
    bytes: usize,
    limits: Limits,
}

impl Log {
    pub(super) fn new(limits: Limits) -> Self {
        Self::beginning_at(0, limits)
    }

    /// A log whose first event has this number.
    pub(super) fn beginning_at(first: u64, limits: Limits) -> Self {
        Self { events: VecDeque::new(), before: VecDeque::new(), written: 0, end: first, bytes: 0, limits }
    }

    /// How much it holds, in bytes of frames.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many events it holds.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// How much it may hold.
    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// The position of the next event.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The position of the oldest event.
    pub(super) fn start(&self) -> u64 {
        self.end - self.events.len() as u64
    }

    /// How many bytes of events lie between `position` and the end; all that were ever written, if it lies before the
    /// oldest event.
    pub(super) fn lag(&self, position: u64) -> u64 {
        if position >= self.end {
            return 0;
        }
        let at = position.checked_sub(self.start()).and_then(|at| usize::try_from(at).ok());
        let before = at.and_then(|at| self.before.get(at)).copied();
        self.written - before.unwrap_or_default()
    }

    /// Numbers the event and puts it at the end.
    pub(super) fn append(&mut self, mut event: Event) -> Arc<Event> {
        event.seq = self.end;
        self.end += 1;
        self.bytes += event.frame.len();
        let event = Arc::new(event);
        self.before.push_back(self.written);
        self.written += event.frame.len() as u64;
        self.events.push_back(Arc::clone(&event));
        while self.events.len() > 1
            && (self.bytes > self.limits.bytes || self.events.len() > self.limits.events)
        {
            let Some(oldest) = self.events.pop_front() else { break };
            self.before.pop_front();
            self.bytes -= oldest.frame.len();
        }
        event
    }

    /// Goes through the events from position `from` up to `until` (or the end), calling `visit` until it breaks
    /// off by `false`, and returns the position behind the last one visited.
    pub(super) fn read(
        &self,
        from: u64,
        until: u64,
        mut visit: impl FnMut(&Arc<Event>) -> bool,
    ) -> Result<u64, Behind> {
        let skip = from.checked_sub(self.start()).ok_or(Behind)?;
        let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(self.events.len());
        let mut at = from;
        for event in self.events.range(skip..) {
            if at >= until {
                break;
            }
            at += 1;
            if !visit(event) {
                break;
            }
        }
        Ok(at)
    }
}

impl Log {
    /// The events from `from` on, or from the oldest on that is kept, up to about `most` bytes.
    pub(super) fn gather(&self, from: u64, most: usize) -> Gathered {
        let begin = from.max(self.start());
        let (mut events, mut bytes) = (Vec::new(), 0);
        let read = self.read(begin, u64::MAX, |event| {
            bytes += event.frame.len();
            events.push(Arc::clone(event));
            bytes < most
        });
        // It begins where the log does, or later.
        let to = read.unwrap_or(begin);
        Gathered { events, from: begin, to, lost: begin != from }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(size: usize) -> Event {
        Event {
            seq: 0,
            server: None,
            directory: None,
            attention: Attention::Everyone,
            session: None,
            kind: "x".into(),
            frame: vec![b'x'; size].into(),
            payload: 0..0,
            global_only: true,
        }
    }

    fn all(log: &Log, from: u64) -> Result<Vec<u64>, Behind> {
        let mut seen = Vec::new();
        log.read(from, u64::MAX, |event| {
            seen.push(event.seq);
            true
        })?;
        Ok(seen)
    }

    #[test]
    fn one_event_larger_than_the_whole_log_is_kept_until_the_next() {
        let mut log = Log::new(Limits { bytes: 10, events: 10 });
        log.append(event(3));
        log.append(event(100));
        assert_eq!(all(&log, 1), Ok(vec![1]));
        log.append(event(3));
        assert_eq!(all(&log, 2), Ok(vec![2]));
        assert_eq!(all(&log, 1), Err(Behind));
    }

    proptest! {
        #[test]
        fn the_log_holds_the_newest_events_within_its_limits_and_says_what_it_lost(
            sizes in prop::collection::vec(0_usize..40, 0..100),
            bytes in 40_usize..400,
            events in 1_usize..30,
        ) {
            let mut log = Log::new(Limits { bytes, events });
            for size in &sizes {
                log.append(event(*size));
                prop_assert!(log.bytes <= bytes && log.events.len() <= events);
            }
            let end = sizes.len() as u64;
            prop_assert_eq!(log.end(), end);
            prop_assert_eq!(log.bytes, log.events.iter().map(|event| event.frame.len()).sum::<usize>());
            for from in 0..=end {
                let expected = if from < log.start() { Err(Behind) } else { Ok((from..end).collect()) };
                prop_assert_eq!(all(&log, from), expected);
            }
        }
    }
}
