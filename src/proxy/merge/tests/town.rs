//! Servers over stores that answer lists as 1.18.33 does, remember who was asked what, and fail on demand.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "numbers here are as small as the tests make them"
)]

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write,
    sync::Arc,
    time::Duration,
};

use base64::Engine;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;

use crate::{
    domain::{ids::StoreKey, kind::Kind},
    opencode::lists::List,
    proxy::{
        headers,
        merge::{Answer, Ask, AskError, AskRequest, MergeError, Merged, Settings, Wanted, merge, query},
    },
    registry::{
        Registry,
        server::{Address, Server, ServerId, State},
    },
};

/// A session of a simulated store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) directory: &'static str,
    pub(super) created: i64,
    pub(super) updated: i64,
}

/// How a server behaves.
#[derive(Clone, Debug)]
pub(super) enum Manner {
    /// It answers from its store and what it was given.
    Honest,
    /// It says nothing, ever.
    Hangs,
    /// It breaks off.
    Breaks,
    /// It answers just this.
    Says(StatusCode, &'static str, String),
}

/// See the module.
pub(super) struct Town {
    pub(super) registry: Registry,
    pub(super) stores: Mutex<HashMap<StoreKey, Vec<Session>>>,
    manners: Mutex<HashMap<u16, Manner>>,
    /// What a server answers on a path for a directory (none: for its own).
    given: Mutex<HashMap<(u16, String, String), String>>,
    asked: Mutex<Vec<(u16, AskRequest)>>,
}

pub(super) fn session(number: u32, directory: &'static str, created: i64, updated: i64) -> Session {
    Session { id: format!("ses_{number:026}"), directory, created, updated }
}

impl Town {
    pub(super) fn new() -> Self {
        Self {
            registry: Registry::new(None),
            stores: Mutex::default(),
            manners: Mutex::default(),
            given: Mutex::default(),
            asked: Mutex::default(),
        }
    }

    pub(super) fn server(&self, port: u16, store: u32, directory: &'static str) -> Arc<Server> {
        self.stores.lock().entry(StoreKey(store)).or_default();
        self.registry
            .arrive(|key| Server {
                key,
                id: ServerId(format!("s{port}").into()),
                address: Address::new("127.0.0.1", port),
                credentials: None,
                kind: Kind::Serve,
                process: None,
                store: StoreKey(store),
                directory: Some(directory.into()),
                worktree: None,
                project: None,
                version: None,
                state: State::Up,
                since_ms: 0,
                sources: Vec::new(),
                preferred: false,
                plugin: false,
                reports_screen: false,
                usage: None,
                directories: Arc::default(),
            })
            .unwrap()
    }

    pub(super) fn put(&self, store: u32, sessions: impl IntoIterator<Item = Session>) {
        self.stores.lock().entry(StoreKey(store)).or_default().extend(sessions);
    }

    pub(super) fn behave(&self, port: u16, manner: Manner) {
        self.manners.lock().insert(port, manner);
    }

    pub(super) fn give(&self, port: u16, path: &str, directory: &str, body: &str) {
        self.given.lock().insert((port, path.to_owned(), directory.to_owned()), body.to_owned());
    }

    pub(super) fn set_state(&self, server: &Server, state: State) {
        self.registry.servers.change(server.key, |server| server.state = state);
    }

    /// Who was asked what since the last call, in no particular order.
    pub(super) fn asked(&self) -> Vec<(u16, String)> {
        let mut asked: Vec<_> =
            self.asked.lock().drain(..).map(|(port, ask)| (port, ask.path_and_query)).collect();
        asked.sort();
        asked
    }

    pub(super) fn asked_headers(&self) -> Vec<HeaderMap> {
        self.asked.lock().iter().map(|(_, ask)| ask.headers.clone()).collect()
    }

    /// The directories that answering has opened on each server since the last call.
    pub(super) fn opened(&self) -> BTreeSet<(u16, String)> {
        let asked = std::mem::take(&mut *self.asked.lock());
        asked
            .iter()
            .filter(|(_, ask)| !ask.path_and_query.starts_with("/api/session"))
            .map(|(port, ask)| (*port, self.directory(*port, ask)))
            .collect()
    }

