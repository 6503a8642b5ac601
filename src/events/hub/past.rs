//! What an earlier run told, taken up again: clients that come back show it still.

use std::sync::{Arc, atomic::Ordering};

use super::{Hub, read};
use crate::{
    domain::ids::SessionId,
    events::{journal::Left, log::Event},
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
