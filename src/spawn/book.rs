//! Who is started where: the one flight of each directory, how many there are, and when to try again. Pure.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Asked, SpawnError};

/// The pause after a first failure. It doubles with each that follows.
const PAUSE: Duration = Duration::from_secs(2);

/// The longest pause: as long as somebody who has mended what was wrong waits without asking why.
const LONGEST: Duration = Duration::from_mins(1);

/// After how long without another attempt a failure is forgotten.
const FORGOTTEN: Duration = Duration::from_mins(10);

/// See the module. `L` is where the outcome of a flight is waited for.
#[derive(Debug)]
pub(super) struct Book<L> {
    limit: usize,
    flights: HashMap<PathBuf, L>,
    failures: HashMap<PathBuf, Failure>,
    /// Servers that are being ended and still take their memory.
    ending: usize,
    closed: bool,
}

#[derive(Debug)]
struct Failure {
    error: SpawnError,
    times: u32,
    until: Duration,
}

/// What becomes of a question for a server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict<L> {
    /// One is to be started.
    Begin,
    /// One is being started, or runs.
    Join(L),
    /// There are as many as may be.
    Full,
    /// It failed a moment ago.
    Failed(SpawnError),
    /// No more are started.
    Closed,
}

impl<L: Clone> Book<L> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, flights: HashMap::new(), failures: HashMap::new(), ending: 0, closed: false }
    }

    /// What to do about `directory`. Changes nothing.
    pub(super) fn ask(&self, directory: &Path, asked: Asked, now: Duration) -> Verdict<L> {
        if self.closed {
            return Verdict::Closed;
        }
        if let Some(landing) = self.flights.get(directory) {
            return Verdict::Join(landing.clone());
        }
        if asked == Asked::ByRequest
            && let Some(failure) = self.failures.get(directory)
            && now < failure.until
        {
            return Verdict::Failed(failure.told(now));
        }
        if self.running() >= self.limit { Verdict::Full } else { Verdict::Begin }
    }

    /// Enters a flight if the verdict still is that one is to begin.
    pub(super) fn begin(&mut self, directory: &Path, landing: L) -> Verdict<L> {
        let verdict = self.ask(directory, Asked::ByHand, Duration::ZERO);
        if matches!(verdict, Verdict::Begin) {
            self.flights.insert(directory.to_owned(), landing);
        }
        verdict
    }

    /// Its server answers.
    pub(super) fn answered(&mut self, directory: &Path) {
        self.failures.remove(directory);
    }

    /// It came to nothing. Gives what is to be told, with the time of the next attempt.
    pub(super) fn failed(&mut self, directory: &Path, error: SpawnError, now: Duration) -> SpawnError {
        self.flights.remove(directory);
        self.failures.retain(|_, failure| now < failure.until + FORGOTTEN);
        let times = self.failures.get(directory).map_or(0, |failure| failure.times);
        let pause = PAUSE.saturating_mul(1 << times.min(8)).min(LONGEST);
        let failure = Failure { error, times: times + 1, until: now + pause };
        let told = failure.told(now);
        self.failures.insert(directory.to_owned(), failure);
        told
    }

    /// Its server is being ended: the next question starts another.
    pub(super) fn ending(&mut self, directory: &Path) {
        if self.flights.remove(directory).is_some() {
            self.ending += 1;
        }
    }

    /// A server that was being ended has ended.
    pub(super) fn ended(&mut self) {
        self.ending = self.ending.saturating_sub(1);
    }

    /// Its server has ended by itself.
    pub(super) fn gone(&mut self, directory: &Path) {
        self.flights.remove(directory);
    }

    /// No more are started from now on.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// How many there are, those that start and those that end included.
    pub(super) fn running(&self) -> usize {
        self.flights.len() + self.ending
    }
}

impl Failure {
    fn told(&self, now: Duration) -> SpawnError {
        match self.error.clone() {
            SpawnError::Failed { directory, why, tail, .. } => {
                let again_s = self.until.saturating_sub(now).as_secs().max(1);
                SpawnError::Failed { directory, why, tail, again_s }
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn shop() -> &'static Path {
        Path::new("/work/shop")
    }

    fn failure() -> SpawnError {
        let (directory, why, tail) = ("/work/shop".to_owned(), "it ended".to_owned(), String::new());
        SpawnError::Failed { directory, why, tail, again_s: 0 }
    }

    fn ask(book: &Book<u8>, directory: &str, now: Duration) -> Verdict<u8> {
        book.ask(Path::new(directory), Asked::ByRequest, now)
    }

    #[test]
    fn all_that_ask_for_one_directory_wait_for_one_flight() {
        let mut book = Book::new(2);
        assert_eq!(ask(&book, "/work/shop", NOW), Verdict::Begin);
        assert_eq!(book.begin(shop(), 1), Verdict::Begin);
        assert_eq!(book.begin(shop(), 2), Verdict::Join(1), "who came a moment later");
        assert_eq!(ask(&book, "/work/shop", NOW), Verdict::Join(1));
        assert_eq!(ask(&book, "/work/other", NOW), Verdict::Begin);
    }

    #[test]
    fn there_are_never_more_than_the_limit_those_that_end_included() {
        let mut book = Book::new(1);
        book.begin(shop(), 1);
        assert_eq!(ask(&book, "/work/other", NOW), Verdict::Full);
        assert_eq!(book.begin(Path::new("/work/other"), 2), Verdict::Full, "who was told otherwise before");
        book.ending(shop());
        assert_eq!((ask(&book, "/work/other", NOW), book.running()), (Verdict::Full, 1));
        book.ended();
        assert_eq!(ask(&book, "/work/shop", NOW), Verdict::Begin);
    }

    #[test]
    fn after_a_failure_requests_wait_longer_each_time_and_a_person_does_not() {
        let mut book = Book::new(1);
        let mut now = NOW;
        for pause in [2, 4, 8, 16, 32, 60, 60] {
            book.begin(shop(), 1);
            let told = book.failed(shop(), failure(), now).to_string();
            assert!(told.ends_with(&format!("for {pause} s")), "{told}");
            let last = now + Duration::from_millis(pause * 1000 - 1);
            assert!(matches!(ask(&book, "/work/shop", last), Verdict::Failed(_)), "{pause}");
            assert_eq!(book.ask(shop(), Asked::ByHand, now), Verdict::Begin);
            now += Duration::from_secs(pause);
            assert_eq!(ask(&book, "/work/shop", now), Verdict::Begin);
        }
        book.begin(shop(), 1);
        book.answered(shop());
        book.gone(shop());
        assert_eq!(ask(&book, "/work/shop", NOW), Verdict::Begin);
    }

    #[test]
    fn failures_of_which_nobody_asks_any_more_are_forgotten() {
        let mut book = Book::new(1);
        book.begin(shop(), 1);
        book.failed(shop(), failure(), NOW);
        book.begin(Path::new("/work/other"), 2);
        book.failed(Path::new("/work/other"), failure(), NOW + PAUSE + FORGOTTEN);
        assert_eq!(book.failures.len(), 1);
        assert!(!book.failures.contains_key(shop()));
    }

    #[test]
    fn a_closed_book_takes_nobody() {
        let mut book = Book::new(1);
        book.close();
        assert_eq!(ask(&book, "/work/shop", NOW), Verdict::Closed);
        assert_eq!((book.begin(shop(), 1), book.running()), (Verdict::Closed, 0));
    }
}
