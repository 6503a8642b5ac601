//! One event as it lies in a file: its length, its checksum, what was read in it, its text.
//!
//! ```text
//! length u32 │ checksum u32 │ seq u64 │ at u64 │ attention u8 │ form u8 │ payload u32 u32 │ server, directory,
//! session, kind: u16 and text each │ the frame
//! ```
//! A file that was torn ends before the first record whose length or checksum is wrong.

use std::{
    borrow::Cow,
    io::{self, Read, Write},
    str,
};

use bytes::{Buf, BufMut, Bytes};
use flate2::Crc;

use crate::{
    domain::ids::SessionId,
    events::{log::Event, sse::MAX_EVENT, view::Attention},
};

/// Length and checksum.
pub(super) const PREFIX: usize = 8;

/// No record is larger: the largest event and what was read in it. A length above it is no length.
const MOST: usize = MAX_EVENT + (1 << 20);

/// In the byte for the form: no `/event` stream holds it.
const GLOBAL_ONLY: u8 = 1;

/// An event and when it was kept.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) event: Event,
    /// In milliseconds since 1970.
    pub(super) at_ms: u64,
}

/// What a file holds at a place.
pub(super) enum Found {
    Record(Bytes),
    /// Nothing more that was written whole.
    End,
}

/// Appends the record of `event` to `out`.
pub(super) fn put(out: &mut Vec<u8>, event: &Event, at_ms: u64) {
    let start = out.len();
    out.put_bytes(0, PREFIX);
    out.put_u64(event.seq);
    out.put_u64(at_ms);
    out.put_u8(match event.attention {
        Attention::Everyone => 0,
        Attention::Directory => 1,
        Attention::Screen => 2,
    });
    out.put_u8(if event.global_only { GLOBAL_ONLY } else { 0 });
    out.put_u32(u32::try_from(event.payload.start).unwrap_or(u32::MAX));
    out.put_u32(u32::try_from(event.payload.end).unwrap_or(u32::MAX));
    let session = event.session.as_ref().map(SessionId::as_str);
    for text in [event.server.as_deref(), event.directory.as_deref(), session, Some(&*event.kind)] {
        put_text(out, text.unwrap_or_default());
    }
    out.put_slice(&event.frame);
    let prefix = prefix(&out[start + PREFIX..]);
    out[start..start + PREFIX].copy_from_slice(&prefix);
}

/// Writes a record that was read, and tells how many bytes that takes.
pub(super) fn put_again(out: &mut impl Write, record: &[u8]) -> io::Result<u64> {
    out.write_all(&prefix(record))?;
    out.write_all(record)?;
    Ok((PREFIX + record.len()) as u64)
}

fn prefix(body: &[u8]) -> [u8; PREFIX] {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut prefix = [0; PREFIX];
    prefix[..4].copy_from_slice(&length.to_be_bytes());
    prefix[4..].copy_from_slice(&checksum(body).to_be_bytes());
    prefix
}

/// Texts are names; one too long to be written is none.
fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or_default();
    out.put_u16(length);
    out.put_slice(&text.as_bytes()[..usize::from(length)]);
}

/// The next record of a file.
pub(super) fn next(file: &mut impl Read) -> io::Result<Found> {
    let mut prefix = [0; PREFIX];
    if !fill(file, &mut prefix)? {
        return Ok(Found::End);
    }
    let mut prefix = &prefix[..];
    let (length, sum) = (prefix.get_u32() as usize, prefix.get_u32());
    if length > MOST {
        return Ok(Found::End);
    }
    let mut body = vec![0; length];
    if !fill(file, &mut body)? || checksum(&body) != sum {
        return Ok(Found::End);
    }
    Ok(Found::Record(body.into()))
}

/// Whether as much was there.
fn fill(file: &mut impl Read, into: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(into) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The number of a record.
pub(super) fn seq(mut record: &[u8]) -> Option<u64> {
    record.try_get_u64().ok()
}

/// What a record says. `None` if another version wrote it.
pub(super) fn read(mut record: Bytes) -> Option<Entry> {
    let seq = record.try_get_u64().ok()?;
    let at_ms = record.try_get_u64().ok()?;
    let attention = match record.try_get_u8().ok()? {
        0 => Attention::Everyone,
        1 => Attention::Directory,
        2 => Attention::Screen,
        _ => return None,
    };
    let global_only = record.try_get_u8().ok()? & GLOBAL_ONLY != 0;
    let start = record.try_get_u32().ok()? as usize;
    let end = record.try_get_u32().ok()? as usize;
    let (server, directory) = (text(&mut record)?, text(&mut record)?);
    let (session, kind) = (text(&mut record)?, text(&mut record)?);
    let named = |text: Bytes| str::from_utf8(&text).ok().filter(|text| !text.is_empty()).map(Into::into);
    let event = Event {
        seq,
        server: named(server),
        directory: named(directory),
        attention,
        session: str::from_utf8(&session).ok().and_then(|text| SessionId::try_new(text).ok()),
        kind: Cow::Owned(str::from_utf8(&kind).ok()?.to_owned()),
        payload: start..end,
        global_only,
        frame: record,
    };
    event.frame.get(start..end)?;
    Some(Entry { event, at_ms })
}

fn text(record: &mut Bytes) -> Option<Bytes> {
    let length = usize::from(record.try_get_u16().ok()?);
    (record.len() >= length).then(|| record.split_to(length))
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::events::journal::tests::event;

    proptest! {
        #[test]
        fn an_event_is_read_as_it_was_kept(seq: u64, at_ms: u64, size in 0_usize..5000, whole: bool) {
            let mut event = event(seq, whole.then_some("ses_1"), "x.y", size);
            if !whole {
                event = Event { server: None, directory: None, global_only: false, ..event };
                event.attention = Attention::Everyone;
            }
            let mut file = Vec::new();
            put(&mut file, &event, at_ms);
            let Found::Record(record) = next(&mut &file[..]).unwrap() else { panic!("torn") };
            let entry = read(record).unwrap();
            prop_assert_eq!(format!("{:?}", entry.event), format!("{event:?}"));
            prop_assert_eq!(entry.at_ms, at_ms);
        }

        #[test]
        fn a_torn_or_changed_record_is_the_end(cut in 0_usize..200, flip in 0_usize..200) {
            let mut file = Vec::new();
            put(&mut file, &event(1, None, "x", 80), 2);
            let cut = cut.min(file.len() - 1);
            prop_assert!(matches!(next(&mut &file[..cut]).unwrap(), Found::End));
            let flip = flip.min(file.len() - 1);
            file[flip] ^= 0x40;
            prop_assert!(matches!(next(&mut &file[..]).unwrap(), Found::End));
        }

        #[test]
        fn nonsense_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(bytes.into());
        }
    }
}
