//! One request, one answer: authentication, faults, routes, and the record of it all.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use thiserror::Error;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};

use super::{
    Inner, Life, VERSION,
    bus::{Frame, Scope},
    fault::Fault,
    lists,
    record::{Entry, Recorded},
    store::{FakeSession, new_id, now_ms},
    turn::{self, Kind},
};

/// The connection is closed here, on purpose.
#[derive(Debug, Error)]
#[error("closed on purpose")]
pub(super) struct Closed;

const PAGE: &str =
    "<!doctype html>\n<html lang=\"en\"><head><title>OpenCode</title></head><body></body></html>\n";

/// The beginnings of the paths that the real API has beside those answered below.
const API: [&str; 24] = [
    "agent",
    "api",
    "auth",
    "command",
    "config",
    "experimental",
    "file",
    "find",
    "formatter",
    "global",
    "instance",
    "log",
    "lsp",
    "mcp",
    "path",
    "permission",
    "project",
    "provider",
    "pty",
    "question",
    "session",
    "skill",
    "sync",
    "vcs",
];

type Answer = Response<Body>;

/// Answers one request, or closes the connection.
pub(super) async fn answer(
    server: Arc<Inner>,
    life: Arc<Life>,
    connection: usize,
    request: Request<Incoming>,
) -> Result<Answer, Closed> {
    let (mut head, body) = request.into_parts();
    let entry = server.record.begin(&head, connection);
    if let Some(script) = server.scripts.find(head.method.as_str(), head.uri.path()) {
        let answer = script(Request::from_parts(head, body)).await;
        return Ok(sealed(&server, answer, entry));
    }
    let upgrade = head.extensions.remove::<hyper::upgrade::OnUpgrade>();
    let body = body.collect().await.map_err(|_| Closed)?.to_bytes();
    entry.body(body.clone());

    let lifted = server.faults.lifted();
    let fault = server.faults.meet(head.method.as_str(), head.uri.path());
    match &fault {
        Some(Fault::Drop) => return Err(Closed),
        Some(Fault::Hang) => lifted.await,
        Some(Fault::Delay(time)) => tokio::time::sleep(*time).await,
        _ => {}
    }
    if let Some(refusal) = refusal(&server, &head) {
        return Ok(sealed(&server, refusal, entry));
    }
    let answer = match &fault {
        Some(Fault::Html) => html(),
        Some(Fault::BrokenJson) => plain(200, "application/json", Bytes::from_static(b"{\"broken\": [1, 2")),
        Some(Fault::Answer(status, kind, body)) => plain(*status, kind, body.clone()),
        _ => {
            Route { server: &server, life: &life, head: &head, body, request: entry.recorded() }
                .answer(upgrade)
                .await
        }
    };
    // A fresh waiter: the one above may have been used up by `Hang`.
    let lifted = server.faults.lifted();
    let answer = match fault {
        Some(Fault::DropAfter(bytes)) => shortened(answer, bytes, false, lifted).await,
        Some(Fault::StallAfter(bytes)) => shortened(answer, bytes, true, lifted).await,
        _ => answer,
    };
    Ok(sealed(&server, answer, entry))
}

/// Creates a row and says so, as `POST /session` does.
pub(super) fn create(server: &Inner, life: &Life, session: FakeSession) -> FakeSession {
    server.open(life, &session.directory);
    let session = life.store.insert(session);
    let properties = json!({"sessionID": session.id, "info": session.to_v1(&life.store)});
    server.emit(life, Some(&session.directory), "session.created", &properties);
    session
}

struct Route<'a> {
    server: &'a Arc<Inner>,
    life: &'a Arc<Life>,
    head: &'a Parts,
    body: Bytes,
    request: Recorded,
}

