//! What one view of the log looks like on the wire, written once for all subscribers that share the view.
//!
//! A lane is a chain of frames, each the text of everything that was there when the first reader came to its
//! start. The reader that comes to the end of the chain writes the next frame; all others take it by reference. So
//! the work is events × views plus frames × subscribers, and frames grow by themselves when readers fall behind.
//! Only the last few frames are kept: a reader further back gets a frame of its own from the log.

use std::{collections::VecDeque, sync::Arc};

use bytes::{Bytes, BytesMut};
use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;

use crate::events::{
    cursor::Epoch,
    log::{Behind, Event, Log},
    text::Script,
    view::View,
};

/// A frame is closed once it holds as much: enough that the cost of a write no longer matters, little enough for a
/// thousand stuck sockets to hold one each. One larger event is a frame of its own.
const FULL_FRAME: usize = 256 << 10;

/// How many events are looked at in one go, so that a view which admits few does not keep the log from its writer.
const LONGEST_LOOK: usize = 4096;

/// What the chain keeps. Readers that do read are within a few frames of one another.
const KEPT_FRAMES: usize = 64;
const KEPT_BYTES: usize = 2 * FULL_FRAME;

#[derive(Debug)]
pub(super) struct Lane {
    view: View,
    script: Script,
    chain: Mutex<Chain>,
}

/// Frames in order, without overlap. Gaps hold nothing that the view admits, or had no reader.
#[derive(Debug, Default)]
struct Chain {
    frames: VecDeque<Frame>,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Frame {
    from: u64,
    to: u64,
    text: Bytes,
}

/// What there is to read at a position.
#[derive(Debug)]
pub(super) enum Reading {
    /// This text; the reader goes on at `to`.
    Text {
        text: Bytes,
        to: u64,
    },
    /// Nothing for this view; the reader goes on at `to`, and waits if it has not moved.
    Nothing {
        to: u64,
    },
    Behind,
}

impl Lane {
    /// A lane whose events have ids of `epoch`.
    pub(super) fn new(view: View, epoch: Option<Epoch>) -> Self {
        let script = Script { shape: view.shape, epoch };
        Self { view, script, chain: Mutex::default() }
    }

    /// What it shows.
    pub(super) fn view(&self) -> &View {
        &self.view
    }

    /// How its text is written.
    pub(super) fn script(&self) -> Script {
        self.script
    }

    /// What there is to read at `from`. `alone` says that the reader shares the lane with nobody, so that keeping
    /// its frames would be of no use.
    pub(super) fn read(&self, from: u64, log: &RwLock<Log>, default: Option<&str>, alone: bool) -> Reading {
        if alone {
            return self.write(from, u64::MAX, log, default, |_| false).into();
        }
        let mut chain = self.chain.lock();
        let at = chain.frames.partition_point(|frame| frame.to <= from);
        let until = match chain.frames.get(at) {
            Some(frame) if frame.from == from => return Reading::from(Ok(frame.clone())),
            // It came within a frame, or before the oldest one kept: on its own up to where the chain can be joined.
            Some(frame) => {
                if frame.from < from {
                    frame.to
                } else {
                    frame.from
                }
            }
            None => {
                // The lock is held while writing, so that whoever comes next finds the frame instead of doing the
                // same work.
                let written = self.write(from, u64::MAX, log, default, |_| false);
                if let Ok(frame) = &written
                    && !frame.text.is_empty()
                {
                    chain.add(frame.clone());
                }
                return written.into();
            }
        };
        drop(chain);
        self.write(from, until, log, default, |_| false).into()
    }

    /// The same for one reader who was away: up to `until`, and without what is `hidden` by now.
    pub(super) fn replay(
        &self,
        from: u64,
        until: u64,
        log: &RwLock<Log>,
        default: Option<&str>,
        hidden: impl Fn(&Event) -> bool,
    ) -> Reading {
        self.write(from, until, log, default, hidden).into()
    }

    /// The text of `events`, which are not in the log any more.
    pub(super) fn text(&self, events: &[Event], default: Option<&str>) -> Bytes {
        let mut text = BytesMut::new();
        for event in events.iter().filter(|event| self.view.admits(event, default)) {
            self.script.put(&mut text, event);
        }
        text.freeze()
    }

