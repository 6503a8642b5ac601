use eventsource_stream::Eventsource;
use futures_util::{FutureExt, StreamExt, stream};
use proptest::prelude::*;

use super::*;

fn read_all(decoder: &mut Decoder, chunks: &[&[u8]]) -> Vec<Bytes> {
    let mut events = Vec::new();
    for chunk in chunks {
        decoder.push(Bytes::copy_from_slice(chunk));
        events.extend(&mut *decoder);
    }
    events
}

fn events(chunks: &[&[u8]]) -> Vec<String> {
    let events = read_all(&mut Decoder::new(), chunks);
    events.iter().map(|event| String::from_utf8_lossy(event).into_owned()).collect()
}

#[test]
fn an_event_within_one_chunk_is_a_slice_of_it() {
    let chunk = Bytes::from_static(b"data: {\"a\":1}\n\ndata: {\"b\":2}\n\n");
    let mut decoder = Decoder::new();
    decoder.push(chunk.clone());
    let all: Vec<_> = decoder.by_ref().collect();
    assert_eq!(all, ["{\"a\":1}", "{\"b\":2}"]);
    let within = chunk.as_ptr_range();
    assert!(all.iter().all(|event| within.contains(&event.as_ptr())));
}

#[test]
fn data_lines_are_joined_and_other_lines_passed_over() {
    let text =
        b": hello\nid: 7\nevent: x\nretry: 10\ndata: a\ndata:b\ndata\ndata:  c\ndatum: d\n\n: heartbeat\n\n";
    assert_eq!(events(&[text]), ["a\nb\n\n c"]);
}

#[test]
fn the_id_is_that_of_the_event_given_last_or_of_one_before_it() {
    let mut decoder = Decoder::new();
    decoder.push(Bytes::from_static(b"data: a\n\nid: 1\ndata: b\n\ndata: c\n\ndata: d\nid:2\n\nid: 3\n"));
    let mut ids = Vec::new();
    while decoder.next().is_some() {
        ids.push(decoder.id().map(<[u8]>::to_vec));
    }
    assert_eq!(ids, [None, Some(b"1".to_vec()), Some(b"1".to_vec()), Some(b"2".to_vec())]);
}

#[test]
fn every_way_to_end_a_line_is_understood() {
    for text in ["data: a\n\ndata: b\n\n", "data: a\r\n\r\ndata: b\r\n\r\n", "data: a\r\rdata: b\r\r"] {
        assert_eq!(events(&[text.as_bytes()]), ["a", "b"], "{text:?}");
    }
}

#[test]
fn a_byte_order_mark_is_passed_over_wherever_it_is_cut() {
    let text = b"\xef\xbb\xbfdata: a\n\n";
    for cut in 0..text.len() {
        assert_eq!(events(&[&text[..cut], &text[cut..]]), ["a"], "{cut}");
    }
}

#[test]
fn what_the_end_of_the_stream_leaves_unfinished_is_no_event() {
    assert_eq!(events(&[b"data: a\n\ndata: b\n"]), ["a"]);
}

#[test]
fn an_event_of_ten_megabytes_passes_in_small_chunks() {
    let large = [b"data: ".as_slice(), &vec![b'x'; 10_000_000], b"\n\ndata: next\n\n"].concat();
    let chunks: Vec<_> = large.chunks(4096).collect();
    let all = read_all(&mut Decoder::new(), &chunks);
    assert_eq!(all.iter().map(Bytes::len).collect::<Vec<_>>(), [10_000_000, 4]);
}

#[test]
fn an_event_above_the_limit_is_skipped_and_the_next_one_read() {
    for (lines, passes) in [
        (vec!["data: 0123456789"], true),
        (vec!["data: 0123456789x"], false),
        (vec!["data: 01234", "data: 5678"], true),
        (vec!["data: 01234", "data: 56789x"], false),
        (vec!["data: 0123456789x", "data: 5"], false),
        (vec![": a comment longer than any event may be", "data: 5"], true),
    ] {
        let text = format!("{}\n\ndata: next\n\n", lines.join("\n"));
        for size in 1..=text.len() {
            let mut decoder = Decoder::with_limit(10);
            let chunks: Vec<_> = text.as_bytes().chunks(size).collect();
            let all = read_all(&mut decoder, &chunks);
            assert_eq!(
                (all.len(), decoder.skipped()),
                if passes { (2, 0) } else { (1, 1) },
                "{lines:?} by {size}"
            );
            assert_eq!(all[all.len() - 1], "next");
            assert!(decoder.line.capacity() <= 64);
        }
    }
}

#[test]
fn a_line_without_an_end_costs_bounded_memory() {
    let mut decoder = Decoder::with_limit(1000);
    for _ in 0..10_000 {
        decoder.push(Bytes::from_static(&[b'x'; 100]));
        assert_eq!(decoder.next(), None);
        assert!(decoder.line.capacity() < 4000);
    }
    assert_eq!(read_all(&mut decoder, &[b"\n\ndata: a\n\n"]), ["a"]);
    assert_eq!(decoder.skipped(), 1);
}

/// Lines of all kinds, with every end, as a stream may hold them.
fn any_stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("data: {\"type\":\"x\"}".to_owned()),
        Just("data".to_owned()),
        Just("data:".to_owned()),
        Just(": heartbeat".to_owned()),
        Just("id: 7".to_owned()),
        Just(String::new()),
        Just("\u{feff}".to_owned()),
        "[a-zé: ]{0,12}",
    ];
    let end = prop_oneof![Just("\n"), Just("\r\n"), Just("\r"), Just("\n\n"), Just("")];
    prop::collection::vec((piece, end), 0..30)
        .prop_map(|pieces| pieces.into_iter().flat_map(|(text, end)| (text + end).into_bytes()).collect())
}

/// Events as servers write them.
fn well_formed() -> impl Strategy<Value = String> {
    let event = (
        prop::collection::vec("[a-zé{}\": ]{1,20}", 1..4),
        prop_oneof![Just("\n"), Just("\r\n")],
        prop_oneof![Just(""), Just(": comment"), Just("id: 3"), Just("event: message")],
    )
        .prop_map(|(lines, end, before)| {
            let mut text = String::new();
            if !before.is_empty() {
                text += before;
                text += end;
            }
            for line in lines {
                text += "data: ";
                text += &line;
                text += end;
            }
            text + end
        });
    prop::collection::vec(event, 0..12).prop_map(|events| events.concat())
}

fn cut<'a>(text: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
    at.extend([0, text.len()]);
    at.sort_unstable();
    at.windows(2).map(|ends| &text[ends[0]..ends[1]]).collect()
}

proptest! {
    #[test]
    fn however_a_stream_is_cut_its_events_are_the_same(
        text in any_stream(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let whole = events(&[&text]);
        prop_assert_eq!(&events(&cut(&text, &cuts)), &whole);
        prop_assert_eq!(&events(&text.chunks(1).collect::<Vec<_>>()), &whole);
    }

    #[test]
    fn well_formed_streams_are_read_as_by_eventsource_stream(
        text in well_formed(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let chunks = cut(text.as_bytes(), &cuts);
        let theirs: Vec<String> = stream::iter(chunks.iter().map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())))
            .eventsource()
            .map(|event| event.unwrap().data)
            .collect()
            .now_or_never()
            .unwrap();
        prop_assert_eq!(events(&chunks), theirs);
    }
}
