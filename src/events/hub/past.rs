//! What was told before: for those who come late or read slowly, and of an earlier run, whose clients come back and show
//! it still.

use std::sync::{Arc, atomic::Ordering};

use super::{Hub, Shared, read};
use crate::{
    domain::ids::SessionId,
    events::{
        journal::Left,
        log::Event,
        picture::{Forgotten, Stretch},
        view::View,
    },
};

impl Hub {
    /// Takes up what an earlier run told last. Until [`Hub::complete`] it is not known what happened since.
    pub fn recall(&self, left: Left) {
        self.shared.is_incomplete.store(true, Ordering::Release);
        let Some(picture) = &self.shared.picture else { return };
        let mut picture = picture.lock();
        for event in left.events.into_iter().map(Arc::new) {
            let frame = event.frame.clone();
            let bare = frame.get(event.payload.clone());
            if let Some(piece) = bare.and_then(|bare| read(&event.kind, bare)) {
                picture.recall(&event, &piece);
            }
        }
    }

    /// What happened while we did not run has been told.
    pub fn complete(&self) {
        self.shared.is_incomplete.store(false, Ordering::Release);
    }

    /// What clients show to be going on at servers of which `is_there` does not hold: the events that told that a
    /// session works, and those that asked.
    pub fn left_open(&self, is_there: impl Fn(&str) -> bool) -> Vec<(SessionId, Arc<Event>)> {
        self.shared.picture.as_ref().map(|picture| picture.lock().left_open(is_there)).unwrap_or_default()
    }
}

/// A piece of what events come to.
#[derive(Debug)]
pub(in crate::events) struct Come {
    pub(in crate::events) events: Vec<Arc<Event>>,
    pub(in crate::events) left: Option<Stretch>,
    pub(in crate::events) end: u64,
}

impl Shared {
    /// What changed lately, for one who comes late, and the position from which on it is live.
    pub(in crate::events) fn past(&self, view: &View) -> (Vec<Arc<Event>>, u64) {
        let default = self.default_directory.read().clone();
        let Some(picture) = &self.picture else { return (Vec::new(), self.log.read().end()) };
        let mut picture = picture.lock();
        let past = picture.now(self.settings.late, |event| view.admits(event, default.as_deref()));
        (past, self.log.read().end())
    }

    /// One who stands at `from` reads too slowly.
    pub(in crate::events) fn falls_behind(&self, from: u64) -> Stretch {
        self.conflated.fetch_add(1, Ordering::Relaxed);
        Stretch { from, began: self.log.read().end(), behind: from }
    }

    /// The next piece of what the events of a stretch come to, for one who reads slowly, what is left, and the position
    /// from which on it is live if nothing is.
    pub(in crate::events) fn since(&self, stretch: Stretch, view: &View) -> Result<Come, Forgotten> {
        let default = self.default_directory.read().clone();
        let mut picture = self.picture.as_ref().ok_or(Forgotten)?.lock();
        let admits = |event: &Event| view.admits(event, default.as_deref());
        let (events, left) = picture.since(stretch, self.settings.piece, admits)?;
        Ok(Come { events, left, end: self.log.read().end() })
    }

    /// A subscriber cannot be told what it missed.
    pub(in crate::events) fn lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether one who reads slowly can be told what it missed.
    pub(in crate::events) fn conflates(&self) -> bool {
        self.picture.is_some()
    }
}