    fn write(
        &self,
        from: u64,
        until: u64,
        log: &RwLock<Log>,
        default: Option<&str>,
        hidden: impl Fn(&Event) -> bool,
    ) -> Result<Frame, Behind> {
        // The log is let go before the copying: 10 MB events are rare, but no reason to keep its writer waiting.
        let mut events: SmallVec<[Arc<Event>; 32]> = SmallVec::new();
        let mut bytes = 0;
        let mut looks = 0;
        let to = log.read().read(from, until, |event| {
            if self.view.admits(event, default) && !hidden(event) {
                bytes += self.script.room(event);
                events.push(event.clone());
            }
            looks += 1;
            bytes < FULL_FRAME && looks < LONGEST_LOOK
        })?;
        let mut text = BytesMut::with_capacity(bytes);
        for event in &events {
            self.script.put(&mut text, event);
        }
        Ok(Frame { from, to, text: text.freeze() })
    }
}

impl Chain {
    fn add(&mut self, frame: Frame) {
        self.bytes += frame.text.len();
        self.frames.push_back(frame);
        while self.frames.len() > 1 && (self.frames.len() > KEPT_FRAMES || self.bytes > KEPT_BYTES) {
            let Some(oldest) = self.frames.pop_front() else { return };
            self.bytes -= oldest.text.len();
        }
    }
}

impl From<Result<Frame, Behind>> for Reading {
    fn from(written: Result<Frame, Behind>) -> Self {
        match written {
            Ok(Frame { to, text, .. }) if text.is_empty() => Self::Nothing { to },
            Ok(Frame { to, text, .. }) => Self::Text { text, to },
            Err(Behind) => Self::Behind,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::events::{
        log::Limits,
        sse,
        view::{Attention, AttentionRule, Shape},
    };

    fn view(directory: &str) -> View {
        View {
            shape: Shape::Directory,
            directory: Some(directory.into()),
            server: None,
            attention: AttentionRule::All,
            opened: None,
            filter: Arc::default(),
        }
    }

    fn append(log: &RwLock<Log>, directory: &str, text: String) {
        log.write().append(Event {
            seq: 0,
            server: None,
            directory: Some(directory.into()),
            attention: Attention::Everyone,
            session: None,
            kind: "x".into(),
            payload: 0..text.len(),
            frame: text.into(),
            global_only: false,
        });
    }

    fn events(text: Bytes) -> Vec<Bytes> {
        let mut decoder = sse::Decoder::new();
        decoder.push(text);
        decoder.collect()
    }

    #[test]
    fn readers_at_one_place_get_one_text() {
        let log = RwLock::new(Log::new(Limits::default()));
        append(&log, "/a", "one".into());
        let lane = Lane::new(view("/a"), None);
        let mut texts = (0..3).map(|_| match lane.read(0, &log, None, false) {
            Reading::Text { text, to: 1 } => text,
            other => panic!("{other:?}"),
        });
        let first = texts.next().unwrap();
        assert_eq!(first, "data: one\n\n");
        assert!(texts.all(|text| text.as_ptr() == first.as_ptr()));
    }

    #[test]
    fn a_frame_ends_when_it_is_full_and_one_larger_event_fits() {
        let log = RwLock::new(Log::new(Limits::default()));
        append(&log, "/a", "x".repeat(1 << 20));
        for _ in 0..10 {
            append(&log, "/a", "y".repeat(100 << 10));
        }
        let lane = Lane::new(view("/a"), None);
        let (mut at, mut sizes) = (0, Vec::new());
        while let Reading::Text { text, to } = lane.read(at, &log, None, false) {
            sizes.push(events(text).len());
            at = to;
        }
        assert_eq!(sizes, [1, 3, 3, 3, 1]);
        assert!(lane.chain.lock().bytes <= KEPT_BYTES);
    }

    /// Mostly small events, and some of which few fill a frame.
    fn size() -> impl Strategy<Value = usize> {
        prop_oneof![19 => 0_usize..200, 1 => 60_000_usize..300_000]
    }

    proptest! {
        /// Writers and readers in any order, readers that join in the middle, a chain that keeps less than they need.
        #[test]
        fn each_reader_gets_each_event_of_its_view_once_and_in_order(
            steps in prop::collection::vec((0_usize..8, any::<bool>(), size()), 1..300),
        ) {
            let log = RwLock::new(Log::new(Limits::default()));
            let lane = Lane::new(view("/a"), None);
            let mut published = Vec::new();
            let mut readers: Vec<Option<(u64, usize, Vec<Bytes>)>> = vec![None; 6];
            for (n, (who, own, size)) in steps.into_iter().enumerate() {
                match readers.get_mut(who) {
                    None => {
                        let text = format!("{n}{}", "x".repeat(size));
                        append(&log, if own { "/a" } else { "/b" }, text.clone());
                        if own {
                            published.push(text);
                        }
                    }
                    Some(reader @ None) => *reader = Some((log.read().end(), published.len(), Vec::new())),
                    Some(Some((at, _, got))) => match lane.read(*at, &log, None, own) {
                        Reading::Text { text, to } => {
                            got.extend(events(text));
                            *at = to;
                        }
                        Reading::Nothing { to } => *at = to,
                        Reading::Behind => prop_assert!(false, "nothing was lost"),
                    },
                }
            }
            for (mut at, first, mut got) in readers.into_iter().flatten() {
                while at < log.read().end() {
                    match lane.read(at, &log, None, false) {
                        Reading::Text { text, to } => {
                            got.extend(events(text));
                            at = to;
                        }
                        Reading::Nothing { to } => at = to,
                        Reading::Behind => prop_assert!(false, "nothing was lost"),
                    }
                }
                prop_assert_eq!(got, &published[first..]);
            }
        }
    }
}
