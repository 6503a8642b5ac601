//! Which files there are and what each holds: shared by the one task that writes and those who read.

use std::{
    fs::File,
    io::{self, BufReader, Read as _, Seek as _, SeekFrom},
    path::PathBuf,
};

use parking_lot::RwLock;

use super::entry::{self, Entry, Found, PREFIX};
use crate::events::log::{Behind, Event};

/// One file: the events from `first` on, up to the first of the next file.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) first: u64,
    pub(super) path: PathBuf,
    /// What is written of it.
    pub(super) bytes: u64,
    /// When its first event was kept, in milliseconds since 1970.
    pub(super) begun_ms: u64,
    /// How often it was written anew.
    pub(super) edition: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) segments: Vec<Segment>,
    /// Everything from here on is kept, but for what was erased.
    pub(super) first: u64,
    /// Behind the last event kept.
    pub(super) end: u64,
}

/// Some events in their order.
#[derive(Debug)]
pub(in crate::events) struct Page {
    pub(in crate::events) events: Vec<Event>,
    /// Where to go on; where it was asked for, if there is nothing further.
    pub(in crate::events) to: u64,
    /// Where `to` lies.
    pub(in crate::events) place: Option<Place>,
}

/// A place in a file that need not be looked for again.
#[derive(Clone, Copy, Debug)]
pub(in crate::events) struct Place {
    first: u64,
    edition: u32,
    offset: u64,
}

impl Index {
    /// Nothing is kept.
    pub(super) fn empty() -> Self {
        Self { segments: Vec::new(), first: u64::MAX, end: 0 }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// The file that has `position`, and where the next one begins.
    fn holding(&self, position: u64) -> Option<(&Segment, u64)> {
        let behind = self.segments.partition_point(|segment| segment.first <= position);
        // Between two runs there are numbers that no file has: the next event is in the next file.
        let at = behind.saturating_sub(1);
        let next = self.segments.get(at + 1).map_or(self.end, |segment| segment.first);
        Some((self.segments.get(at)?, next))
    }
}

/// Reads on from `from`: events of about `most` bytes, of one file. Blocks on the file system.
pub(super) fn page(
    index: &RwLock<Index>,
    from: u64,
    place: Option<Place>,
    most: usize,
) -> Result<Page, Behind> {
    let opened = {
        // While it is held no file is removed or written anew, so that what is opened is what was looked up.
        let index = index.read();
        if from < index.first {
            return Err(Behind);
        }
        match index.holding(from) {
            Some((segment, next)) if from < index.end => {
                File::open(&segment.path).map(|file| (file, segment.clone(), next))
            }
            _ => return Ok(Page { events: Vec::new(), to: from, place: None }),
        }
    };
    let page = opened.and_then(|(file, segment, next)| {
        let known = place.filter(|place| (place.first, place.edition) == (segment.first, segment.edition));
        read(file, &segment, known.map_or(0, |place| place.offset), from, next, most)
    });
    page.map_err(|error| {
        tracing::error!(%error, "a part of the journal cannot be read");
        Behind
    })
}

fn read(
    mut file: File,
    segment: &Segment,
    mut offset: u64,
    from: u64,
    next: u64,
    most: usize,
) -> io::Result<Page> {
    file.seek(SeekFrom::Start(offset))?;
    let mut file = BufReader::with_capacity(64 << 10, file.take(segment.bytes.saturating_sub(offset)));
    let mut page = Page { events: Vec::new(), to: next.max(from), place: None };
    let mut bytes = 0;
    while offset < segment.bytes {
        let Found::Record(record) = entry::next(&mut file)? else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a record is damaged"));
        };
        let length = record.len();
        let seq = entry::seq(&record).unwrap_or_default();
        if seq >= from {
            if bytes >= most {
                page.to = seq;
                page.place = Some(Place { first: segment.first, edition: segment.edition, offset });
                break;
            }
            // What another version wrote and we cannot read is passed over.
            if let Some(Entry { event, .. }) = entry::read(record) {
                bytes += event.frame.len();
                page.events.push(event);
            }
        }
        offset += (PREFIX + length) as u64;
    }
    Ok(page)
}
