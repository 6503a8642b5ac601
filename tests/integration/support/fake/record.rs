//! Every request a fake server got, in order, and how each ended.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use bytes::Bytes;
use http::{HeaderMap, request::Parts};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use tokio::sync::watch;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub number: usize,
    pub method: String,
    pub path: String,
    /// The query as it was written, without the `?`.
    pub query: String,
    pub headers: HeaderMap,
    /// Empty until the whole body has come.
    pub body: Bytes,
    /// Which TCP connection of this server it came on.
    pub connection: usize,
    pub at: Instant,
    pub outcome: Outcome,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Open,
    Answered,
    /// The client left, or the fake closed the connection, before the answer was complete.
    Abandoned,
}

impl Recorded {
    /// `POST /session/ses_1/message`
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Whether it is this method and path; a pattern ending in `*` matches by its beginning.
    pub fn is(&self, pattern: &str) -> bool {
        match pattern.strip_suffix('*') {
            Some(beginning) => self.line().starts_with(beginning),
            None => self.line() == pattern,
        }
    }

    pub fn target(&self) -> String {
        if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query) }
    }

    /// Decoded parameters of the query, the last of each name.
    pub fn parameters(&self) -> BTreeMap<String, String> {
        parameters(&self.query)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The directory the client named, by query, location or header.
    pub fn directory(&self) -> Option<String> {
        let mut parameters = self.parameters();
        parameters.remove("directory").or_else(|| parameters.remove("location[directory]")).or_else(|| {
            let named = self.header("x-opencode-directory")?;
            Some(percent_decode_str(named).decode_utf8_lossy().into_owned())
        })
    }
}

pub(super) fn parameters(query: &str) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// The log of one server.
pub(super) struct Record {
    requests: Mutex<Vec<Recorded>>,
    changed: watch::Sender<usize>,
}

impl Record {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { requests: Mutex::default(), changed: watch::Sender::new(0) })
    }

    pub(super) fn begin(self: &Arc<Self>, head: &Parts, connection: usize) -> Entry {
        let mut requests = self.requests.lock();
        let number = requests.len();
        requests.push(Recorded {
            number,
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers.clone(),
            body: Bytes::new(),
            connection,
            at: Instant::now(),
            outcome: Outcome::Open,
        });
        drop(requests);
        self.tell();
        Entry { record: self.clone(), number }
    }

    pub(super) fn all(&self) -> Vec<Recorded> {
        self.requests.lock().clone()
    }

    pub(super) fn changes(&self) -> watch::Receiver<usize> {
        self.changed.subscribe()
    }

    fn change(&self, number: usize, change: impl FnOnce(&mut Recorded)) {
        if let Some(request) = self.requests.lock().get_mut(number) {
            change(request);
        }
        self.tell();
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

/// The pen for one request. Dropped before [`Entry::answered`], the request was abandoned.
pub(super) struct Entry {
    record: Arc<Record>,
    number: usize,
}

impl Entry {
    pub(super) fn body(&self, body: Bytes) {
        self.record.change(self.number, |request| request.body = body);
    }

    pub(super) fn answered(&self) {
        self.record.change(self.number, |request| request.outcome = Outcome::Answered);
    }

    pub(super) fn recorded(&self) -> Recorded {
        self.record.requests.lock()[self.number].clone()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.record.change(self.number, |request| {
            if request.outcome == Outcome::Open {
                request.outcome = Outcome::Abandoned;
            }
        });
    }
}