impl Route<'_> {
    async fn answer(&self, upgrade: Option<hyper::upgrade::OnUpgrade>) -> Answer {
        let path = self.head.uri.path();
        let segments: Vec<_> = path.trim_start_matches('/').split('/').collect();
        // A real server answers HEAD with the page, whatever the path.
        if self.head.method == Method::HEAD {
            return html();
        }
        if self.head.method == Method::OPTIONS {
            return plain(204, "", Bytes::new());
        }
        match (self.head.method.as_str(), segments.as_slice()) {
            ("GET", ["global", "health"]) => ok(&json!({"healthy": true, "version": VERSION})),
            ("GET", ["api", "health"]) => ok(&json!({"healthy": true})),
            ("GET", ["doc"]) => ok(&json!({"openapi": "3.1.0", "info": {"title": "opencode"}, "paths": {}})),
            ("GET", ["global", "event"]) => self.stream(Scope::Global),
            ("GET", ["api", "event"]) => self.stream(Scope::Api),
            ("GET", ["api", "session"]) => match lists::api(self.life, &self.request.parameters()) {
                Ok(page) => ok(&page),
                Err(error) => with_status(400, &error),
            },
            ("GET", ["api", "session", "active"]) => ok(&json!({"data": {}})),
            ("GET", ["experimental", "session"]) => self.experimental(),
            (_, ["session", id, rest @ ..]) if id.starts_with("ses") => self.session(id, rest),
            (_, ["api", "session", id, ..]) if id.starts_with("ses") => self.api_session(id),
            ("GET", ["pty", id, "connect"]) => self.terminal(id, upgrade),
            (_, [first, ..]) if *first == "tui" || *first == "event" || API.contains(first) => {
                self.instance(&segments).await
            }
            _ => html(),
        }
    }

    /// Everything that a real server answers from the instance of one directory.
    async fn instance(&self, segments: &[&str]) -> Answer {
        let directory = self.directory();
        if segments[0] != "global" {
            self.server.open(self.life, &directory);
        }
        let (store, life) = (&self.life.store, self.life);
        let project = json!({
            "id": store.project_of(&directory), "worktree": directory, "vcs": "git",
            "time": {"created": 1, "updated": 1}, "sandboxes": [],
        });
        match (self.head.method.as_str(), segments) {
            ("GET", ["event"]) => self.stream(Scope::Directory(directory)),
            ("GET", ["path"]) => ok(&json!({
                "home": store.inner.home, "state": store.state(), "worktree": directory, "directory": directory,
                "config": format!("{}/.config/opencode", store.inner.home),
            })),
            ("GET", ["project", "current"]) => ok(&project),
            ("GET", ["project"]) => ok(&lists::projects(life, &project)),
            ("GET", ["provider"]) => ok(&json!({"all": [], "default": {}, "connected": []})),
            ("GET", ["session"]) => {
                let named = self.request.directory();
                ok(&lists::session(
                    life,
                    &self.server.directory,
                    named.as_deref(),
                    &self.request.parameters(),
                ))
            }
            ("POST", ["session"]) => self.create(&directory, false),
            ("POST", ["api", "session"]) => self.create(&directory, true),
            ("GET", ["session", "status"]) => {
                let busy = life.turns.busy();
                let here =
                    busy.iter().filter(|id| store.get(id).is_some_and(|row| row.directory == directory));
                ok(&here
                    .map(|id| (id.clone(), json!({"type": "busy"})))
                    .collect::<serde_json::Map<_, _>>()
                    .into())
            }
            ("GET", ["permission"]) => ok(&life.turns.asked_in(Kind::Permission, &directory).into()),
            ("GET", ["question"]) => ok(&life.turns.asked_in(Kind::Question, &directory).into()),
            ("GET", ["api", "permission" | "question", "request"]) => {
                let location = json!({
                    "directory": directory,
                    "project": {"id": store.project_of(&directory), "directory": directory},
                });
                ok(&json!({"location": location, "data": []}))
            }
            ("POST", ["permission", id, "reply"]) => self.reply(Kind::Permission, id, &directory, "replied"),
            ("POST", ["question", id, "reply"]) => self.reply(Kind::Question, id, &directory, "replied"),
            ("POST", ["question", id, "reject"]) => self.reply(Kind::Question, id, &directory, "rejected"),
            ("GET", ["tui", "control", "next"]) => std::future::pending().await,
            ("POST", ["tui", rest @ ..]) => self.screen(rest, &directory),
            (_, ["pty", rest @ ..]) => self.pty(rest, &directory),
            ("POST", ["instance", "dispose"]) => {
                self.server.emit(
                    life,
                    Some(&directory),
                    "server.instance.disposed",
                    &json!({"directory": directory}),
                );
                life.opened.lock().retain(|opened| *opened != directory);
                ok(&json!(true))
            }
            _ => self.anything(),
        }
    }

    /// An operation the fake has no opinion on: it tells which server was reached, and how.
    fn anything(&self) -> Answer {
        ok(&json!({"server": self.server.address.to_string(), "request": self.request.line()}))
    }

    fn session(&self, id: &str, rest: &[&str]) -> Answer {
        let (server, life) = (self.server, self.life);
        let row = life.store.get(id);
        // Session paths use the session's own directory, whatever the request names.
        let directory = row.as_ref().map_or_else(|| self.directory(), |row| row.directory.clone());
        server.open(life, &directory);
        let method = self.head.method.as_str();
        if let ("POST", ["abort"]) = (method, rest) {
            if !life.turns.abort(id) {
                turn::say_idle(server, life, id);
            }
            return ok(&json!(true));
        }
        let Some(row) = row else { return not_found(id) };
        match (method, rest) {
            ("GET", []) => ok(&row.to_v1(&life.store)),
            ("PATCH", []) => {
                let title = self.json()["title"].as_str().map(str::to_owned);
                life.store.edit(id, |row| row.title = title.unwrap_or_else(|| row.title.clone()));
                turn::say_updated(server, life, id);
                ok(&life.store.get(id).map(|row| row.to_v1(&life.store)).unwrap_or_default())
            }
            ("DELETE", []) => {
                life.store.remove(id);
                let properties = json!({"sessionID": id, "info": row.to_v1(&life.store)});
                server.emit(life, Some(&directory), "session.deleted", &properties);
                ok(&json!(true))
            }
            ("POST", ["fork"]) => self.fork(&row),
            ("GET", ["message"]) => self.messages(&row),
            ("POST", ["message"]) => self.message(id),
            ("POST", ["prompt_async"]) => {
                drop(turn::begin(server, life, id, &self.json()));
                plain(204, "", Bytes::new())
            }
            ("POST", ["permissions", permission]) => {
                self.reply(Kind::Permission, permission, &directory, "replied")
            }
            _ => self.anything(),
        }
    }

    fn api_session(&self, id: &str) -> Answer {
        let row = self.life.store.get(id);
        let directory = row.as_ref().map_or_else(|| self.directory(), |row| row.directory.clone());
        self.server.open(self.life, &directory);
        match row {
            None => {
                let message = format!("Session not found: {id}");
                with_status(
                    404,
                    &json!({"_tag": "SessionNotFoundError", "sessionID": id, "message": message}),
                )
            }
            // Near enough: a real one holds this session's events alone, and sends no head before the first.
            Some(_) if self.head.method == Method::GET && self.request.path.ends_with("/event") => {
                self.stream(Scope::Api)
            }
            Some(row) if self.head.method == Method::GET && self.request.path.ends_with(id) => {
                ok(&json!({"data": row.to_v2(&self.life.store)}))
            }
            Some(_) => self.anything(),
        }
    }

    fn create(&self, directory: &str, v2: bool) -> Answer {
        let Ok(wish) = serde_json::from_slice::<Value>(if self.body.is_empty() { b"{}" } else { &self.body })
        else {
            return with_status(400, &json!({"_tag": "BadRequest"}));
        };
        let mut session = FakeSession::new(directory);
        if let Some(title) = wish["title"].as_str() {
            title.clone_into(&mut session.title);
        }
        session.parent = wish["parentID"].as_str().map(str::to_owned);
        let session = create(self.server, self.life, session);
        let store = &self.life.store;
        ok(&if v2 { json!({"data": session.to_v2(store)}) } else { session.to_v1(store) })
    }

    /// A fork is a session of its own; its copied messages are emitted, an assistant's included.
    fn fork(&self, row: &FakeSession) -> Answer {
        let mut fork = FakeSession::new(&row.directory);
        fork.title = format!("{} (fork #1)", row.title);
        fork.messages.clone_from(&row.messages);
        for message in &mut fork.messages {
            let id = json!(new_id("msg"));
            message["info"]["id"] = id.clone();
            message["info"]["sessionID"] = json!(fork.id);
            for part in message["parts"].as_array_mut().into_iter().flatten() {
                part["id"] = json!(new_id("prt"));
                part["sessionID"] = json!(fork.id);
                part["messageID"] = id.clone();
            }
        }
        let fork = create(self.server, self.life, fork);
        for message in &fork.messages {
            let properties = json!({"sessionID": fork.id, "info": message["info"]});
            self.server.emit(self.life, Some(&fork.directory), "message.updated", &properties);
            for part in message["parts"].as_array().into_iter().flatten() {
                let properties = json!({"sessionID": fork.id, "part": part, "time": now_ms()});
                self.server.emit(self.life, Some(&fork.directory), "message.part.updated", &properties);
            }
        }
        ok(&fork.to_v1(&self.life.store))
    }

    fn messages(&self, row: &FakeSession) -> Answer {
        let parameters = self.request.parameters();
        let before = parameters.get("before").and_then(|before| before.parse().ok());
        let end = before.unwrap_or(row.messages.len()).min(row.messages.len());
        let limit = parameters.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
        let first = end.saturating_sub(limit);
        let mut answer = ok(&json!(row.messages[first..end]));
        if first > 0 {
            // Built from the request's Host, as the real server does.
            let host = self.request.header("host").unwrap_or_default();
            let link =
                format!("<http://{host}{}?limit={limit}&before={first}>; rel=\"next\"", self.request.path);
            let headers = answer.headers_mut();
            headers.insert("link", link.parse().expect("a header"));
            headers.insert("x-next-cursor", HeaderValue::from(first));
            headers.insert("access-control-expose-headers", HeaderValue::from_static("Link, X-Next-Cursor"));
        }
        answer
    }

    /// Holds the request open until the turn ends; the body comes in one piece, chunked.
    fn message(&self, id: &str) -> Answer {
        let Some(answered) = turn::begin(self.server, self.life, id, &self.json()) else {
            let sent = self.life.store.get(id).and_then(|row| row.messages.last().cloned());
            return ok(&sent.unwrap_or_default());
        };
        let whole =
            stream::once(async move { answered.await.map(|message| Bytes::from(message.to_string())) });
        json_body(Body::from_stream(whole))
    }

    fn reply(&self, kind: Kind, id: &str, directory: &str, what: &str) -> Answer {
        let reply = self.json();
        let Some(session) = self.life.turns.reply(kind, id, directory, reply.clone()) else {
            let (tag, noun) = match kind {
                Kind::Permission => ("PermissionNotFoundError", "Permission"),
                Kind::Question => ("QuestionNotFoundError", "Question"),
            };
            let message = format!("{noun} request not found: {id}");
            return with_status(404, &json!({"_tag": tag, "requestID": id, "message": message}));
        };
        let mut properties = json!({"sessionID": session, "requestID": id});
        for key in ["reply", "answers"] {
            if !reply[key].is_null() {
                properties[key] = reply[key].clone();
            }
        }
        self.server.emit(self.life, Some(directory), &kind.event(what), &properties);
        ok(&json!(true))
    }

    fn screen(&self, rest: &[&str], directory: &str) -> Answer {
        let wish = self.json();
        let (kind, properties) = match rest {
            ["select-session"] => ("tui.session.select", json!({"sessionID": wish["sessionID"]})),
            ["append-prompt"] => ("tui.prompt.append", json!({"text": wish["text"]})),
            ["show-toast"] => ("tui.toast.show", wish),
            ["publish"] => (wish["type"].as_str().unwrap_or("tui.publish"), wish["properties"].clone()),
            _ => ("tui.command.execute", json!({"command": rest.join("/")})),
        };
        self.server.emit(self.life, Some(directory), kind, &properties);
        ok(&json!(true))
    }

    fn pty(&self, rest: &[&str], directory: &str) -> Answer {
        let mut ptys = self.life.ptys.lock();
        match (self.head.method.as_str(), rest) {
            ("GET", []) => {
                let here = ptys.values().filter(|pty| pty["cwd"] == directory);
                ok(&here.cloned().collect::<Vec<_>>().into())
            }
            ("POST", []) => {
                let id = new_id("pty");
                let pty = json!({
                    "id": id, "title": "Terminal", "command": "/bin/bash", "args": ["-l"], "cwd": directory,
                    "status": "running", "pid": 1,
                });
                ptys.insert(id, pty.clone());
                drop(ptys);
                self.server.emit(self.life, Some(directory), "pty.created", &json!({"info": pty}));
                ok(&pty)
            }
            ("DELETE", [id]) if ptys.remove(*id).is_some() => ok(&json!(true)),
            (_, [id, ..]) => match ptys.get(*id) {
                Some(pty) => ok(pty),
                None => {
                    with_status(404, &json!({"name": "NotFoundError", "data": {"message": "PTY not found"}}))
                }
            },
            _ => self.anything(),
        }
    }

    /// A WebSocket that says back what it hears.
    fn terminal(&self, id: &str, upgrade: Option<hyper::upgrade::OnUpgrade>) -> Answer {
        let known = self.life.ptys.lock().contains_key(id);
        let key = self.head.headers.get("sec-websocket-key").map(|key| derive_accept_key(key.as_bytes()));
        let (true, Some(key), Some(upgrade)) = (known, key, upgrade) else {
            return with_status(404, &json!({"name": "NotFoundError", "data": {"message": "PTY not found"}}));
        };
        self.life.spawn(async move {
            let Ok(stream) = upgrade.await else { return };
            let socket = WebSocketStream::from_raw_socket(TokioIo::new(stream), Role::Server, None).await;
            let (sink, heard) = socket.split();
            let said = heard.filter(|message| {
                let data = message.as_ref().is_ok_and(|message| message.is_text() || message.is_binary());
                std::future::ready(data)
            });
            // The client hangs up when it likes.
            let _ = said.forward(sink).await;
        });
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = answer.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert("sec-websocket-accept", key.parse().expect("base64 is a header"));
        answer
    }

    fn experimental(&self) -> Answer {
        self.server.open(self.life, &self.server.directory);
        let (rows, cursor) = lists::experimental(self.life, &self.request.parameters());
        let mut answer = ok(&rows);
        if let Some(cursor) = cursor {
            answer.headers_mut().insert("x-next-cursor", HeaderValue::from(cursor));
        }
        answer
    }

    fn stream(&self, scope: Scope) -> Answer {
        if let Scope::Directory(directory) = &scope {
            self.server.open(self.life, directory);
        }
        let frames = self.life.bus.open(scope.clone());
        let every = self.server.heartbeat;
        let beat = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        let events = stream::unfold((frames, beat), move |(mut frames, mut beat)| {
            let scope = scope.clone();
            async move {
                let frame = tokio::select! {
                    frame = frames.recv() => frame?,
                    _ = beat.tick() => {
                        let event = json!({"id": new_id("evt"), "type": "server.heartbeat", "properties": {}});
                        Frame::Bytes(Bytes::from(match scope {
                            Scope::Global => format!("data: {}\n\n", json!({"payload": event})),
                            Scope::Directory(_) => format!("data: {event}\n\n"),
                            Scope::Api => ": heartbeat\n\n".to_owned(),
                        }))
                    }
                };
                match frame {
                    Frame::Bytes(bytes) => Some((Ok(bytes), (frames, beat))),
                    Frame::Cut => Some((Err(cut().await), (frames, beat))),
                    Frame::Finish => None,
                }
            }
        });
        let mut answer = Response::new(Body::from_stream(events));
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
        answer
    }

    fn directory(&self) -> String {
        self.request.directory().unwrap_or_else(|| self.server.directory.clone())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// The 401 of a server with a password, for requests without it.
fn refusal(server: &Inner, head: &Parts) -> Option<Answer> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    if let Some(token) = &*server.bearer.read() {
        let wanted = format!("Bearer {token}");
        let given = head.headers.get(header::AUTHORIZATION).is_some_and(|given| *given == *wanted);
        return (!given).then(|| {
            let mut answer = plain(401, "", Bytes::new());
            let realm = HeaderValue::from_static(server.realm);
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
            answer
        });
    }
    let (username, password) = server.password.as_ref()?;
    let wanted = STANDARD.encode(format!("{username}:{password}"));
    let header = format!("Basic {wanted}");
    let by_header = head.headers.get(header::AUTHORIZATION).is_some_and(|given| *given == *header);
    let parameters = super::record::parameters(head.uri.query().unwrap_or_default());
    if by_header || parameters.get("auth_token") == Some(&wanted) {
        return None;
    }
    let mut answer = plain(401, "", Bytes::new());
    let realm = HeaderValue::from_static("Basic realm=\"Secure Area\"");
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
    Some(answer)
}

