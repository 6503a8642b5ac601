//! What a subscriber is told of the past instead of all that happened, piece by piece.
//!
//! Only its last event has an id. A client that is cut off before comes back as one who has seen nothing of it, and is
//! told all of it again; told twice it does no harm.

use std::{collections::VecDeque, sync::Arc};

use bytes::{Bytes, BytesMut};

use crate::events::{log::Event, text::Script};

/// When a piece is large enough.
const FULL: usize = 256 << 10;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct CatchUp(VecDeque<Arc<Event>>);

impl CatchUp {
    pub(super) fn new(past: Vec<Arc<Event>>) -> Self {
        Self(past.into())
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// The next piece. With the last one the subscriber has seen all before `position`, unless more of the past follows.
    pub(super) fn next(&mut self, script: Script, position: Option<u64>) -> Bytes {
        let mut text = BytesMut::new();
        while let Some(event) = self.0.pop_front() {
            if self.0.is_empty()
                && let Some(position) = position
            {
                let last = Event { seq: position.saturating_sub(1), ..Event::clone(&event) };
                script.put(&mut text, &last);
            } else {
                script.put_past(&mut text, &event);
            }
            if text.len() >= FULL {
                break;
            }
        }
        text.freeze()
    }
}
