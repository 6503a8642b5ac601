//! Who is registered, and until when: a book with a time in each line.
//!
//! Pure: time is an argument, taken from one clock that goes on while the machine sleeps. The book is looked through
//! every second; where it was not for much longer, the machine slept or we were stopped, and nobody could have sent a
//! heartbeat: then every lease gets one fresh period.

use std::{collections::HashMap, sync::Arc, time::Duration};

use thiserror::Error;

/// How long after the look before a look may come and still be in time.
const IN_TIME: Duration = Duration::from_secs(5);

/// There are as many as there may be.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{0} instances are registered, which is as many as there may be")]
pub struct Full(pub usize);

/// The book. `T` is what is held for each.
#[derive(Debug)]
pub struct Leases<T> {
    period: Duration,
    most: usize,
    held: HashMap<Arc<str>, Held<T>>,
    looked: Option<Duration>,
}

#[derive(Debug)]
struct Held<T> {
    until: Duration,
    what: T,
}

impl<T> Leases<T> {
    /// An empty book of at most `most` leases, each of which lives for `period` after its last renewal.
    pub fn new(period: Duration, most: usize) -> Self {
        Self { period, most, held: HashMap::new(), looked: None }
    }

    /// Whether one more would be too many.
    pub fn room(&self) -> Result<(), Full> {
        if self.held.len() < self.most { Ok(()) } else { Err(Full(self.most)) }
    }

    /// Writes a lease down; returns what was held under that id before.
    pub fn grant(&mut self, id: Arc<str>, what: T, now: Duration) -> Result<Option<T>, Full> {
        if !self.held.contains_key(&id) {
            self.room()?;
        }
        let held = Held { until: now + self.period, what };
        Ok(self.held.insert(id, held).map(|before| before.what))
    }

    /// Renews a lease and gives what it is for; `None` if there is none.
    pub fn renew(&mut self, id: &str, now: Duration) -> Option<&mut T> {
        let held = self.held.get_mut(id)?;
        held.until = now + self.period;
        Some(&mut held.what)
    }

    /// Ends a lease.
    pub fn end(&mut self, id: &str) -> Option<T> {
        self.held.remove(id).map(|held| held.what)
    }

    /// Every lease, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &T)> {
        self.held.iter().map(|(id, held)| (id, &held.what))
    }

    /// The leases that have ended by now, taken out.
    pub fn lapsed(&mut self, now: Duration) -> Vec<(Arc<str>, T)> {
        let slept = self.looked.is_some_and(|looked| now.saturating_sub(looked) > IN_TIME);
        self.looked = Some(now);
        if slept {
            for held in self.held.values_mut() {
                held.until = now + self.period;
            }
        }
        let lapsed = self.held.extract_if(|_, held| held.until <= now);
        lapsed.map(|(id, held)| (id, held.what)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn book() -> Leases<&'static str> {
        Leases::new(15 * SECOND, 3)
    }

    /// Looks every second from `from` to `to`; gives what has lapsed.
    fn look(book: &mut Leases<&'static str>, from: u32, to: u32) -> Vec<&'static str> {
        (from..=to).flat_map(|second| book.lapsed(second * SECOND)).map(|(_, what)| what).collect()
    }

    #[test]
    fn a_lease_lives_as_long_as_it_is_renewed_and_one_period_more() {
        let mut book = book();
        book.grant("a".into(), "a", SECOND).unwrap();
        assert!(look(&mut book, 1, 10).is_empty());
        assert!(book.renew("a", 10 * SECOND).is_some());
        assert!(look(&mut book, 11, 24).is_empty());
        assert_eq!(look(&mut book, 25, 25), ["a"]);
        assert!(book.renew("a", 25 * SECOND).is_none());
        assert!(look(&mut book, 26, 99).is_empty());
    }

    #[test]
    fn after_a_sleep_every_lease_has_one_fresh_period_and_no_more() {
        let mut book = book();
        book.grant("a".into(), "a", Duration::ZERO).unwrap();
        assert!(look(&mut book, 1, 14).is_empty());
        // The machine sleeps for an hour.
        assert!(look(&mut book, 3614, 3628).is_empty());
        assert_eq!(look(&mut book, 3629, 3629), ["a"]);
    }

    #[test]
    fn looks_that_are_a_little_late_lengthen_nothing() {
        let mut book = book();
        book.grant("a".into(), "a", Duration::ZERO).unwrap();
        for second in [4, 9, 14] {
            assert!(book.lapsed(second * SECOND).is_empty());
        }
        assert_eq!(book.lapsed(18 * SECOND).len(), 1);
    }

    #[test]
    fn the_book_has_an_end_and_what_is_in_it_stays() {
        let mut book = book();
        for id in ["a", "b", "c"] {
            book.grant(id.into(), id, SECOND).unwrap();
        }
        assert_eq!(book.grant("d".into(), "d", SECOND), Err(Full(3)));
        assert_eq!(book.grant("a".into(), "again", SECOND), Ok(Some("a")));
        assert_eq!(book.end("b"), Some("b"));
        book.grant("d".into(), "d", SECOND).unwrap();
        assert_eq!(book.iter().count(), 3);
    }
}
