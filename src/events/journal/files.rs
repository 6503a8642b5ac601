//! The writing side of the files: appends, begins new ones, drops the oldest, takes deleted sessions out.
//!
//! Written bytes are handed to the operating system, not forced to the disk: a killed daemon loses nothing that was
//! appended, a lost machine at most the end. Everything here blocks on the file system and is called from one place.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::RwLock;

use super::{
    entry::{self, Found, PREFIX},
    erased::Erased,
    index::{Index, Segment},
    private,
};
use crate::events::log::Event;

const SUFFIX: &str = "events";

/// Into how many files the bound is cut: dropping the oldest costs a reader at most that part of what is kept.
const PARTS: u64 = 16;

/// How much is kept. Both hold at every moment; up to a sixteenth less is kept than they allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of files.
    pub bytes: u64,
    /// How far back.
    pub age: Duration,
}

impl Bounds {
    pub(super) fn age_ms(self) -> u64 {
        u64::try_from(self.age.as_millis()).unwrap_or(u64::MAX)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    bounds: Bounds,
    index: Arc<RwLock<Index>>,
    /// The last segment, while it grows.
    growing: Option<File>,
    /// Segments to be freed of deleted sessions, by their first number.
    to_clean: VecDeque<u64>,
}

impl Files {
    /// Opens what earlier runs left in `directory`. A torn end is cut off. Also tells the last number kept.
    pub(super) fn open(directory: &Path, bounds: Bounds) -> io::Result<(Self, Option<u64>)> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "new") {
                // Was being written when we died.
                private::remove(&path)?;
            }
            if path.extension().is_some_and(|extension| extension == SUFFIX)
                && let Some(first) = path.file_stem().and_then(|name| name.to_str()?.parse().ok())
            {
                segments.push(Segment { first, bytes: 0, begun_ms: begun(&path)?, edition: 0, path });
            }
        }
        segments.sort_unstable_by_key(|segment: &Segment| segment.first);
        let mut last = None;
        for segment in segments.iter_mut().rev() {
            // The last one that holds anything is read to its end; those before it were ended in order.
            segment.bytes = match last {
                Some(_) => fs::metadata(&segment.path)?.len(),
                None => whole(&segment.path, &mut last)?,
            };
        }
        let first = segments.first().map_or(u64::MAX, |segment| segment.first);
        let index = Index { segments, first, end: last.map_or(0, |last| last + 1) };
        let files = Self {
            directory: directory.to_owned(),
            bounds,
            index: Arc::new(RwLock::new(index)),
            growing: None,
            to_clean: VecDeque::new(),
        };
        Ok((files, last))
    }

    /// Removes every file that a journal may have left in `directory`, and the directory if nothing else is there.
    pub(super) fn remove_all(directory: &Path) -> io::Result<()> {
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) fn index(&self) -> Arc<RwLock<Index>> {
        Arc::clone(&self.index)
    }

    /// The numbers go on at `base`: up to there is kept what is kept.
    pub(super) fn begin(&mut self, base: u64) {
        let mut index = self.index.write();
        index.end = base;
        index.first = index.first.min(base);
    }

    /// Drops everything: what comes next does not follow on what is kept.
    pub(super) fn begin_again(&mut self, base: u64) -> io::Result<()> {
        self.growing = None;
        let mut index = self.index.write();
        index.first = base;
        index.end = base;
        index.segments.drain(..).try_for_each(|segment| private::remove(&segment.path))
    }

    /// Keeps `events`, which end before `end`.
    pub(super) fn append(
        &mut self,
        events: &[Arc<Event>],
        erased: &Erased,
        end: u64,
        now_ms: u64,
    ) -> io::Result<()> {
        let mut records = Vec::new();
        for event in events.iter().filter(|event| !erased.hides(event)) {
            entry::put(&mut records, event, now_ms);
        }
        if !records.is_empty() {
            let from = events.first().map_or(end, |event| event.seq);
            self.grow(from, &records, now_ms)?;
        }
        self.index.write().end = end;
        self.trim(now_ms)
    }

    fn grow(&mut self, from: u64, records: &[u8], now_ms: u64) -> io::Result<()> {
        let growing = match &mut self.growing {
            Some(file) => file,
            none => {
                let path = self.directory.join(format!("{from:020}.{SUFFIX}"));
                // One that was begun and never filled has this name.
                private::remove(&path)?;
                let file = none.insert(private::create(&path)?);
                let segment = Segment { first: from, path, bytes: 0, begun_ms: now_ms, edition: 0 };
                let mut index = self.index.write();
                index.segments.retain(|segment| segment.first != from);
                index.segments.push(segment);
                file
            }
        };
        growing.write_all(records)?;
        let full = {
            let mut index = self.index.write();
            let Some(segment) = index.segments.last_mut() else { return Ok(()) };
            segment.bytes += records.len() as u64;
            let old = now_ms.saturating_sub(segment.begun_ms) >= self.bounds.age_ms() / PARTS;
            segment.bytes >= self.bounds.bytes / PARTS || old
        };
        if full { self.end_segment() } else { Ok(()) }
    }

    fn end_segment(&mut self) -> io::Result<()> {
        self.growing.take().map_or(Ok(()), |file| file.sync_data())
    }

    /// Drops what is beyond the bounds.
    pub(super) fn trim(&mut self, now_ms: u64) -> io::Result<()> {
        let mut index = self.index.write();
        let mut bytes = index.bytes();
        while let Some(oldest) = index.segments.first() {
            let old = now_ms.saturating_sub(oldest.begun_ms) > self.bounds.age_ms();
            if bytes <= self.bounds.bytes && !old {
                break;
            }
            private::remove(&oldest.path)?;
            bytes -= oldest.bytes;
            index.segments.remove(0);
            index.first = index.segments.first().map_or(index.end, |segment| segment.first);
            if index.segments.is_empty() {
                self.growing = None;
            }
        }
        Ok(())
    }

    /// From now on there is something to be taken out of every file.
    pub(super) fn clean_all(&mut self) -> io::Result<()> {
        self.end_segment()?;
        self.to_clean = self.index.read().segments.iter().map(|segment| segment.first).collect();
        Ok(())
    }

    /// Takes deleted sessions out of one file that may hold something of them.
    pub(super) fn clean_one(&mut self, erased: &Erased) -> io::Result<()> {
        let Some(first) = self.to_clean.pop_front() else { return Ok(()) };
        let found = self.index.read().segments.iter().find(|segment| segment.first == first).cloned();
        found.map_or(Ok(()), |segment| self.clean(&segment, erased))
    }

    /// Whether nothing is left to be taken out of any file.
    pub(super) fn is_clean(&self) -> bool {
        self.to_clean.is_empty()
    }

    /// Nothing is read from the files any more, and nothing written.
    pub(super) fn give_up(mut self) {
        self.growing = None;
        *self.index.write() = Index::empty();
    }

    fn clean(&self, segment: &Segment, erased: &Erased) -> io::Result<()> {
        let mut file = BufReader::new(File::open(&segment.path)?);
        let new = segment.path.with_extension("new");
        private::remove(&new)?;
        let mut kept = BufWriter::new(private::create(&new)?);
        let (mut bytes, mut hidden) = (0, 0);
        while let Found::Record(record) = entry::next(&mut file)? {
            if entry::read(record.clone()).is_some_and(|entry| erased.hides(&entry.event)) {
                hidden += 1;
                continue;
            }
            bytes += entry::put_again(&mut kept, &record)?;
        }
        if hidden == 0 {
            return private::remove(&new);
        }
        kept.into_inner()?.sync_all()?;
        let mut index = self.index.write();
        fs::rename(&new, &segment.path)?;
        if let Some(segment) = index.segments.iter_mut().find(|known| known.first == segment.first) {
            segment.bytes = bytes;
            segment.edition += 1;
        }
        tracing::debug!(events = hidden, "a deleted session was erased");
        Ok(())
    }
}

