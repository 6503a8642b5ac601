//! Asking a server on our own account: its health, its lists, what waits there.
//!
//! Promises: every call ends within its own time and reads no more than [`LARGEST`]; a web page, a redirect or
//! somebody else's JSON is told from an answer; nothing is asked through a proxy of the environment; credentials go
//! to the address they were given for and nowhere else. Each method says whether it makes the server open a directory.
//!
//! Left to others: retries, and which server to ask. Requests of clients take another path.

use std::{
    collections::HashMap,
    error::Error as _,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{
    StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, WWW_AUTHENTICATE},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

pub use self::unread::Unread;
use super::wire::{self, Activity, Health, Page, Paths, Pending, Project, Terminal};
use crate::domain::{ask::AskKind, ids::SessionId, session::SessionRow};

mod unread;

/// The most of one answer that is read: a page of 500 sessions takes half a megabyte, and one answer must not take
/// the daemon's memory.
pub const LARGEST: usize = 64 << 20;

/// How long a health check may stay open. A fresh server answers its first request after seconds, and the request
/// that waited there is answered first of all.
pub const HEALTH_PATIENCE: Duration = Duration::from_mins(1);

/// How long opening a directory may take: 8.3 s was seen for a cold one on an idle machine.
const OPENING_PATIENCE: Duration = Duration::from_mins(1);

/// How long a page of a list may take. Longer than a cold directory takes to open, since a list may have to wait for it.
const PAGE_PATIENCE: Duration = Duration::from_secs(30);

/// How long a look-up on behalf of a waiting client may take.
const LOOK_UP_PATIENCE: Duration = Duration::from_secs(3);

/// How long a small question about what runs now may take.
const QUICK_PATIENCE: Duration = Duration::from_secs(10);

/// How long an unused connection is kept. A server closes it after five seconds itself.
const IDLE: Duration = Duration::from_secs(4);

/// How far around the instant in its id a session's row is looked for: the row is written moments after the id was
/// made.
const AROUND_MS: u64 = 1000;

/// How many rows that look takes at most: more sessions are not made within two seconds.
const AROUND_ROWS: usize = 200;

/// What the listener of our plugin asks for.
const PLUGIN: &str = "Bearer realm=\"pointsman\"";

/// The header by which an answer says that it came through one of us.
const OURS: &str = "x-pointsman-server";

/// Why a question got no answer that counts.
#[derive(Debug, Error)]
pub enum AskError {
    /// Nothing listens there.
    #[error("connection refused")]
    Refused,
    /// No whole answer in time.
    #[error("no answer within {} s", .after.as_secs())]
    TimedOut {
        /// How long it was waited.
        after: Duration,
    },
    /// It wants a password.
    #[error(
        "it wants a password that was not given; set username and password for it in [[server]] of the configuration"
    )]
    Locked {
        /// Whether it asked for user and password as the agent does, rather than just refusing.
        basic: bool,
    },
    /// It is a plugin's listener, which makes itself known and tells its token then.
    #[error("it has not registered yet")]
    Unregistered,
    /// Something answers, but not the agent.
    #[error("not an OpenCode server: {what}")]
    Foreign {
        /// What gave it away.
        what: &'static str,
    },
    /// The agent answers, but with an error.
    #[error("it answered {status}")]
    Status {
        /// The status.
        status: StatusCode,
    },
    /// The answer does not end.
    #[error("its answer is larger than {LARGEST} bytes")]
    TooLarge,
    /// The connection broke, or could not be made for another reason than refusal.
    #[error("the connection failed: {0}")]
    Transport(reqwest::Error),
}

/// The means to ask any server. Cheap to clone; all clones share their connections.
#[derive(Clone, Debug)]
pub struct AgentClient {
    http: reqwest::Client,
}

impl AgentClient {
    /// A client that gives up connecting after `connect_timeout`. Fails only if the system denies what every program
    /// gets.
    pub fn try_new(connect_timeout: Duration) -> Result<Self, AskError> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(connect_timeout)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(2)
            .user_agent(concat!("pointsman/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(AskError::Transport)?;
        Ok(Self { http })
    }

    /// The server at `url` (without a slash at its end), told `authorization` with every question.
    pub fn at(&self, url: &str, authorization: Option<&str>) -> Agent {
        Agent { http: self.http.clone(), url: url.into(), authorization: authorization.map(Arc::from) }
    }
}

/// One server to be asked. Cheap to clone.
#[derive(Clone)]
pub struct Agent {
    http: reqwest::Client,
    url: Arc<str>,
    authorization: Option<Arc<str>>,
}

impl Agent {
    /// Whether it is an agent, and which version. Opens no directory. Stays open for [`HEALTH_PATIENCE`].
    pub async fn health(&self) -> Result<Health, AskError> {
        let body = self.ask("/global/health", &[], HEALTH_PATIENCE).await?.body;
        let health = serde_json::from_slice(&body).ok().and_then(wire::HealthBody::read);
        health.ok_or(AskError::Foreign { what: "its health is not told as OpenCode tells it" })
    }