    pub(super) async fn get(&self, list: List, query: &str) -> Result<Merged, MergeError> {
        self.get_for(list, query, None).await
    }

    pub(super) async fn get_for(
        &self,
        list: List,
        query: &str,
        directory: Option<&str>,
    ) -> Result<Merged, MergeError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"x\""));
        headers.insert("traceparent", HeaderValue::from_static("kept"));
        let servers = Arc::clone(&self.registry.servers.now());
        let wanted =
            Wanted { list, query, headers: &headers, directory, chosen: servers.iter().next().cloned() };
        let settings = Settings { deadline: Duration::from_secs(2), owner_port: false };
        merge(self, &self.registry, &wanted, settings).await
    }

    fn directory(&self, port: u16, ask: &AskRequest) -> String {
        let query = ask.path_and_query.split_once('?').map_or("", |(_, query)| query);
        let key = if ask.path_and_query.starts_with("/api/") { "location[directory]" } else { "directory" };
        let named = query::value(query, key).map(std::borrow::Cow::into_owned);
        let header = ask
            .headers
            .get(headers::DIRECTORY)
            .map(|value| percent_decode_str(value.to_str().unwrap()).decode_utf8_lossy().into_owned());
        let own = || {
            let servers = self.registry.servers.now();
            let server = servers.iter().find(|server| server.address.port == port).unwrap();
            server.directory.as_deref().unwrap_or_default().to_owned()
        };
        named.filter(|named| !named.is_empty()).or(header).unwrap_or_else(own)
    }

    fn answer(&self, server: &Server, ask: &AskRequest) -> (StatusCode, String, Option<String>) {
        let (path, query) = ask.path_and_query.split_once('?').unwrap_or((&ask.path_and_query, ""));
        let directory = self.directory(server.address.port, ask);
        let stores = self.stores.lock();
        let all = &stores[&server.store];
        match path {
            "/session" => {
                let named = query::value(query, "directory").is_some_and(|named| !named.is_empty());
                let of_project = |session: &&Session| project(session.directory) == project(&directory);
                let kept = all.iter().filter(of_project).filter(|s| !named || s.directory == directory);
                let mut kept: Vec<_> = kept.cloned().collect();
                kept.sort_by(|a, b| (b.updated, &b.id).cmp(&(a.updated, &a.id)));
                let limit = limit(query).unwrap_or(100.0);
                if limit.fract() != 0.0 {
                    return (StatusCode::INTERNAL_SERVER_ERROR, "{\"name\":\"UnknownError\"}".into(), None);
                }
                if limit >= 0.0 {
                    kept.truncate(limit as usize);
                }
                (StatusCode::OK, array(&kept), None)
            }
            "/experimental/session" => {
                let cursor = query::value(query, "cursor").map(|text| query::number(&text));
                let cursor = cursor.filter(|cursor| !cursor.is_nan() && *cursor != 0.0);
                let kept = all.iter().filter(|s| cursor.is_none_or(|cursor| (s.updated as f64) < cursor));
                let mut kept: Vec<_> = kept.cloned().collect();
                kept.sort_by(|a, b| (b.updated, &b.id).cmp(&(a.updated, &a.id)));
                let limit = limit(query).unwrap_or(100.0).max(0.0) as usize;
                let more = kept.len() > limit;
                kept.truncate(limit);
                let next = kept.last().filter(|_| more).map(|last| last.updated.to_string());
                (StatusCode::OK, array(&kept), next)
            }
            "/api/session" => api_sessions(all, query),
            _ => {
                let given = self.given.lock();
                let key = (server.address.port, path.to_owned(), directory);
                let empty = match path {
                    "/session/status" => "{}",
                    "/api/session/active" => "{\"data\":{}}",
                    path if path.starts_with("/api/") => "{\"location\":{},\"data\":[]}",
                    _ => "[]",
                };
                (StatusCode::OK, given.get(&key).cloned().unwrap_or_else(|| empty.to_owned()), None)
            }
        }
    }
}

