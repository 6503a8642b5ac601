//! A server's answer, taken apart without being taken over: elements stay where they are, as bytes of the body.

use std::{borrow::Cow, fmt, marker::PhantomData, ops::Range, str};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use thiserror::Error;

use super::{
    ask::Answer,
    weave::{Row, RowId},
};
use crate::{domain::ids::SessionId, opencode::lists::List};

/// What a server answered is not the list it was asked for.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the answer is no such list")]
pub(super) struct Malformed;

/// A server's part of a list.
#[derive(Debug)]
pub(super) struct Part {
    /// The whole answer's body.
    pub(super) body: Bytes,
    /// The answer's headers.
    pub(super) headers: HeaderMap,
    /// What is in it.
    pub(super) content: Content,
}

/// What a part holds.
#[derive(Debug)]
pub(super) enum Content {
    /// Elements, and around them what the second interface puts there.
    Rows {
        /// The elements, their `source` not yet set.
        rows: Vec<Row>,
        /// The `location` beside them.
        location: Option<Range<usize>>,
        /// The `cursor` beside them.
        cursor: Option<PageCursors>,
    },
    /// What each session is doing.
    Statuses(Vec<Status>),
}

/// The cursors of a page of `/api/session`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct PageCursors {
    pub(super) previous: Option<String>,
    pub(super) next: Option<String>,
}

/// What one session is doing, by one server.
#[derive(Debug)]
pub(super) struct Status {
    pub(super) session: SessionId,
    /// Greater is busier.
    pub(super) busy: u8,
    pub(super) span: Range<usize>,
}

/// Whether an answer claims to be a list at all. Any unknown path answers 200 with a page for people.
pub(super) fn is_json(answer: &Answer) -> bool {
    let kind = answer.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    answer.status == StatusCode::OK && kind.is_some_and(|kind| kind.starts_with("application/json"))
}

/// The part of `list` in `answer`.
pub(super) fn read(list: List, answer: Answer) -> Result<Part, Malformed> {
    if !is_json(&answer) {
        return Err(Malformed);
    }
    let text = str::from_utf8(&answer.body).map_err(|_| Malformed)?;
    let content = match list {
        List::SessionStatus => Content::Statuses(statuses(text, text)?),
        List::ActiveSessions => Content::Statuses(statuses(text, json::<Envelope<'_>>(text)?.data.get())?),
        List::Sessions
        | List::ExperimentalSessions
        | List::Projects
        | List::Permissions
        | List::Questions
        | List::Terminals => Content::Rows { rows: rows(list, text, text)?, location: None, cursor: None },
        List::ApiSessions | List::ApiPermissions | List::ApiQuestions | List::ApiTerminals => {
            let envelope: Envelope<'_> = json(text)?;
            if (list == List::ApiSessions) != envelope.cursor.is_some() {
                return Err(Malformed);
            }
            let location = envelope.location.map(|location| span(text, location.get()));
            Content::Rows { rows: rows(list, text, envelope.data.get())?, location, cursor: envelope.cursor }
        }
    };
    Ok(Part { body: answer.body, headers: answer.headers, content })
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow)]
    location: Option<&'a RawValue>,
    cursor: Option<PageCursors>,
}

#[derive(Deserialize)]
struct Element<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    time: Option<Times>,
}

#[derive(Deserialize)]
struct Times {
    #[serde(default)]
    created: f64,
    #[serde(default)]
    updated: f64,
}

/// The elements of the array `array`, which lies in `body`.
fn rows(list: List, body: &str, array: &str) -> Result<Vec<Row>, Malformed> {
    let start = span(body, array).start;
    let mut rows = Vec::new();
    let mut at = opening(array, b'[')?;
    loop {
        at = skip_space(array, at);
        match (array.as_bytes().get(at), rows.is_empty()) {
            (Some(b']'), _) => break,
            (Some(b','), false) => at = skip_space(array, at + 1),
            (Some(b'{'), true) => {}
            _ => return Err(Malformed),
        }
        let mut elements = serde_json::Deserializer::from_str(&array[at..]).into_iter::<Element<'_>>();
        let element = elements.next().ok_or(Malformed)?.map_err(|_| Malformed)?;
        let end = at + elements.byte_offset();
        rows.push(row(list, &element, start + at..start + end).ok_or(Malformed)?);
        at = end;
    }
    if skip_space(array, at + 1) == array.len() { Ok(rows) } else { Err(Malformed) }
}