/// The same head with only the beginning of the body, after which the connection is cut, or nothing comes.
async fn shortened(
    answer: Answer,
    bytes: usize,
    stall: bool,
    lifted: impl Future<Output = ()> + Send + 'static,
) -> Answer {
    let (mut head, body) = answer.into_parts();
    // A stream has no end to collect; the bytes are counted over its chunks instead.
    let streamed = head.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    if streamed {
        let cut = stream::unfold((body.into_data_stream(), bytes), |(mut pieces, left)| async move {
            if left == 0 {
                return Some((Err(cut().await), (pieces, left)));
            }
            let mut piece = pieces.next().await?.ok()?;
            piece.truncate(left);
            let left = left - piece.len();
            Some((Ok(piece), (pieces, left)))
        });
        return Response::from_parts(head, Body::from_stream(cut));
    }
    let whole = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
    let (first, rest) = (whole.slice(..bytes.min(whole.len())), whole.slice(bytes.min(whole.len())..));
    let rest = async move {
        if !stall {
            return Err(cut().await);
        }
        lifted.await;
        Ok(rest)
    };
    let pieces = stream::once(std::future::ready(Ok(first))).chain(stream::once(rest));
    Response::from_parts(head, Body::from_stream(pieces))
}

/// The end of a connection in the middle of a body, once what came before has been written out: the server writes
/// when its body has nothing more to give at once.
async fn cut() -> Closed {
    tokio::task::yield_now().await;
    Closed
}

