//! One connection to `/events`.

use std::collections::VecDeque;

use serde_json::Value;

use super::super::client::{CliError, Client};
use crate::events::sse::Decoder;

/// An event as it came.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// Its text, one line of JSON.
    pub(super) text: String,
    /// The same, read.
    pub(super) data: Value,
    /// Where to come back to, once it is told.
    pub(super) id: Option<String>,
}

impl Event {
    fn read(text: &[u8], id: Option<String>) -> Option<Self> {
        let data: Value = serde_json::from_slice(text).ok()?;
        let text = String::from_utf8_lossy(text);
        // JSON may stand on several lines, and means the same on one.
        let text = if text.contains(['\n', '\r']) { data.to_string() } else { text.into_owned() };
        Some(Self { text, data, id })
    }

    /// Its type.
    pub(super) fn kind(&self) -> &str {
        self.data["payload"]["type"].as_str().unwrap_or_default()
    }

    /// What it says.
    pub(super) fn properties(&self) -> &Value {
        &self.data["payload"]["properties"]
    }
}

/// See the module.
pub(super) struct Stream {
    answer: reqwest::Response,
    decoder: Decoder,
    read: VecDeque<Event>,
}

impl Stream {
    /// Opens it, behind `cursor` if there is one.
    pub(super) async fn open(
        client: &Client,
        query: &[(&str, String)],
        cursor: Option<&str>,
    ) -> Result<Self, CliError> {
        let answer = client.stream(&["events"], query, cursor).await?;
        Ok(Self { answer, decoder: Decoder::new(), read: VecDeque::new() })
    }

    /// The next event; `None` when the stream has ended, however that came.
    pub(super) async fn next(&mut self) -> Option<Event> {
        self.fill().await?;
        self.read.pop_front()
    }

    /// In words, whether all that was missed follows.
    pub(super) async fn resumption(&mut self) -> String {
        let first = if self.fill().await.is_some() { self.read.front() } else { None };
        let told = first.map_or(&Value::Null, Event::properties);
        match (told["resume"].as_str(), told["reason"].as_str()) {
            (Some("repairing"), _) => "all that was missed follows, then what happened meanwhile".to_owned(),
            (Some("ok"), _) => "all that was missed follows".to_owned(),
            (_, Some(reason)) => {
                format!("what was missed cannot be told ({reason}), what changed lately follows")
            }
            _ => "what changed lately follows".to_owned(),
        }
    }

    /// Reads on until there is an event.
    async fn fill(&mut self) -> Option<()> {
        while self.read.is_empty() {
            let chunk = self.answer.chunk().await.ok()??;
            self.decoder.push(chunk);
            while let Some(text) = self.decoder.next() {
                let id = self.decoder.id().map(|id| String::from_utf8_lossy(id).into_owned());
                self.read.extend(Event::read(&text, id));
            }
        }
        Some(())
    }
}
