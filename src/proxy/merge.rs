//! One answer from many servers: the lists of which every server has a part.
//!
//! Whoever has a part is asked at once (`plan`), nobody is waited for beyond the deadline (`gather`), and the parts
//! become one list in the servers' own order, each row once, with the page and the cursors that one server holding
//! everything would give. Elements pass byte for byte; sessions may gain `ownerPort`. A server without a part in the
//! answer is named in `X-Pointsman-Partial`.
//!
//! No directory is opened that is not in use already, unless the client named it. A session that stands in two stores
//! is two sessions with one id: a page shows the one that changed last.
//!
//! Who carries requests to servers is left to [`Ask`]; whose sessions those are, to the registry.

mod ask;
mod cursor;
mod gather;
mod page;
mod partial;
mod plan;
mod query;
mod read;
#[cfg(test)]
mod tests;
mod weave;
mod write;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use thiserror::Error;

pub use self::{
    ask::{Answer, Ask, AskError, AskRequest, MOST_BYTES},
    partial::{Absence, Reason},
};
use self::{
    gather::{Gathered, Words, gather},
    page::Page,
};
use super::headers;
use crate::{
    domain::ask::Interface,
    opencode::lists::List,
    registry::{Registry, server::Server},
};

/// A client's request for a list.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The list.
    pub list: List,
    /// The query as the client wrote it, without the question mark.
    pub query: &'a str,
    /// The client's headers as they would be forwarded; credentials of ours taken out.
    pub headers: &'a HeaderMap,
    /// The directory that the client named.
    pub directory: Option<&'a str>,
    /// The server that other requests for that directory go to. It is asked if nobody has the directory in use.
    pub chosen: Option<Arc<Server>>,
}

/// How lists are merged.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a server is waited for.
    pub deadline: Duration,
    /// Whether sessions gain `ownerPort`.
    pub owner_port: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(2), owner_port: true }
    }
}

/// The answer for the client.
#[derive(Clone, Debug)]
pub struct Merged {
    /// 200, or what all servers refused with.
    pub status: StatusCode,
    /// Content type, cursor, what lacks, and what a server said about origins that may read it.
    pub headers: HeaderMap,
    /// The list, or a server's refusal byte for byte.
    pub body: Bytes,
    /// Who has no part in it, as the headers tell.
    pub absences: Vec<Absence>,
}

/// Why there is no answer at all.
#[derive(Debug, Error)]
pub enum MergeError {
    /// There is no server to ask.
    #[error("no server is running; start one, or name one with --server")]
    NoServer,
    /// Nobody answered in time.
    #[error("no server answered {} in time: {}", .list.path(), named(.absences))]
    TimedOut {
        /// What was asked for.
        list: List,
        /// Everybody, and why.
        absences: Vec<Absence>,
    },
    /// Nobody answered, and at least one not for slowness.
    #[error("no server gave {}: {}", .list.path(), named(.absences))]
    Failed {
        /// What was asked for.
        list: List,
        /// Everybody, and why.
        absences: Vec<Absence>,
    },
}

/// Asks all who have a part of the list and makes one answer of it.
///
/// Waits for [`Settings::deadline`] at most. Dropping the future gives up on all servers. Ids of requests and
/// terminals that the list shows are made known to the registry, and so are sessions it has never seen.
pub async fn merge(
    ask: &impl Ask,
    registry: &Registry,
    wanted: &Wanted<'_>,
    settings: Settings,
) -> Result<Merged, MergeError> {
    let servers = Arc::clone(&registry.servers.now());
    let directory = wanted.directory.filter(|directory| !directory.is_empty());
    let plan = plan::plan(wanted.list, &servers, directory, wanted.chosen.as_ref());
    let page = Page::new(wanted.list, wanted.query);
    let words = Words {
        list: wanted.list,
        query: page.query(),
        headers: wanted.headers,
        deadline: settings.deadline,
    };
    let Gathered { mut heard, mut absences, refusals } = gather(ask, &plan.questions, &words).await;
    absences.extend(plan.absences);
    if heard.is_empty()
        && let [(_, first), others @ ..] = &refusals[..]
        && others.iter().all(|(_, other)| other.status == first.status)
    {
        return Ok(refused(first, absences));
    }
    absences.extend(refusals.into_iter().map(|(server, _)| Absence { server, reason: Reason::Failed }));
    if heard.is_empty() {
        return Err(nobody(wanted.list, absences));
    }
    if let (Some(directory), Some(chosen)) = (directory, &wanted.chosen)
        && heard.iter().any(|heard| heard.server.key == chosen.key)
    {
        chosen.directories.note(directory);
    }
    let rows = write::take_rows(&mut heard);
    let list = write::List { registry, servers: &servers, questions: &plan.questions, heard: &heard };
    let (body, next) = match wanted.list {
        List::SessionStatus => (list.statuses(), None),
        List::ActiveSessions => (list.active(), None),
        List::Sessions | List::ExperimentalSessions | List::ApiSessions => {
            list.sessions(wanted.list, rows, &page, settings.owner_port)
        }
        List::Projects => (list.projects(rows), None),
        List::Permissions | List::Questions | List::Terminals => (list.raised(rows, Interface::First), None),
        List::ApiPermissions | List::ApiQuestions | List::ApiTerminals => {
            (list.raised(rows, Interface::Second), None)
        }
    };
    let mut headers = said_about_origins(&heard[0].part.headers);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(next) = next.and_then(|next| HeaderValue::from_str(&next).ok()) {
        headers.insert(NEXT_CURSOR, next);
    }
    let headers = with_absences(headers, &absences);
    Ok(Merged { status: StatusCode::OK, headers, body: body.into(), absences })
}

const NEXT_CURSOR: HeaderName = HeaderName::from_static("x-next-cursor");

/// A refusal in the words of the server that was asked first. What lacks is the word of those that gave none.
fn refused(refusal: &Answer, absences: Vec<Absence>) -> Merged {
    let mut headers = said_about_origins(&refusal.headers);
    if let Some(kind) = refusal.headers.get(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, kind.clone());
    }
    let headers = with_absences(headers, &absences);
    Merged { status: refusal.status, headers, body: refusal.body.clone(), absences }
}

fn nobody(list: List, absences: Vec<Absence>) -> MergeError {
    if absences.is_empty() {
        return MergeError::NoServer;
    }
    if absences.iter().all(|absence| matches!(absence.reason, Reason::Timeout | Reason::Stalled)) {
        return MergeError::TimedOut { list, absences };
    }
    MergeError::Failed { list, absences }
}

fn with_absences(mut headers: HeaderMap, absences: &[Absence]) -> HeaderMap {
    if let Some(partial) = partial::header(absences) {
        headers.insert(headers::PARTIAL, partial);
    }
    headers
}

/// What a server says about who may read its answer holds for the merged one too.
fn said_about_origins(answer: &HeaderMap) -> HeaderMap {
    let concerns = |name: &HeaderName| *name == header::VARY || name.as_str().starts_with("access-control-");
    answer
        .iter()
        .filter(|(name, _)| concerns(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn named(absences: &[Absence]) -> String {
    let each = absences.iter().map(|absence| format!("{} ({})", absence.server.address, absence.reason));
    each.collect::<Vec<_>>().join(", ")
}
