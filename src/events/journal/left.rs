//! What earlier runs told last: what clients that come back still show.

use std::{
    fs::File,
    io::{self, BufReader, Read as _},
};

use parking_lot::RwLock;

use super::{
    entry::{self, Entry, Found},
    index::{Index, Segment},
};
use crate::events::log::Event;

/// See the module.
#[derive(Debug)]
pub struct Left {
    pub(in crate::events) events: Vec<Event>,
    /// When the last of it was kept, in milliseconds since 1970.
    pub until_ms: u64,
}

/// What was kept in the `window_ms` before the last of it, of about the last `most` bytes. Blocks on the file system.
pub(super) fn left(index: &RwLock<Index>, window_ms: u64, most: u64) -> Option<Left> {
    let segments: Vec<Segment> = {
        let index = index.read();
        let mut bytes = 0;
        let last = index.segments.iter().rev().take_while(|segment| {
            let fits = bytes < most;
            bytes += segment.bytes;
            fits
        });
        last.cloned().collect()
    };
    let mut entries = Vec::new();
    for segment in segments.iter().rev() {
        if let Err(error) = read(segment, &mut entries) {
            tracing::error!(%error, "a part of the journal cannot be read");
        }
    }
    let until_ms = entries.last()?.at_ms;
    let events = entries.into_iter().filter(|entry| entry.at_ms + window_ms >= until_ms);
    Some(Left { events: events.map(|entry| entry.event).collect(), until_ms })
}

fn read(segment: &Segment, entries: &mut Vec<Entry>) -> io::Result<()> {
    let mut file = BufReader::with_capacity(64 << 10, File::open(&segment.path)?.take(segment.bytes));
    while let Found::Record(record) = entry::next(&mut file)? {
        entries.extend(entry::read(record));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::journal::tests::event;

    #[test]
    fn the_last_window_before_the_end_is_left_of_the_last_files() {
        let directory = tempfile::tempdir().unwrap();
        let segments = [(0, [1000, 2000]), (2, [3000, 4000])].map(|(first, times)| {
            let mut records = Vec::new();
            for (seq, at_ms) in (first..).zip(times) {
                entry::put(&mut records, &event(seq, Some("ses_1"), "x.y", 100), at_ms);
            }
            let path = directory.path().join(first.to_string());
            std::fs::write(&path, &records).unwrap();
            Segment { first, path, bytes: records.len() as u64, begun_ms: 0, edition: 0 }
        });
        let one = segments[1].bytes;
        let index = RwLock::new(Index { segments: segments.into(), first: 0, end: 4 });
        let seqs = |window_ms, most| {
            let left = left(&index, window_ms, most).unwrap();
            assert_eq!(left.until_ms, 4000);
            left.events.iter().map(|event| event.seq).collect::<Vec<_>>()
        };
        assert_eq!(seqs(10_000, u64::MAX), [0, 1, 2, 3]);
        assert_eq!(seqs(2000, u64::MAX), [1, 2, 3]);
        assert_eq!(seqs(10_000, one), [2, 3]);
        assert!(left(&RwLock::new(Index::empty()), 1000, 1000).is_none());
    }
}
