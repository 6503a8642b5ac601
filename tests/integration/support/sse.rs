//! A test client of an event stream: keeps what came, and waits for what should come.

use std::time::{Duration, Instant};

use eventsource_stream::{Event, Eventsource};
use futures_util::{Stream, StreamExt, stream::BoxStream};
use serde_json::Value;

use super::{
    described,
    eventually::{PATIENCE, patiently},
};

/// One open event stream.
pub struct EventStream {
    url: String,
    headers: reqwest::header::HeaderMap,
    events: BoxStream<'static, Result<Event, String>>,
    /// Whether it is of the form of `/events`.
    own: bool,
    seen: Vec<Received>,
}

/// One event as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// The SSE `id`, empty when the frame had none.
    pub id: String,
    /// The SSE `event` name, `message` when the frame had none.
    pub name: String,
    /// The `data`, as JSON; text that is not JSON is kept as a string.
    pub data: Value,
    pub at: Instant,
}

impl Received {
    /// The `OpenCode` event inside: `payload` on a global stream, else the data itself.
    pub fn event(&self) -> &Value {
        self.data.get("payload").unwrap_or(&self.data)
    }

    /// The type of the event, such as `session.status`; empty when it has none.
    pub fn kind(&self) -> &str {
        self.event()["type"].as_str().unwrap_or_default()
    }

    /// What the event holds: `properties`, or `data` in the second interface.
    pub fn properties(&self) -> &Value {
        let event = self.event();
        event.get("data").unwrap_or(&event["properties"])
    }

    /// The directory a global event names.
    pub fn directory(&self) -> &str {
        self.data["directory"].as_str().unwrap_or_default()
    }

    /// The session the event is about, from wherever this type of event keeps it.
    pub fn session(&self) -> &str {
        let properties = self.properties();
        let places = ["/sessionID", "/info/sessionID", "/part/sessionID", "/info/id"];
        places.iter().find_map(|place| properties.pointer(place)?.as_str()).unwrap_or_default()
    }
}

impl EventStream {
    /// Opens `url` and fails the test unless an event stream answers.
    pub async fn open(url: impl AsRef<str>) -> Self {
        Self::open_with(reqwest::Client::new().get(url.as_ref())).await
    }

    /// The same for a request with headers of its own.
    pub async fn open_with(request: reqwest::RequestBuilder) -> Self {
        let request = request.header("accept", "text/event-stream");
        let response =
            patiently("the head of an event stream", request.send()).await.expect("a stream opens");
        let url = response.url().to_string();
        let own = response.url().path().ends_with("/events");
        let headers = response.headers().clone();
        let status = response.status();
        let kind = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert!(
            status.is_success() && kind.starts_with("text/event-stream"),
            "{url} answered {status} {kind}"
        );
        let events = response.bytes_stream().eventsource();
        let events = events.map(|event| event.map_err(|error| error.to_string())).boxed();
        Self { url, headers, events, own, seen: Vec::new() }
    }

    pub fn headers(&self) -> &reqwest::header::HeaderMap {
        &self.headers
    }

    /// Every event taken off the stream so far.
    pub fn seen(&self) -> &[Received] {
        &self.seen
    }

    /// The next event; fails the test when the stream ends first.
    pub async fn next(&mut self) -> Received {
        let Ok(taken) = tokio::time::timeout(PATIENCE, self.take()).await else {
            panic!("{} sent nothing for {PATIENCE:?}; {}", self.url, self.story());
        };
        taken.unwrap_or_else(|| panic!("{} ended; {}", self.url, self.story()))
    }

    /// Reads on until an event satisfies `wanted`, and gives it. Heartbeats do not extend the patience.
    pub async fn expect(&mut self, wanted: impl Fn(&Received) -> bool) -> Received {
        self.until(wanted, |_| false).await
    }

    /// Whether such an event comes within `time`.
    pub async fn hears_within(&mut self, time: Duration, wanted: impl Fn(&Received) -> bool) -> bool {
        let heard = async {
            while let Some(event) = self.take().await {
                if wanted(&event) {
                    return true;
                }
            }
            false
        };
        tokio::time::timeout(time, heard).await.unwrap_or(false)
    }

    /// Reads on until an event of this type.
    pub async fn expect_kind(&mut self, kind: &str) -> Received {
        self.expect(|event| event.kind() == kind).await
    }

    /// Reads on until `marker`, and fails when an event that satisfies `forbidden` comes before it.
    ///
    /// This is how a test shows that something was *not* sent without waiting for silence: it lets the server send
    /// something else afterwards, and waits for that.
    pub async fn until(
        &mut self,
        marker: impl Fn(&Received) -> bool,
        forbidden: impl Fn(&Received) -> bool,
    ) -> Received {
        let began = Instant::now();
        loop {
            let left = PATIENCE.checked_sub(began.elapsed()).unwrap_or(Duration::ZERO);
            let Ok(taken) = tokio::time::timeout(left, self.take()).await else {
                panic!("no such event on {} within {PATIENCE:?}; {}", self.url, self.story());
            };
            let Some(event) = taken else {
                panic!("{} ended before the awaited event; {}", self.url, self.story());
            };
            assert!(!forbidden(&event), "{} sent {event:?}; {}", self.url, self.story());
            if marker(&event) {
                return event;
            }
        }
    }

    /// Reads to the end of the stream, and tells whether it was cut rather than finished.
    pub async fn ended(&mut self) -> End {
        let what = format!("the end of {}", self.url);
        patiently(&what, async {
            loop {
                match self.events.next().await {
                    Some(Ok(event)) => self.keep(event),
                    Some(Err(_)) => return End::Cut,
                    None => return End::Finished,
                }
            }
        })
        .await
    }

    async fn take(&mut self) -> Option<Received> {
        match self.events.next().await? {
            Ok(event) => {
                self.keep(event);
                self.seen.last().cloned()
            }
            Err(_) => None,
        }
    }

    fn keep(&mut self, event: Event) {
        let data = serde_json::from_str(&event.data).unwrap_or(Value::String(event.data));
        let event = Received { id: event.id, name: event.event, data, at: Instant::now() };
        if event.kind().starts_with("pointsman.") {
            described::assert_own(event.event());
        }
        if self.own {
            described::assert_frame(&event.data);
        }
        self.seen.push(event);
    }

    fn story(&self) -> String {
        let kinds: Vec<_> =
            self.seen.iter().map(|event| format!("{} {}", event.kind(), event.session())).collect();
        format!("{} events came: {kinds:?}", kinds.len())
    }
}

/// How a stream came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Finished,
    Cut,
}

/// Splits a byte stream into its frames without reading them, for tests that compare bytes.
pub async fn frames(stream: impl Stream<Item = reqwest::Result<bytes::Bytes>>, count: usize) -> Vec<String> {
    let mut text = String::new();
    let mut stream = std::pin::pin!(stream);
    patiently("that many frames", async {
        while text.matches("\n\n").count() < count {
            let Some(Ok(bytes)) = stream.next().await else { break };
            text.push_str(&String::from_utf8_lossy(&bytes));
        }
    })
    .await;
    text.split_inclusive("\n\n").map(str::to_owned).collect()
}