    /// The paths of `directory`, else of its own. Opens that directory.
    pub async fn path(&self, directory: Option<&str>) -> Result<Paths, AskError> {
        self.object::<wire::PathsBody>("/path", directory).await.map(Paths::from)
    }

    /// The project of `directory`, else of its own. Opens that directory.
    pub async fn project_current(&self, directory: Option<&str>) -> Result<Project, AskError> {
        self.object::<wire::ProjectBody>("/project/current", directory).await.map(Project::from)
    }

    /// Sessions of the whole store, archived ones included, the last updated first: at most `limit`, those updated
    /// before `before_ms` and not before `start_ms`. Opens the server's own directory only.
    pub async fn sessions_page(
        &self,
        limit: usize,
        before_ms: Option<u64>,
        start_ms: Option<u64>,
    ) -> Result<Page, AskError> {
        self.sessions_unread(limit, before_ms, start_ms).await?.read().await
    }

    /// The same page, to be read or not.
    pub async fn sessions_unread(
        &self,
        limit: usize,
        before_ms: Option<u64>,
        start_ms: Option<u64>,
    ) -> Result<Unread, AskError> {
        let mut query = vec![("limit", limit.to_string()), ("archived", String::from("true"))];
        query.extend(before_ms.map(|cursor| ("cursor", cursor.to_string())));
        query.extend(start_ms.map(|start| ("start", start.to_string())));
        let answer = self.ask("/experimental/session", &query, PAGE_PATIENCE).await?;
        Ok(Unread { more: answer.headers.contains_key("x-next-cursor"), body: answer.body })
    }

    /// The row of a session, if the store has it. Opens no directory, unless the server is too old to list its
    /// sessions without or the id does not tell its time; then only the server's own.
    pub async fn exists(&self, session: &SessionId, now_ms: u64) -> Result<Option<SessionRow>, AskError> {
        let page = match session.created_ms(now_ms) {
            None => self.newest().await?,
            Some(created_ms) => match self.around(created_ms).await {
                Err(AskError::Foreign { .. } | AskError::Status { .. }) => self.newest().await?,
                page => page?,
            },
        };
        Ok(page.rows.into_iter().find(|row| row.id == *session))
    }

    /// The sessions made around `created_ms`.
    async fn around(&self, created_ms: u64) -> Result<Page, AskError> {
        let query = [
            ("limit", AROUND_ROWS.to_string()),
            ("order", String::from("desc")),
            ("cursor", crafted_cursor(created_ms + AROUND_MS)),
        ];
        let answer = self.ask("/api/session", &query, LOOK_UP_PATIENCE).await?;
        read(answer.body, wire::api_page).await
    }

    async fn newest(&self) -> Result<Page, AskError> {
        let asked = self.sessions_page(AROUND_ROWS, None, None);
        let timed_out = AskError::TimedOut { after: LOOK_UP_PATIENCE };
        tokio::time::timeout(LOOK_UP_PATIENCE, asked).await.map_err(|_| timed_out)?
    }

    /// What sessions do in the instance of `directory`, else of its own. Opens that directory.
    pub async fn status(&self, directory: Option<&str>) -> Result<HashMap<SessionId, Activity>, AskError> {
        self.list("/session/status", directory, wire::status).await
    }

    /// The permissions that wait in the instance of `directory`, else of its own. Opens that directory.
    pub async fn permissions(&self, directory: Option<&str>) -> Result<Vec<Pending>, AskError> {
        self.list("/permission", directory, wire::pending).await
    }

    /// The questions that wait in the instance of `directory`, else of its own. Opens that directory.
    pub async fn questions(&self, directory: Option<&str>) -> Result<Vec<Pending>, AskError> {
        self.list("/question", directory, wire::pending).await
    }

    /// The sessions of the whole store that were updated at or after `start_ms`, as they are written: the last updated
    /// first, at most `limit`. Opens the server's own directory only.
    pub async fn rows_since(&self, start_ms: u64, limit: usize) -> Result<Vec<Value>, AskError> {
        let query = [
            ("limit", limit.to_string()),
            ("archived", String::from("true")),
            ("start", start_ms.to_string()),
        ];
        let answer = self.ask("/experimental/session", &query, PAGE_PATIENCE).await?;
        read(answer.body, wire::whole).await
    }

