//! What servers answer on the control path, as they write it, and what of it we keep.
//!
//! Reading is lenient where a server may be newer than we are (unknown fields, unknown kinds) and strict where a
//! wrong value would do harm (ids, directories, times). In a list a row that cannot be read is skipped and counted,
//! so that one bad session hides no other.

use std::{collections::HashMap, sync::Arc};

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::value::RawValue;

use crate::domain::{ids::SessionId, session::SessionRow};

/// The longest directory, project or version believed, in bytes: the longest path Linux knows.
const LONGEST_NAME: usize = 4096;

/// The longest title kept, in bytes. Titles are for people; a million of them must stay affordable.
const LONGEST_TITLE: usize = 512;

/// What `/global/health` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The server's version.
    pub version: Arc<str>,
}

#[derive(Deserialize)]
pub(super) struct HealthBody {
    healthy: bool,
    version: Name,
}

impl HealthBody {
    pub(super) fn read(self) -> Option<Health> {
        (self.healthy && !self.version.0.is_empty()).then_some(Health { version: self.version.0 })
    }
}

/// What `/path` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The home directory of the server's user.
    pub home: Arc<str>,
    /// Where the server keeps its state.
    pub state: Arc<str>,
    /// The root of the working tree.
    pub worktree: Arc<str>,
    /// The directory asked for, else the server's own.
    pub directory: Arc<str>,
}

#[derive(Deserialize)]
pub(super) struct PathsBody {
    home: Name,
    state: Name,
    worktree: Name,
    directory: Name,
}

impl From<PathsBody> for Paths {
    fn from(body: PathsBody) -> Self {
        Self {
            home: body.home.0,
            state: body.state.0,
            worktree: body.worktree.0,
            directory: body.directory.0,
        }
    }
}

/// What `/project/current` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// The project's id.
    pub id: Arc<str>,
    /// The root of its working tree.
    pub worktree: Arc<str>,
}

#[derive(Deserialize)]
pub(super) struct ProjectBody {
    id: Name,
    worktree: Name,
}

impl From<ProjectBody> for Project {
    fn from(body: ProjectBody) -> Self {
        Self { id: body.id.0, worktree: body.worktree.0 }
    }
}

/// What a session is doing, as far as one instance of a server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activity {
    /// Nothing.
    Idle,
    /// A turn runs.
    Busy,
    /// A turn waits before it asks the model again.
    Retry,
}

#[derive(Deserialize)]
struct StatusBody {
    r#type: Activity,
}

/// A permission or a question that waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its id.
    pub id: Arc<str>,
    /// The session that waits.
    pub session: SessionId,
}

#[derive(Deserialize)]
struct PendingBody {
    id: Name,
    #[serde(rename = "sessionID")]
    session: SessionId,
}

impl From<PendingBody> for Pending {
    fn from(body: PendingBody) -> Self {
        Self { id: body.id.0, session: body.session }
    }
}

/// A terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Its id.
    pub id: Arc<str>,
}

#[derive(Deserialize)]
struct TerminalBody {
    id: Name,
}

/// One page of a session list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The rows that could be read, in the server's order.
    pub rows: Vec<SessionRow>,
    /// How many rows could not be read.
    pub malformed: usize,
    /// Whether the server says that more follow.
    pub more: bool,
}

/// A row of `/session` and `/experimental/session`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: SessionId,
    directory: Name,
    #[serde(default)]
    title: Title,
    #[serde(default, rename = "projectID")]
    project: Name,
    #[serde(default, rename = "parentID")]
    parent: Option<SessionId>,
    time: Times,
}

/// A row of `/api/session`.
#[derive(Deserialize)]
struct ApiRow {
    id: SessionId,
    location: Location,
    #[serde(default)]
    title: Title,
    #[serde(default, rename = "projectID")]
    project: Name,
    #[serde(default, rename = "parentID")]
    parent: Option<SessionId>,
    time: Times,
}

#[derive(Deserialize)]
struct Location {
    directory: Name,
}

#[derive(Deserialize)]
struct Times {
    #[serde(deserialize_with = "millis")]
    created: u64,
    #[serde(deserialize_with = "millis")]
    updated: u64,
}

#[derive(Deserialize)]
struct ApiPage<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
}

impl From<Row> for SessionRow {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            directory: row.directory.0,
            title: row.title.0,
            project: row.project.0,
            parent: row.parent,
            created_ms: row.time.created,
            updated_ms: row.time.updated,
        }
    }
}

impl From<ApiRow> for SessionRow {
    fn from(row: ApiRow) -> Self {
        Self {
            id: row.id,
            directory: row.location.directory.0,
            title: row.title.0,
            project: row.project.0,
            parent: row.parent,
            created_ms: row.time.created,
            updated_ms: row.time.updated,
        }
    }
}

/// Reads a page of `/experimental/session` or `/session`. `None` if the body is no list at all.
pub(super) fn page(body: &[u8], more: bool) -> Option<Page> {
    let rows: Vec<&RawValue> = serde_json::from_slice(body).ok()?;
    let (rows, malformed) = lenient::<Row, _>(&rows);
    Some(Page { rows, malformed, more })
}

/// Reads a page of `/api/session`. `None` if the body is none.
pub(super) fn api_page(body: &[u8]) -> Option<Page> {
    let page: ApiPage<'_> = serde_json::from_slice(body).ok()?;
    let (rows, malformed) = lenient::<ApiRow, _>(&page.data);
    Some(Page { rows, malformed, more: false })
}