impl Ask for Town {
    async fn ask(&self, server: &Arc<Server>, request: AskRequest) -> Result<Answer, AskError> {
        let port = server.address.port;
        self.asked.lock().push((port, request.clone()));
        let manner = self.manners.lock().get(&port).cloned().unwrap_or(Manner::Honest);
        let (status, kind, body, next) = match manner {
            Manner::Honest => {
                let (status, body, next) = self.answer(server, &request);
                (status, "application/json", body, next)
            }
            Manner::Hangs => return std::future::pending().await,
            Manner::Breaks => return Err(AskError::Broke("connection reset".into())),
            Manner::Says(status, kind, body) => (status, kind, body, None),
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(next) = next {
            headers.insert("x-next-cursor", next.parse().unwrap());
        }
        Ok(Answer { status, headers, body: body.into() })
    }
}

fn project(directory: &str) -> &str {
    directory.trim_start_matches('/').split('/').next().unwrap_or_default()
}

fn limit(query: &str) -> Option<f64> {
    query::value(query, "limit").map(|text| query::number(&text))
}

pub(super) fn element(session: &Session) -> String {
    let Session { id, directory, created, updated } = session;
    format!(
        r#"{{"id":"{id}","slug":"s","projectID":"p","directory":"{directory}","title":"é \"t\"","time":{{"created":{created},"updated":{updated}}}}}"#
    )
}

pub(super) fn api_element(session: &Session) -> String {
    let Session { id, directory, created, updated } = session;
    format!(
        r#"{{"id":"{id}","projectID":"p","time":{{"created":{created},"updated":{updated}}},"title":"t","location":{{"directory":"{directory}"}}}}"#
    )
}

fn array(sessions: &[Session]) -> String {
    format!("[{}]", sessions.iter().map(element).collect::<Vec<_>>().join(","))
}

fn api_sessions(all: &[Session], query: &str) -> (StatusCode, String, Option<String>) {
    let base64 = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let limit = limit(query).unwrap_or(50.0);
    if limit < 1.0 {
        return (StatusCode::BAD_REQUEST, "{\"_tag\":\"InvalidRequestError\"}".into(), None);
    }
    let cursor = query::value(query, "cursor");
    let invalid = || {
        let body = r#"{"_tag":"InvalidCursorError","message":"Invalid cursor"}"#;
        (StatusCode::BAD_REQUEST, body.to_owned(), None)
    };
    let mut order = query::value(query, "order").map(std::borrow::Cow::into_owned);
    let mut anchor = None;
    if let Some(cursor) = cursor {
        let Ok(json) = base64.decode(&*cursor) else { return invalid() };
        let Ok(cursor) = serde_json::from_slice::<serde_json::Value>(&json) else { return invalid() };
        order = cursor["order"].as_str().map(str::to_owned);
        let Some(id) = cursor["anchor"]["id"].as_str() else { return invalid() };
        let time = cursor["anchor"]["time"].as_i64().unwrap();
        let back = cursor["anchor"]["direction"] == "previous";
        anchor = Some((time, id.to_owned(), back));
    }
    let ascending = order.as_deref() == Some("asc");
    let mut kept: Vec<&Session> = all.iter().collect();
    kept.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
    if !ascending {
        kept.reverse();
    }
    let limit = limit as usize;
    if let Some((time, id, back)) = anchor {
        let before = |s: &&Session| {
            let (row, anchor) = ((s.created, s.id.as_str()), (time, id.as_str()));
            if ascending { row < anchor } else { row > anchor }
        };
        if back {
            kept.retain(before);
            kept.drain(..kept.len().saturating_sub(limit));
        } else {
            kept.retain(|s| !before(s) && s.id != id);
        }
    }
    kept.truncate(limit);
    let cursor = |session: Option<&&Session>, direction: &str| {
        let Some(session) = session else { return "null".to_owned() };
        let mut json = String::from("{");
        if let Some(order) = &order {
            write!(json, "\"order\":\"{order}\",").unwrap();
        }
        let Session { id, created, .. } = session;
        write!(json, r#""anchor":{{"id":"{id}","time":{created},"direction":"{direction}"}}}}"#).unwrap();
        format!("\"{}\"", base64.encode(json))
    };
    let data = kept.iter().map(|session| api_element(session)).collect::<Vec<_>>().join(",");
    let (previous, next) = (cursor(kept.first(), "previous"), cursor(kept.last(), "next"));
    let body = format!(r#"{{"data":[{data}],"cursor":{{"previous":{previous},"next":{next}}}}}"#);
    (StatusCode::OK, body, None)
}
