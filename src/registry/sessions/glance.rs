//! Looking over all sessions without copying any: for lists and counts over a million of them.

use std::sync::Arc;

use super::{Names, Record, Sessions};
use crate::domain::{
    ids::{SessionId, StoreKey},
    ownership::Owner,
};

/// One session in passing.
#[derive(Clone, Copy, Debug)]
pub struct Glance<'a> {
    /// The session.
    pub id: &'a SessionId,
    record: &'a Record,
    names: &'a Names,
}

impl Glance<'_> {
    /// The store it stands in.
    pub fn store(&self) -> StoreKey {
        self.record.store
    }

    /// The owner by its own claims; its parent's part is left out.
    pub fn own_owner(&self) -> Option<Owner> {
        self.record.owner
    }

    /// Whether another session started it as a sub-agent.
    pub fn has_parent(&self) -> bool {
        self.record.parent.is_some()
    }

    /// When it last changed, in milliseconds since 1970 by its server's clock.
    pub fn updated_ms(&self) -> u64 {
        self.record.updated_ms
    }

    /// What people call it.
    pub fn title(&self) -> &str {
        &self.record.title
    }

    /// The directory it works in.
    pub fn directory(&self) -> Arc<str> {
        self.names.text(self.record.directory)
    }
}

impl Sessions {
    /// Visits every session, one in two stores twice, in no particular order. A part of the map is locked for
    /// writers meanwhile: `visit` must be short and must not touch the map.
    pub fn glance(&self, mut visit: impl FnMut(Glance<'_>)) {
        self.records.for_each(|id, records| {
            for record in records {
                visit(Glance { id, record, names: &self.names });
            }
        });
    }
}
