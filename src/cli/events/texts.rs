//! The texts that agents write, in lines.
//!
//! A text comes in small pieces, several texts at a time. A line of it is given when it has ended or has grown long, and
//! each letter once, however often the whole text is told again.

use std::collections::{HashMap, VecDeque};

use super::super::table::plain;

/// How long a line grows, in bytes, before it is given unfinished.
const LONG: usize = 100;

/// How many texts are remembered; one that is told again after so many others is given again.
const MOST: usize = 1000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// By part and field.
    known: HashMap<(String, String), Text>,
    order: VecDeque<(String, String)>,
}

#[derive(Debug, Default)]
struct Text {
    /// How many bytes came.
    seen: usize,
    /// Those of them that were not given yet.
    open: String,
}

impl Texts {
    /// Takes a piece in; gives the lines that are full now.
    pub(super) fn delta(&mut self, part: &str, field: &str, piece: &str) -> Vec<String> {
        let text = self.text(part, field);
        text.seen += piece.len();
        text.open.push_str(piece);
        text.full_lines()
    }

    /// Takes the whole text in, as far as it goes; gives what was not given yet.
    pub(super) fn whole(&mut self, part: &str, field: &str, whole: &str) -> Vec<String> {
        let text = self.text(part, field);
        // A text that has become another one is beyond what lines can tell.
        let rest = whole.get(text.seen..).unwrap_or_default();
        text.seen = text.seen.max(whole.len());
        text.open.push_str(rest);
        let mut lines = text.full_lines();
        let last = std::mem::take(&mut text.open);
        lines.extend(Some(plain(last.trim_end())).filter(|last| !last.is_empty()));
        lines
    }

    fn text(&mut self, part: &str, field: &str) -> &mut Text {
        let key = (part.to_owned(), field.to_owned());
        if !self.known.contains_key(&key) {
            self.order.push_back(key.clone());
            if self.order.len() > MOST
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
        self.known.entry(key).or_default()
    }
}

impl Text {
    fn full_lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(end) = self.end_of_line() {
            let line: String = self.open.drain(..end).collect();
            lines.extend(Some(plain(line.trim_end())).filter(|line| !line.is_empty()));
        }
        lines
    }

    /// Where the first line ends: at its end, or at a space once it is long.
    fn end_of_line(&self) -> Option<usize> {
        let end = self.open.find('\n').map(|end| end + 1);
        let line = &self.open[..end.unwrap_or(self.open.len())];
        if line.len() <= LONG {
            return end;
        }
        let limit = (0..=LONG).rev().find(|&at| line.is_char_boundary(at)).unwrap_or(line.len());
        let space = line[..limit].rfind(' ').map(|space| space + 1);
        Some(space.filter(|&space| !line[..space].trim().is_empty()).unwrap_or(limit))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pieces_are_joined_into_lines() {
        let mut texts = Texts::default();
        assert!(texts.delta("prt_1", "text", "Hel").is_empty());
        assert!(texts.delta("prt_2", "text", "another").is_empty());
        assert_eq!(texts.delta("prt_1", "text", "lo\nwor"), ["Hello"]);
        assert_eq!(texts.whole("prt_1", "text", "Hello\nworld"), ["world"]);
        assert!(texts.whole("prt_1", "text", "Hello\nworld").is_empty(), "told again");
        assert_eq!(texts.whole("prt_2", "text", "another one"), ["another one"]);
    }

    #[test]
    fn a_whole_text_may_be_the_beginning_of_one() {
        let mut texts = Texts::default();
        assert!(texts.whole("prt_1", "text", "").is_empty());
        assert_eq!(texts.whole("prt_1", "text", "so far"), ["so far"]);
        assert_eq!(texts.delta("prt_1", "text", " and on\n"), [" and on"]);
    }

    #[test]
    fn a_long_line_is_given_before_its_end_and_between_words() {
        let mut texts = Texts::default();
        let lines = texts.delta("prt_1", "text", &"word ".repeat(50));
        assert!(lines.len() == 2 && lines.iter().all(|line| line.len() <= LONG && line.ends_with("word")));
    }

    proptest! {
        #[test]
        fn each_letter_is_given_once_however_the_text_comes(
            text in "[a-zé \n]{0,600}", cuts in prop::collection::vec(0..600_usize, 0..20),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|&cut| text.is_char_boundary(cut)).collect();
            cuts.sort_unstable();
            let (mut texts, mut given, mut from) = (Texts::default(), Vec::new(), 0);
            for cut in cuts {
                given.extend(texts.delta("p", "text", &text[from..cut.max(from)]));
                from = cut;
            }
            given.extend(texts.whole("p", "text", &text));
            let letters = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(letters(&given.concat()), letters(&text));
            prop_assert!(given.iter().all(|line| line.len() <= LONG));
        }
    }
}