fn row(list: List, element: &Element<'_>, span: Range<usize>) -> Option<Row> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a time in milliseconds; what is none may come out as any"
    )]
    let times = element.time.as_ref().map(|time| (time.created as i64, time.updated as i64));
    let (time, updated) = match list {
        List::Sessions | List::ExperimentalSessions | List::ApiSessions => {
            SessionId::try_new(&element.id).ok()?;
            let (created, updated) = times?;
            (if list == List::ApiSessions { created } else { updated }, updated)
        }
        List::Projects => times?,
        _ => (0, 0),
    };
    Some(Row { id: RowId::from_slice(element.id.as_bytes()), time, updated, source: 0, span })
}

/// The entries of the object `object`, which lies in `body`.
fn statuses(body: &str, object: &str) -> Result<Vec<Status>, Malformed> {
    #[derive(Deserialize)]
    struct Doing<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
    }
    let entries: Entries<'_> = json(object)?;
    entries
        .0
        .into_iter()
        .map(|(session, raw)| {
            let busy = match &*json::<Doing<'_>>(raw.get())?.kind {
                "idle" => 0,
                "retry" => 1,
                _ => 2,
            };
            let session = SessionId::try_new(&session).map_err(|_| Malformed)?;
            Ok(Status { session, busy, span: span(body, raw.get()) })
        })
        .collect()
}

struct Entries<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder<'a>(PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for InOrder<'a> {
            type Value = Entries<'a>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object by session")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Entries<'a>, M::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(InOrder(PhantomData))
    }
}

fn json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Malformed> {
    serde_json::from_str(text).map_err(|_| Malformed)
}

/// Where `inner`, a piece of `outer`, lies in it.
fn span(outer: &str, inner: &str) -> Range<usize> {
    let start = inner.as_ptr() as usize - outer.as_ptr() as usize;
    start..start + inner.len()
}

fn opening(text: &str, bracket: u8) -> Result<usize, Malformed> {
    let at = skip_space(text, 0);
    if text.as_bytes().get(at) == Some(&bracket) { Ok(at + 1) } else { Err(Malformed) }
}

fn skip_space(text: &str, from: usize) -> usize {
    let rest = text.as_bytes().get(from..).unwrap_or_default();
    from + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count()
}

/// What a listed session tells beside id and times, read only where somebody wants it.
#[derive(Debug, Deserialize)]
pub(super) struct SessionDetails<'a> {
    #[serde(borrow, default)]
    pub(super) title: Cow<'a, str>,
    #[serde(borrow, default)]
    directory: Cow<'a, str>,
    #[serde(borrow, rename = "projectID", default)]
    pub(super) project: Cow<'a, str>,
    #[serde(rename = "parentID")]
    pub(super) parent: Option<SessionId>,
    location: Option<Location>,
    time: Times,
}

#[derive(Debug, Deserialize)]
struct Location {
    directory: Option<String>,
}

impl SessionDetails<'_> {
    /// The details in `element`.
    pub(super) fn read(element: &str) -> Option<SessionDetails<'_>> {
        serde_json::from_str(element).ok()
    }

    /// The directory, which the two interfaces keep in two places.
    pub(super) fn directory(&self) -> &str {
        let located = self.location.as_ref().and_then(|location| location.directory.as_deref());
        located.unwrap_or(&self.directory)
    }

    /// When it was made and when it last changed, in milliseconds since 1970.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what is no time becomes 0")]
    pub(super) fn times(&self) -> (u64, u64) {
        (self.time.created as u64, self.time.updated as u64)
    }
}

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.created, self.updated)
    }
}

/// The session that a listed permission or question was raised for.
pub(super) fn raised_for(element: &str) -> Option<SessionId> {
    #[derive(Deserialize)]
    struct Raised {
        #[serde(rename = "sessionID")]
        session: Option<SessionId>,
    }
    serde_json::from_str::<Raised>(element).ok()?.session
}