/// When the first event of a file was kept; the file's own time if it holds none.
fn begun(path: &Path) -> io::Result<u64> {
    if let Found::Record(record) = entry::next(&mut BufReader::new(File::open(path)?))?
        && let Some(entry) = entry::read(record)
    {
        return Ok(entry.at_ms);
    }
    let since = fs::metadata(path)?.modified().unwrap_or_else(|_| SystemTime::now());
    let since = since.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Reads a file to its last whole record, cuts off the rest, and tells how long it is then.
fn whole(path: &Path, last: &mut Option<u64>) -> io::Result<u64> {
    let mut file = BufReader::new(File::open(path)?);
    let mut bytes = 0;
    while let Found::Record(record) = entry::next(&mut file)? {
        *last = entry::seq(&record).or(*last);
        bytes += (PREFIX + record.len()) as u64;
    }
    File::options().write(true).open(path)?.set_len(bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::events::journal::{index, tests::event};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn what_is_kept_stays_within_its_bounds_and_says_where_it_begins(
            steps in prop::collection::vec((0_usize..3000, 0_u64..4000), 1..80),
        ) {
            let home = tempfile::tempdir().unwrap();
            let bounds = Bounds { bytes: 32 << 10, age: Duration::from_secs(30) };
            let (mut files, _) = Files::open(home.path(), bounds).unwrap();
            files.begin(1);
            let (index, erased) = (files.index(), Erased::default());
            let mut times = Vec::new();
            let mut now = 1_000_000;
            for (n, (size, passes)) in steps.into_iter().enumerate() {
                let seq = n as u64 + 1;
                now += passes;
                times.push(now);
                files.append(&[Arc::new(event(seq, None, "x", size))], &erased, seq + 1, now).unwrap();
                let on_disk: u64 = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
                prop_assert_eq!(index.read().bytes(), on_disk);
                prop_assert!(on_disk <= bounds.bytes);
                let first = index.read().first;
                let oldest = times.get(usize::try_from(first).unwrap() - 1);
                prop_assert!(oldest.is_none_or(|oldest| now - oldest <= 30_000));
                // Whatever it says to have, it has.
                let (mut at, mut place, mut kept) = (first, None, Vec::new());
                while at <= seq {
                    let page = index::page(&index, at, place, 2000).unwrap();
                    kept.extend(page.events.iter().map(|event| event.seq));
                    (at, place) = (page.to, page.place);
                }
                prop_assert_eq!(kept, (first..=seq).collect::<Vec<_>>());
                prop_assert!(first == 0 || index::page(&index, first - 1, None, 1).is_err());
            }
        }
    }
}
