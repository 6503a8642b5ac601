//! Events as lines for people.

use std::io;

use anstream::{AutoStream, ColorChoice};
use bytes::Bytes;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::{
    gist::{gist, tone},
    line::Line,
    names::Names,
    stream::Event,
    texts::Texts,
};
use crate::{
    cli::{
        client::Client,
        moment::{clock, now_ms},
        table::plain,
    },
    opencode::event::Decoder,
};

/// How many sessions are known by their titles from the start; the others when they change.
const TITLES: &str = "1000";

/// How many lines of a text are printed that comes as a whole: what was written before we came.
const MOST_LINES: usize = 10;

/// See the module.
pub(super) struct Tail {
    colours: bool,
    zone: TimeZone,
    names: Names,
    texts: Texts,
    decoder: Decoder,
    /// What was said last of a part that is not text: tools tell of each piece of their output.
    said: Option<(String, String)>,
}

impl Tail {
    /// One for standard output; with colours if that is a terminal, `NO_COLOR` is not set and they are `wanted`.
    pub(super) fn new(wanted: bool) -> Self {
        let colours = wanted && AutoStream::choice(&io::stdout()) != ColorChoice::Never;
        Self {
            colours,
            zone: TimeZone::system(),
            names: Names::default(),
            texts: Texts::default(),
            decoder: Decoder::new(),
            said: None,
        }
    }

    /// Asks for the titles of sessions. Without them there are ids.
    pub(super) async fn learn(&mut self, client: &Client) {
        if let Ok(answer) = client.get(&["sessions"], &[("limit", TITLES)]).await {
            answer["sessions"].as_array().into_iter().flatten().for_each(|row| self.names.session_is(row));
        }
    }

    /// The lines that an event makes.
    pub(super) async fn told(&mut self, event: &Event, client: &Client) -> Vec<String> {
        if let Some(server) = event.data["server"].as_str()
            && !self.names.knows_server(server)
            && let Ok(answer) = client.get(&["servers"], &[("sessions", "false")]).await
        {
            answer.as_array().into_iter().flatten().for_each(|row| self.names.server_is(row));
        }
        self.lines(event, now_ms())
    }

    fn lines(&mut self, event: &Event, now_ms: u64) -> Vec<String> {
        let (kind, properties) = (event.kind(), event.properties());
        if kind == "server.heartbeat" {
            return Vec::new();
        }
        self.note(kind, properties);
        let decoded = self.decoder.decode(Bytes::copy_from_slice(event.text.as_bytes())).ok();
        let session = decoded.as_ref().and_then(|decoded| decoded.session.as_ref());
        let at =
            decoded.as_ref().and_then(|decoded| decoded.stamp).map_or(now_ms, |stamp| stamp.at_ms(now_ms));
        let tone = tone(kind);
        let gists = self.gists(kind, properties);
        let (kind, server) = (plain(kind), event.data["server"].as_str());
        let time = clock(at, now_ms, &self.zone);
        let server = server.map_or_else(|| "-".to_owned(), |server| self.names.server(server));
        let session = session.map_or_else(|| "-".to_owned(), |session| self.names.session(session.as_str()));
        let line = Line { time: &time, server: &server, session: &session, kind: &kind, gist: "", tone };
        gists.iter().map(|gist| Line { gist, ..line }.text(self.colours)).collect()
    }

    /// Keeps the names that an event tells.
    fn note(&mut self, kind: &str, properties: &Value) {
        match kind {
            "pointsman.hello" => {
                let servers = properties["servers"].as_array();
                servers.into_iter().flatten().for_each(|server| self.names.server_is(server));
            }
            "session.created" | "session.updated" | "session.deleted" => {
                self.names.session_is(&properties["info"]);
            }
            own if own.starts_with("pointsman.server.") => self.names.server_is(properties),
            _ => {}
        }
    }

    fn gists(&mut self, kind: &str, properties: &Value) -> Vec<String> {
        let text = |pointer: &str| properties.pointer(pointer).and_then(Value::as_str);
        if kind == "message.part.delta" {
            let part = text("/partID").unwrap_or_default();
            let field = text("/field").unwrap_or("text");
            return self.texts.delta(part, field, text("/delta").unwrap_or_default());
        }
        if kind == "message.part.updated" {
            let part = text("/part/id").unwrap_or_default();
            if let (Some("text" | "reasoning"), Some(whole)) = (text("/part/type"), text("/part/text")) {
                return shortened(self.texts.whole(part, "text", whole));
            }
            let said = gist(kind, properties, |id| self.names.server(id));
            let said = (part.to_owned(), said);
            if self.said.as_ref() == Some(&said) {
                return Vec::new();
            }
            return vec![self.said.insert(said).1.clone()];
        }
        vec![gist(kind, properties, |id| self.names.server(id))]
    }
}

fn shortened(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(MOST_LINES);
    if more > 0 {
        lines.truncate(MOST_LINES);
        lines.push(format!("… {more} more lines"));
    }
    lines
}

#[cfg(test)]
mod tests;
