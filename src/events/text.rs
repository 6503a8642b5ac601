//! An event as it stands in a stream of one shape: its id, and its text as server-sent events have it.

use bytes::{BufMut, BytesMut};
use memchr::memchr2;

use crate::events::{
    cursor::{Epoch, ID_LINE},
    log::Event,
    view::Shape,
};

/// What stands around the text of an event: `data: ` and two line ends.
const AROUND: usize = 8;

/// How the events of one stream are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Script {
    pub(super) shape: Shape,
    /// Which numbers the ids belong to; `None` where events have no ids.
    pub(super) epoch: Option<Epoch>,
}

impl Script {
    /// Writes a published event.
    pub(super) fn put(&self, out: &mut BytesMut, event: &Event) {
        if let Some(epoch) = &self.epoch {
            epoch.put_id_line(out, event.seq);
        }
        match self.shape {
            Shape::Global | Shape::Api => put_data(out, &event.frame, b""),
            Shape::Directory => put_data(out, bare(event), b""),
            Shape::Own => {
                let (open, rest) = self.own(event);
                put_data(out, open, rest.as_bytes());
            }
        }
        out.put_slice(b"\n\n");
    }

    /// How much room that takes at most, in all but odd cases.
    pub(super) fn room(&self, event: &Event) -> usize {
        let id = self.epoch.map_or(0, |_| ID_LINE);
        let text = match self.shape {
            Shape::Global | Shape::Api => event.frame.len(),
            Shape::Directory => bare(event).len(),
            Shape::Own => event.frame.len() + event.server.as_ref().map_or(0, |id| id.len()) + 2 * ID_LINE,
        };
        id + AROUND + text
    }

    /// The `/global/event` form without its end, and that end with who emitted it and which id it has.
    fn own<'e>(&self, event: &'e Event) -> (&'e [u8], String) {
        let frame = event.frame.trim_ascii_end();
        let open = frame.strip_suffix(b"}").unwrap_or(frame);
        let mut rest = String::new();
        if let Some(server) = &event.server {
            // Ids of servers are of our own making: letters, digits, underscores.
            rest.push_str(r#","server":""#);
            rest.push_str(server);
            rest.push('"');
        }
        if let Some(epoch) = &self.epoch {
            rest.push_str(r#","id":""#);
            rest.push_str(epoch.as_str());
            rest.push('.');
            rest.push_str(itoa::Buffer::new().format(event.seq));
            rest.push('"');
        }
        rest.push('}');
        (open, rest)
    }

    /// Writes what belongs to one stream alone, with the id of what lies before `position`.
    pub(super) fn put_aside(&self, out: &mut BytesMut, text: &[u8], position: u64) {
        if let Some(epoch) = &self.epoch {
            epoch.put_id_line(out, position.saturating_sub(1));
        }
        put_unnumbered(out, text);
    }

    /// Writes an event of the past in the form of this stream, without an id.
    pub(super) fn put_past(&self, out: &mut BytesMut, event: &Event) {
        let unnumbered = Self { epoch: None, ..*self };
        unnumbered.put(out, event);
    }
}

/// Writes what belongs to one stream alone, without an id: a client that is cut off behind it comes back to where it was
/// before.
pub(super) fn put_unnumbered(out: &mut BytesMut, text: &[u8]) {
    put_data(out, text, b"");
    out.put_slice(b"\n\n");
}

fn bare(event: &Event) -> &[u8] {
    event.frame.get(event.payload.clone()).unwrap_or_default()
}

/// Writes the data of one event, without the empty line that ends it. `rest` has no line ends.
fn put_data(out: &mut BytesMut, text: &[u8], rest: &[u8]) {
    if memchr2(b'\n', b'\r', text).is_none() {
        out.reserve(text.len() + rest.len() + AROUND);
        out.put_slice(b"data: ");
        out.put_slice(text);
    } else {
        // Nobody writes JSON over several lines into a stream, but it would be allowed.
        for (n, line) in text.split(|byte| matches!(byte, b'\n' | b'\r')).enumerate() {
            out.put_slice(if n == 0 { b"data: " } else { b"\ndata: " });
            out.put_slice(line);
        }
    }
    out.put_slice(rest);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::events::{journal::tests::event, sse};

    fn data(text: BytesMut) -> Vec<Bytes> {
        let mut decoder = sse::Decoder::new();
        decoder.push(text.freeze());
        decoder.collect()
    }

    #[test]
    fn a_text_of_several_lines_stays_one_event() {
        let script = Script { shape: Shape::Global, epoch: Some(Epoch::draw()) };
        let mut out = BytesMut::new();
        script.put(&mut out, &Event { frame: "{\n1}".into(), ..event(1, None, "x", 0) });
        assert_eq!(data(out), ["{\n1}"]);
    }

    #[test]
    fn our_own_form_says_who_emitted_an_event_and_which_id_it_has() {
        let epoch = Epoch::draw();
        let script = Script { shape: Shape::Own, epoch: Some(epoch) };
        let event = event(7, None, "x", 3);
        for frame in [event.frame.clone(), Bytes::from_static(b"{\"payload\":{\"type\":\"x\"}\n} ")] {
            let mut out = BytesMut::new();
            let event = Event { frame, ..event.clone() };
            script.put(&mut out, &event);
            assert!(out.len() <= script.room(&event) + AROUND);
            let read: serde_json::Value = serde_json::from_slice(&data(out)[0]).unwrap();
            assert_eq!((&read["server"], &read["id"]), (&"srv_1".into(), &format!("{epoch}.7").into()));
            assert_eq!(read["payload"]["type"], "x");
        }
    }
}