    /// The last messages of a session with their parts, as they are written, at most `limit`; `None` if there is no such
    /// session. Opens the session's directory.
    pub async fn messages(&self, session: &SessionId, limit: usize) -> Result<Option<Vec<Value>>, AskError> {
        let query = [("limit", limit.to_string())];
        match self.ask(&format!("/session/{session}/message"), &query, PAGE_PATIENCE).await {
            Ok(answer) => read(answer.body, wire::whole).await.map(Some),
            Err(AskError::Status { status: StatusCode::NOT_FOUND }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A list that a session has one of, `todo` or `diff`, as it is written; `None` where the server has none such. Opens
    /// the session's directory.
    pub async fn list_of(&self, session: &SessionId, what: &str) -> Result<Option<Vec<Value>>, AskError> {
        match self.ask(&format!("/session/{session}/{what}"), &[], PAGE_PATIENCE).await {
            Ok(answer) => Ok(read(answer.body, wire::whole).await.ok()),
            Err(AskError::Status { .. } | AskError::Foreign { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What sessions do in the instance of `directory`, as it is written. Opens that directory.
    pub async fn statuses(&self, directory: &str) -> Result<serde_json::Map<String, Value>, AskError> {
        self.list("/session/status", Some(directory), wire::whole).await
    }

    /// What waits for an answer of this kind in the instance of `directory`, as it is written. Opens that directory.
    pub async fn waiting(&self, kind: AskKind, directory: &str) -> Result<Vec<Value>, AskError> {
        let path = match kind {
            AskKind::Permission => "/permission",
            AskKind::Question => "/question",
        };
        self.list(path, Some(directory), wire::whole).await
    }

    /// The terminals of the instance of `directory`, else of its own. Opens that directory.
    pub async fn ptys(&self, directory: Option<&str>) -> Result<Vec<Terminal>, AskError> {
        self.list("/pty", directory, wire::terminals).await
    }

    async fn object<T: DeserializeOwned>(&self, path: &str, directory: Option<&str>) -> Result<T, AskError> {
        let answer = self.ask(path, &naming(directory), OPENING_PATIENCE).await?;
        serde_json::from_slice(&answer.body).map_err(|_| UNREADABLE)
    }

    async fn list<T: Send + 'static>(
        &self,
        path: &str,
        directory: Option<&str>,
        parse: impl FnOnce(&[u8]) -> Option<T> + Send + 'static,
    ) -> Result<T, AskError> {
        let answer = self.ask(path, &naming(directory), QUICK_PATIENCE).await?;
        read(answer.body, parse).await
    }

    /// One question. The answer counts if it is JSON with status 200.
    async fn ask(
        &self,
        path: &str,
        query: &[(&str, String)],
        patience: Duration,
    ) -> Result<Answer, AskError> {
        let asked = Instant::now();
        let mut request = self.http.get(format!("{}{path}", self.url)).timeout(patience);
        if !query.is_empty() {
            request = request.query(query);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, &**authorization);
        }
        let failed = |error| failure(error, asked, patience);
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());
        if headers.contains_key(OURS) {
            return Err(AskError::Foreign { what: "a pointsman answers there" });
        }
        match status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let challenge = headers.get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
                if challenge == Some(PLUGIN) {
                    return Err(AskError::Unregistered);
                }
                let basic = challenge.is_some_and(|challenge| challenge.starts_with("Basic "));
                return Err(AskError::Locked { basic });
            }
            status => return Err(AskError::Status { status }),
        }
        let json = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.starts_with("application/json"));
        if !json {
            return Err(AskError::Foreign { what: "it answers with something else than JSON" });
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > LARGEST {
                return Err(AskError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { headers, body })
    }
}

struct Answer {
    headers: HeaderMap,
    body: Vec<u8>,
}

/// An answer that is JSON, but not the JSON asked for.
const UNREADABLE: AskError = AskError::Foreign { what: "its answer has another shape" };

/// Bodies larger than this are read aside, so that a worker is never kept from other streams for long.
const READ_ASIDE: usize = 256 << 10;

async fn read<T: Send + 'static>(
    body: Vec<u8>,
    parse: impl FnOnce(&[u8]) -> Option<T> + Send + 'static,
) -> Result<T, AskError> {
    if body.len() <= READ_ASIDE {
        return parse(&body).ok_or(UNREADABLE);
    }
    let parsed = tokio::task::spawn_blocking(move || parse(&body)).await;
    parsed.ok().flatten().ok_or(UNREADABLE)
}

fn naming(directory: Option<&str>) -> Vec<(&'static str, String)> {
    directory.map(|directory| ("directory", directory.to_owned())).into_iter().collect()
}

/// A cursor of `/api/session` from which the sessions made at or before `created_ms` follow. Servers take any cursor
/// of this shape, not only those they gave.
fn crafted_cursor(created_ms: u64) -> String {
    // Ids of one instant are compared as text: this one comes after all.
    let anchor = serde_json::json!({
        "order": "desc",
        "anchor": { "id": "ses_zzzz", "time": created_ms, "direction": "next" },
    });
    URL_SAFE_NO_PAD.encode(anchor.to_string())
}

fn failure(error: reqwest::Error, asked: Instant, patience: Duration) -> AskError {
    if is_refusal(&error) {
        AskError::Refused
    } else if error.is_timeout() {
        AskError::TimedOut { after: asked.elapsed().min(patience) }
    } else {
        // The address may carry a token of the configuration.
        AskError::Transport(error.without_url())
    }
}

fn is_refusal(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::ConnectionRefused
        {
            return true;
        }
        source = cause.source();
    }
    false
}

#[cfg(test)]
mod tests;