/// Marks the answer as this server's, and notes whether the client took all of it.
fn sealed(server: &Inner, mut answer: Answer, entry: Entry) -> Answer {
    let address = server.address.to_string().parse().expect("an address is a header");
    answer.headers_mut().insert("x-fake-server", address);
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        entry.answered();
        return answer;
    }
    let known = http_body::Body::size_hint(answer.body()).exact();
    if known.is_some() {
        entry.answered();
        return answer;
    }
    answer.map(|body| Body::new(Marked { body, entry }))
}

/// A body that notes when it was taken whole.
struct Marked {
    body: Body,
    entry: Entry,
}

impl http_body::Body for Marked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(None) = &polled {
            self.entry.answered();
        }
        polled
    }
}

fn ok(value: &Value) -> Answer {
    with_status(200, value)
}

fn with_status(status: u16, value: &Value) -> Answer {
    plain(status, "application/json", Bytes::from(value.to_string()))
}

fn not_found(id: &str) -> Answer {
    with_status(
        404,
        &json!({"name": "NotFoundError", "data": {"message": format!("Session not found: {id}")}}),
    )
}

fn html() -> Answer {
    plain(200, "text/html", Bytes::from_static(PAGE.as_bytes()))
}

fn json_body(body: Body) -> Answer {
    let mut answer = Response::new(body);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn plain(status: u16, kind: &str, body: Bytes) -> Answer {
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
    if !kind.is_empty() {
        answer.headers_mut().insert(header::CONTENT_TYPE, kind.parse().expect("a content type"));
    }
    answer
}
