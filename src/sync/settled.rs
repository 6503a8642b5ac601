//! Lists that need not be read: byte for byte the one that told nothing when it was read last.
//!
//! A list is *settled* if nobody was missed when it was read, and each of its rows, looked up once more, was known as it
//! is. To read the same bytes again would change nothing, as long as no row of the store has been told, forgotten or
//! moved since. Then [`Settled::tells_nothing`], and the round counts as gone through.
//!
//! What makes that true, and must stay so:
//!
//! * Only a list that is one page, from its beginning to its end, is known by its bytes: what a page in the middle
//!   shows depends on where the one before ended. Whether more follows is told beside the bytes, so it is asked anew.
//! * Each row was current, known, announced and unchanged. While one is not, such as one that waits for a stream's word,
//!   that a grave holds back, or that cannot be read, all are read again.
//! * The page showed *every* session that any list of the store has shown. Rounds alone do not say so: what a look for
//!   changes has shown counts as listed in the round, and is missed in the next only, of which the bytes are the same.
//! * The store's [`Standing`] is that of before the rows were looked up. Whatever changes a row, from wherever, changes
//!   it. Claims do not: a list says nothing of them. Nor does a title that is given up: a row that is still listed does
//!   not bring it back.
//! * Nothing depends on who is asked: servers of one store list the same, and where they do not, the bytes differ.
//! * A new task for the store begins with nothing settled, and its first list is always taken in.
//!
//! Of the bytes only a hash is kept, seeded at random: one in 2⁶⁴ changes would go unnoticed, until the next.

use std::{collections::HashSet, hash::BuildHasher};

use foldhash::quality::RandomState;

use super::walk::Walk;
use crate::{
    opencode::{client::Unread, wire::Page},
    registry::sessions::Standing,
};

/// What tells one whole list from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Print {
    hash: u64,
    bytes: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Settled {
    hasher: RandomState,
    last: Option<(Print, Standing)>,
}

impl Settled {
    /// The print of a page that `walk` asked for; `None` if that is not the whole list.
    pub(super) fn print(&self, walk: &Walk, page: &Unread) -> Option<Print> {
        let is_whole = walk.is_at_its_beginning() && !page.more();
        is_whole.then(|| Print { hash: self.hasher.hash_one(page.body()), bytes: page.body().len() })
    }

    /// Whether to read this list would change nothing, as the store stands now.
    pub(super) fn tells_nothing(&self, print: Option<Print>, now: Standing) -> bool {
        print.is_some_and(|print| self.last == Some((print, now)))
    }

    /// A list is read: what came before does not count.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    /// A list was read, and while the store stood so, each of its rows was known.
    pub(super) fn settle(&mut self, print: Option<Print>, standing: Standing) {
        self.last = print.map(|print| (print, standing));
    }
}

/// Whether a page shows every session that any list of the store has shown, and each can be read.
pub(super) fn shows_all(page: &Page, standing: Standing) -> bool {
    let shown = || page.rows.iter().map(|row| &row.id).collect::<HashSet<_>>().len();
    page.malformed == 0 && page.rows.len() >= standing.listed() && shown() == standing.listed()
}
