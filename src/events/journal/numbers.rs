//! Which numbers a run may use, decided on disk before the first is used.
//!
//! Each run reserves a block that no run can use up and writes so before it numbers anything. An orderly end gives back
//! what was not used; after any other the next run begins behind the block. So no number is used twice, and what was
//! told but not kept shows as a gap below a run's first number.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

use super::private;
use crate::events::cursor::{Cursor, Epoch, Reset};

/// The numbers of one run: at 100,000 events a second, four months' worth.
const BLOCK: u64 = 1 << 40;

/// The first number of an epoch. Nought is the cursor of who has seen nothing.
pub(super) const FIRST: u64 = 1;

/// How many gaps are remembered. A gap further back is too old long before.
const GAPS: usize = 64;

/// As written.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    epoch: String,
    /// Where the run that wrote this began.
    base: u64,
    /// What it has not reached: the next run begins here.
    reserved: u64,
    /// Whether it ended in order, and so kept all that it told.
    clean: bool,
    /// Numbers told and not kept: above the first of each pair, below the second.
    gaps: Vec<(u64, u64)>,
}

/// The numbers of this run.
#[derive(Debug)]
pub(super) struct Numbers {
    pub(super) epoch: Epoch,
    /// The first number of this run.
    pub(super) base: u64,
    /// Whether an earlier run's numbers go on, and whether it ended in order.
    pub(super) before: Option<bool>,
    gaps: Vec<(u64, u64)>,
}

impl Numbers {
    /// Those of a run that nothing came before and nothing will come after.
    pub(super) fn fresh() -> Self {
        Self { epoch: Epoch::draw(), base: FIRST, before: None, gaps: Vec::new() }
    }

    /// Reads what the run before has left in `file`; `None` if that says nothing.
    pub(super) fn read(file: &Path, last_kept: Option<u64>) -> io::Result<Option<Self>> {
        let text = match fs::read(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Ok(written) = serde_json::from_slice::<Written>(&text) else { return Ok(None) };
        let Some(epoch) = Epoch::parse(&written.epoch) else { return Ok(None) };
        // Once in sixteen million unclean ends the numbers have run out.
        if written.reserved > u64::MAX - 2 * BLOCK {
            return Ok(None);
        }
        let mut gaps = written.gaps;
        if !written.clean {
            let kept = last_kept.unwrap_or_default().max(written.base.saturating_sub(1));
            gaps.push((kept, written.reserved));
            let forgotten = gaps.len().saturating_sub(GAPS);
            gaps.drain(..forgotten);
        }
        Ok(Some(Self { epoch, base: written.reserved, before: Some(written.clean), gaps }))
    }

    /// Reserves this run's block. Nothing may be numbered before.
    pub(super) fn reserve(&self, file: &Path) -> io::Result<()> {
        self.write(file, self.base + BLOCK, false)
    }

    /// Gives back what lies behind `end`: everything below it was kept.
    pub(super) fn give_back(&self, file: &Path, end: u64) -> io::Result<()> {
        self.write(file, end, true)
    }

    fn write(&self, file: &Path, reserved: u64, clean: bool) -> io::Result<()> {
        let written = Written {
            epoch: self.epoch.to_string(),
            base: self.base,
            reserved,
            clean,
            gaps: self.gaps.clone(),
        };
        private::replace(file, &serde_json::to_vec(&written)?)
    }

    /// Where a client with this cursor goes on, if what is kept begins at `first` and the next event is `end`.
    pub(super) fn judge(&self, text: &str, first: u64, end: u64) -> Result<u64, Reset> {
        let cursor = Cursor::parse(text).ok_or(Reset::Malformed)?;
        if cursor.epoch != self.epoch {
            return Err(Reset::Epoch);
        }
        if cursor.seq >= end {
            return Err(Reset::Malformed);
        }
        if self.gaps.iter().any(|(kept, next)| (kept + 1..*next).contains(&cursor.seq)) {
            return Err(Reset::Crash);
        }
        let next = cursor.seq + 1;
        if next < first { Err(Reset::TooOld) } else { Ok(next) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(numbers: &Numbers, seq: u64) -> String {
        Cursor { epoch: numbers.epoch, seq }.to_string()
    }

    #[test]
    fn an_orderly_end_gives_back_what_was_not_used_and_any_other_does_not() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("numbers");
        let first = Numbers::fresh();
        first.reserve(&file).unwrap();
        first.give_back(&file, 10).unwrap();
        let second = Numbers::read(&file, Some(9)).unwrap().unwrap();
        assert_eq!((second.epoch, second.base, second.before), (first.epoch, 10, Some(true)));
        second.reserve(&file).unwrap();
        let third = Numbers::read(&file, Some(12)).unwrap().unwrap();
        assert_eq!((third.base, third.before), (10 + BLOCK, Some(false)));
        for (seq, judged) in [
            (0, Err(Reset::TooOld)),
            (4, Ok(5)),
            (9, Ok(10)),
            (12, Ok(13)),
            (13, Err(Reset::Crash)),
            (9 + BLOCK, Err(Reset::Crash)),
            (10 + BLOCK, Ok(11 + BLOCK)),
            (20 + BLOCK, Err(Reset::Malformed)),
        ] {
            assert_eq!(third.judge(&at(&third, seq), 5, 20 + BLOCK), judged, "{seq}");
        }
        assert_eq!(third.judge(&at(&Numbers::fresh(), 12), 5, 20), Err(Reset::Epoch));
        assert_eq!(third.judge("nonsense", 5, 20), Err(Reset::Malformed));
    }

    #[test]
    fn what_cannot_be_read_begins_a_new_epoch() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("numbers");
        assert!(Numbers::read(&file, None).unwrap().is_none());
        fs::write(&file, "{").unwrap();
        assert!(Numbers::read(&file, None).unwrap().is_none());
        let worn_out = Numbers { base: u64::MAX - 2 * BLOCK, ..Numbers::fresh() };
        worn_out.reserve(&file).unwrap();
        assert!(Numbers::read(&file, None).unwrap().is_none(), "no numbers are left");
    }
}
