//! The numbers of `sync` twins, and what they prove to be missing.
//!
//! `OpenCode` numbers what is stored of a session without holes, over all processes of its store. So a number that no
//! stream has carried after a short wait (streams arrive out of step) is of an event that one of them has missed, or of
//! one that was written by a process of which we have no stream. And a lower number whose event was told behind that of a
//! higher one of another stream says that what was told last is not what is so. (A number comes behind its event, so the
//! numbers of two streams can be in order where their events are not.)
//!
//! Bounded in sessions; those heard of longest ago are forgotten first. Pure. Leaves to others: what to do about it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::domain::ids::{ServerKey, SessionId, StoreKey};

/// How long a number may be late.
pub const PATIENCE_MS: u64 = 500;

/// How many sessions are followed.
const MOST: usize = 10_000;

/// How many numbers are remembered beyond a missing one before it is waited for no longer.
const BEYOND: usize = 1000;

type Key = (StoreKey, SessionId);

/// What a number says, compared with those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing.
    InStep,
    /// Its event was told in the wrong place: another stream was faster with a later one, or slower with an earlier one.
    Overtaken,
}

/// Why numbers are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A stream that may have carried them was cut, or is.
    Missed,
    /// All streams of the store stand: somebody has written whom we cannot hear.
    Unseen,
}

impl Cause {
    /// As metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missed => "missed",
            Self::Unseen => "unseen",
        }
    }
}

/// Numbers that no stream has carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The store of the session.
    pub store: StoreKey,
    /// The session.
    pub session: SessionId,
    /// How many.
    pub numbers: u64,
    /// When nothing was missing yet, in milliseconds.
    pub since_ms: u64,
    /// Why.
    pub cause: Cause,
}

/// A number as a stream carried it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// The number.
    pub seq: u64,
    /// Whose stream it was.
    pub server: ServerKey,
    /// Where the event that it numbers stands among all that were told.
    pub told_at: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Sequences {
    tracks: HashMap<Key, Track>,
    /// Sessions by when they were heard of last.
    order: BTreeMap<u64, Key>,
    heard: u64,
    /// Those of which something is missing.
    holed: BTreeSet<Key>,
    /// When something last happened to a stream of a store.
    disturbed: HashMap<StoreKey, u64>,
}

#[derive(Debug)]
struct Track {
    /// The lowest number that is missing, or the one that comes next.
    next: u64,
    /// When nothing was missing, last.
    whole_ms: u64,
    /// Those heard beyond a missing one, and when.
    beyond: BTreeMap<u64, u64>,
    /// The highest that was heard.
    highest: Carried,
    place: u64,
}

impl Track {
    /// Goes on over numbers that were heard already.
    fn close(&mut self) {
        while self.beyond.remove(&self.next).is_some() {
            self.next += 1;
        }
    }

    /// Since when it is known that something is missing.
    fn proven_ms(&self) -> Option<u64> {
        self.beyond.values().min().copied()
    }

    fn is_due(&self, now_ms: u64) -> bool {
        let late = |proven_ms: u64| now_ms.saturating_sub(proven_ms) >= PATIENCE_MS;
        self.proven_ms().is_some_and(late) || self.beyond.len() > BEYOND
    }
}

impl Sequences {
    /// A stream has carried this number.
    pub fn heard(&mut self, store: StoreKey, session: &SessionId, carried: Carried, now_ms: u64) -> Heard {
        let seq = carried.seq;
        let key = (store, session.clone());
        self.heard += 1;
        let place = self.heard;
        let Some(track) = self.tracks.get_mut(&key) else {
            // Before the first that was heard nothing is missing.
            let (next, beyond) = (seq + 1, BTreeMap::new());
            let track = Track { next, whole_ms: now_ms, beyond, highest: carried, place };
            self.order.insert(place, key.clone());
            self.tracks.insert(key, track);
            self.forget();
            return Heard::InStep;
        };
        self.order.remove(&track.place);
        self.order.insert(place, key.clone());
        track.place = place;
        let highest = track.highest;
        let is_out_of_step = (seq < highest.seq) != (carried.told_at < highest.told_at);
        let overtaken = is_out_of_step && seq != highest.seq && carried.server != highest.server;
        if seq > highest.seq {
            track.highest = carried;
        }
        if seq > track.next {
            track.beyond.insert(seq, now_ms);
            self.holed.insert(key);
        } else if seq == track.next {
            track.next += 1;
            track.close();
            if track.beyond.is_empty() {
                track.whole_ms = now_ms;
                self.holed.remove(&key);
            }
        }
        if overtaken { Heard::Overtaken } else { Heard::InStep }
    }

    /// Something happened to a stream of a store: it begins, it ends, it could not be read.
    pub fn disturbed(&mut self, store: StoreKey, now_ms: u64) {
        self.disturbed.insert(store, now_ms);
    }

    /// What has been missing for too long, each once. `is_deaf` tells of a store whether one of its servers has no
    /// stream now.
    pub fn missing(&mut self, now_ms: u64, is_deaf: impl Fn(StoreKey) -> bool) -> Vec<Hole> {
        let mut holes = Vec::new();
        let due =
            self.holed.iter().filter(|key| self.tracks.get(key).is_none_or(|track| track.is_due(now_ms)));
        for key in due.cloned().collect::<Vec<_>>() {
            let (store, session) = &key;
            let disturbed_ms = self.disturbed.get(store).copied();
            let Some(track) = self.tracks.get_mut(&key) else { continue };
            let mut hole = Hole {
                store: *store,
                session: session.clone(),
                numbers: 0,
                since_ms: track.whole_ms,
                cause: if is_deaf(*store) || disturbed_ms >= Some(track.whole_ms) {
                    Cause::Missed
                } else {
                    Cause::Unseen
                },
            };
            while track.is_due(now_ms)
                && let Some(first) = track.beyond.keys().next().copied()
            {
                hole.numbers += first - track.next;
                track.next = first;
                track.close();
            }
            if track.beyond.is_empty() {
                track.whole_ms = now_ms;
                self.holed.remove(&key);
            }
            holes.push(hole);
        }
        holes
    }

    /// When something that is missing will have been for too long.
    pub fn next_ms(&self) -> Option<u64> {
        let proven = self.holed.iter().filter_map(|key| self.tracks.get(key)?.proven_ms());
        proven.min().map(|proven_ms| proven_ms + PATIENCE_MS)
    }

    /// Whether any is missing.
    pub fn have_holes(&self) -> bool {
        !self.holed.is_empty()
    }

    /// How many sessions are followed, and how many may be.
    pub fn held(&self) -> (usize, usize) {
        (self.tracks.len(), MOST)
    }

    fn forget(&mut self) {
        while self.tracks.len() > MOST {
            let Some((_, key)) = self.order.pop_first() else { return };
            self.tracks.remove(&key);
            self.holed.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;
