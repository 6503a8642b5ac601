use proptest::prelude::*;

use super::*;

const STORE: StoreKey = StoreKey(1);
const A: ServerKey = ServerKey(1);
const B: ServerKey = ServerKey(2);

fn session() -> SessionId {
    SessionId::try_new("ses_1").unwrap()
}

/// Each event is told as it comes, with its number right behind it.
fn hear(sequences: &mut Sequences, seq: u64, server: ServerKey, now_ms: u64) -> Heard {
    let told_at = sequences.heard + 1;
    hear_of(sequences, seq, server, told_at, now_ms)
}

fn hear_of(sequences: &mut Sequences, seq: u64, server: ServerKey, told_at: u64, now_ms: u64) -> Heard {
    sequences.heard(STORE, &session(), Carried { seq, server, told_at }, now_ms)
}

fn hole(numbers: u64, since_ms: u64, cause: Cause) -> Hole {
    Hole { store: STORE, session: session(), numbers, since_ms, cause }
}

fn hears(_: StoreKey) -> bool {
    false
}

#[test]
fn a_number_that_nobody_carries_is_waited_for_and_told_once() {
    let mut sequences = Sequences::default();
    hear(&mut sequences, 4, A, 1000);
    hear(&mut sequences, 7, B, 1100);
    assert_eq!(sequences.next_ms(), Some(1600));
    assert_eq!(sequences.missing(1599, hears), []);
    assert_eq!(sequences.missing(1600, hears), [hole(2, 1000, Cause::Unseen)]);
    assert_eq!((sequences.missing(5000, hears), sequences.next_ms()), (vec![], None));
    assert_eq!(hear(&mut sequences, 8, A, 5000), Heard::InStep);
    assert_eq!(sequences.missing(9000, hears), []);
}

#[test]
fn a_number_that_comes_late_from_another_stream_closes_the_hole_and_was_overtaken() {
    let mut sequences = Sequences::default();
    hear(&mut sequences, 4, A, 1000);
    assert_eq!(hear(&mut sequences, 6, B, 1100), Heard::InStep);
    assert_eq!(hear(&mut sequences, 5, A, 1500), Heard::Overtaken);
    assert_eq!((sequences.missing(9000, hears), sequences.next_ms()), (vec![], None));
    // One stream tells the same again after a hole: nothing of another was overtaken.
    assert_eq!(hear(&mut sequences, 7, A, 1600), Heard::InStep);
    assert_eq!(hear(&mut sequences, 6, A, 1600), Heard::InStep);
}

#[test]
fn what_counts_is_the_order_of_the_events_and_not_that_of_their_numbers() {
    let mut sequences = Sequences::default();
    hear(&mut sequences, 4, A, 1000);
    // Told first, numbered last.
    assert_eq!(hear_of(&mut sequences, 5, A, 21, 1000), Heard::InStep);
    assert_eq!(hear_of(&mut sequences, 6, B, 20, 1000), Heard::Overtaken);
    // Told last, numbered first.
    assert_eq!(hear_of(&mut sequences, 8, A, 31, 1000), Heard::InStep);
    assert_eq!(hear_of(&mut sequences, 7, B, 30, 1000), Heard::InStep);
}

#[test]
fn a_hole_beside_a_stream_that_was_cut_or_is_was_missed() {
    for (disturbed_ms, is_deaf, cause) in [
        (None, false, Cause::Unseen),
        (Some(900), false, Cause::Unseen),
        (Some(1000), false, Cause::Missed),
        (Some(1050), false, Cause::Missed),
        (None, true, Cause::Missed),
    ] {
        let mut sequences = Sequences::default();
        hear(&mut sequences, 4, A, 1000);
        hear(&mut sequences, 6, B, 1100);
        if let Some(at_ms) = disturbed_ms {
            sequences.disturbed(STORE, at_ms);
        }
        sequences.disturbed(StoreKey(2), 1050);
        assert_eq!(
            sequences.missing(1600, |_| is_deaf),
            [hole(1, 1000, cause)],
            "{disturbed_ms:?} {is_deaf}"
        );
    }
}

#[test]
fn the_sessions_heard_of_longest_ago_are_forgotten_first() {
    let mut sequences = Sequences::default();
    let id = |number: usize| SessionId::try_new(&format!("ses_{number}")).unwrap();
    let carried = |seq| Carried { seq, server: A, told_at: seq };
    for number in 0..MOST {
        sequences.heard(STORE, &id(number), carried(0), 1000);
    }
    sequences.heard(STORE, &id(1), carried(2), 1000);
    sequences.heard(STORE, &id(0), carried(1), 1000);
    for number in MOST..MOST + 2 {
        sequences.heard(STORE, &id(number), carried(0), 1000);
    }
    assert_eq!((sequences.tracks.len(), sequences.order.len()), (MOST, MOST));
    assert!(
        sequences.tracks.contains_key(&(STORE, id(0))) && !sequences.tracks.contains_key(&(STORE, id(2)))
    );
    assert_eq!(sequences.missing(9000, hears).len(), 1, "of the one that was heard again");
}

proptest! {
    /// Each number is carried by one of two streams, each in order and late by less than the patience, or by none.
    #[test]
    fn exactly_what_nobody_carries_is_missing(
        carried in prop::collection::vec((0u8..5, 0u64..400), 2..60),
        lulls in prop::collection::vec(0u64..300, 60),
    ) {
        let (mut clock, mut last) = (0, [0; 2]);
        let (mut arrivals, mut dropped) = (Vec::new(), Vec::new());
        for (seq, ((choice, late), lull)) in (0u64..).zip(carried.iter().zip(&lulls)) {
            clock += lull;
            match choice {
                0 => dropped.push(seq),
                choice => {
                    let stream = usize::from(choice % 2);
                    last[stream] = (clock + late).max(last[stream]);
                    arrivals.push((last[stream], seq, [A, B][stream]));
                }
            }
        }
        arrivals.sort_by_key(|(at_ms, seq, _)| (*at_ms, *seq));
        let mut sequences = Sequences::default();
        let mut numbers = 0;
        let Some((_, first, _)) = arrivals.first().copied() else { return Ok(()) };
        for (at_ms, seq, server) in &arrivals {
            numbers += sequences.missing(at_ms.saturating_sub(1), hears).iter().map(|hole| hole.numbers).sum::<u64>();
            hear(&mut sequences, *seq, *server, *at_ms);
        }
        numbers += sequences.missing(u64::MAX, hears).iter().map(|hole| hole.numbers).sum::<u64>();
        let highest = arrivals.iter().map(|(_, seq, _)| *seq).max().unwrap_or_default();
        let expected = dropped.iter().filter(|seq| (first..highest).contains(*seq)).count() as u64;
        prop_assert_eq!(numbers, expected);
    }
}