/// Reads `/session/status`. Kinds of status that we do not know say nothing.
pub(super) fn status(body: &[u8]) -> Option<HashMap<SessionId, Activity>> {
    let entries: HashMap<String, &RawValue> = serde_json::from_slice(body).ok()?;
    let known = entries.iter().filter_map(|(id, value)| {
        let status: StatusBody = serde_json::from_str(value.get()).ok()?;
        Some((SessionId::try_new(id).ok()?, status.r#type))
    });
    Some(known.collect())
}

/// Reads `/permission` and `/question`.
pub(super) fn pending(body: &[u8]) -> Option<Vec<Pending>> {
    let rows: Vec<&RawValue> = serde_json::from_slice(body).ok()?;
    Some(lenient::<PendingBody, _>(&rows).0)
}

/// Reads `/pty`.
pub(super) fn terminals(body: &[u8]) -> Option<Vec<Terminal>> {
    let rows: Vec<&RawValue> = serde_json::from_slice(body).ok()?;
    Some(lenient::<TerminalBody, _>(&rows).0)
}

impl From<TerminalBody> for Terminal {
    fn from(body: TerminalBody) -> Self {
        Self { id: body.id.0 }
    }
}

/// Reads what is passed on as it is.
pub(super) fn whole<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}

/// The rows that can be read, and how many cannot.
fn lenient<'a, W: Deserialize<'a>, T: From<W>>(rows: &[&'a RawValue]) -> (Vec<T>, usize) {
    let read: Vec<T> =
        rows.iter().filter_map(|row| serde_json::from_str::<W>(row.get()).ok().map(T::from)).collect();
    let malformed = rows.len() - read.len();
    (read, malformed)
}

/// A text of bearable length.
#[derive(Default)]
struct Name(Arc<str>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: Arc<str> = Arc::deserialize(deserializer)?;
        if text.len() > LONGEST_NAME {
            return Err(D::Error::custom("longer than any path"));
        }
        Ok(Self(text))
    }
}

/// A text cut to a bearable length.
#[derive(Default)]
struct Title(Arc<str>);

impl<'de> Deserialize<'de> for Title {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Ok(Self(text[..text.floor_char_boundary(LONGEST_TITLE)].into()))
    }
}

/// Milliseconds since 1970. Servers write whole numbers; their language only knows floating ones.
fn millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    /// The greatest whole number that such a server can mean: beyond it neighbours are equal.
    const GREATEST: f64 = 9_007_199_254_740_991.0;
    let number = f64::deserialize(deserializer)?;
    if !(0.0..=GREATEST).contains(&number) {
        return Err(D::Error::custom("not a time"));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within range by the check")]
    Ok(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_cannot_be_read_is_counted_and_hides_no_other() {
        let good = r#"{"id":"ses_1","directory":"/a","title":"t","projectID":"p","time":{"created":1,"updated":2.0},"new":{}}"#;
        for bad in [
            "null",
            "7",
            "[]",
            r#"{"id":"msg_1","directory":"/a","time":{"created":1,"updated":2}}"#,
            r#"{"id":"ses_2","time":{"created":1,"updated":2}}"#,
            r#"{"id":"ses_2","directory":"/a","time":{"created":1,"updated":-2}}"#,
            r#"{"id":"ses_2","directory":"/a","time":{"created":1,"updated":1e300}}"#,
            r#"{"id":"ses_2","directory":"/a","time":{"created":1,"updated":"soon"}}"#,
            r#"{"id":"ses_2/../x","directory":"/a","time":{"created":1,"updated":2}}"#,
        ] {
            let page = page(format!("[{bad},{good}]").as_bytes(), true).unwrap();
            assert_eq!((page.rows.len(), page.malformed, page.more), (1, 1, true), "{bad}");
            assert_eq!(page.rows[0].updated_ms, 2);
        }
    }

    #[test]
    fn what_is_no_list_is_no_page() {
        for body in ["", "<html>", "{}", r#"{"data":7}"#, "[1,"] {
            assert_eq!(page(body.as_bytes(), false), None, "{body}");
            assert_eq!(api_page(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn long_titles_are_cut_between_characters_and_long_directories_are_no_directories() {
        let row = |title: &str, directory: &str| {
            let body = serde_json::json!([{"id": "ses_1", "directory": directory, "title": title,
                "time": {"created": 1, "updated": 1}}]);
            page(body.to_string().as_bytes(), false).unwrap()
        };
        assert_eq!(row(&"é".repeat(1000), "/a").rows[0].title.len(), LONGEST_TITLE);
        assert_eq!(row("t", &"a".repeat(LONGEST_NAME + 1)).malformed, 1);
    }

    #[test]
    fn a_status_that_is_not_known_says_nothing() {
        let body = br#"{"ses_1":{"type":"busy"},"ses_2":{"type":"retry","attempt":1},"ses_3":{"type":"dreaming"},"x":{"type":"busy"}}"#;
        let status = status(body).unwrap();
        assert_eq!(status.len(), 2);
        assert_eq!(status[&SessionId::try_new("ses_1").unwrap()], Activity::Busy);
        assert_eq!(status[&SessionId::try_new("ses_2").unwrap()], Activity::Retry);
    }
}
