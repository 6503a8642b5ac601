//! Programs that listen on real sockets: agents, and what is none.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Json, Router,
    extract::{Request, State as Given},
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};
use parking_lot::Mutex;
use serde_json::json;
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};

/// What a fake program answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Agent,
    WebPage,
    Password,
    /// Like an agent, once it is woken.
    Sleeper,
    /// An agent that takes connections and answers nothing but its first health.
    Mute,
}

#[derive(Clone)]
pub(super) struct Fake(pub(super) Arc<FakeState>);

pub(super) struct FakeState {
    manner: Manner,
    asked: Mutex<Vec<String>>,
    pub(super) awake: Notify,
    muted: AtomicBool,
}

pub(super) struct Running {
    pub(super) address: SocketAddr,
    pub(super) fake: Fake,
    task: JoinHandle<()>,
}

impl Running {
    pub(super) async fn at(address: SocketAddr, manner: Manner) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let fake = Fake(Arc::new(FakeState {
            manner,
            asked: Mutex::default(),
            awake: Notify::new(),
            muted: AtomicBool::new(false),
        }));
        let router = Router::new().fallback(answer).with_state(fake.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, fake, task }
    }

    pub(super) async fn new(manner: Manner) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), manner).await
    }

    pub(super) fn asked(&self) -> Vec<String> {
        self.fake.0.asked.lock().clone()
    }

    pub(super) async fn close(self) -> SocketAddr {
        self.task.abort();
        let _ = self.task.await;
        self.address
    }
}

async fn answer(Given(fake): Given<Fake>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    fake.0.asked.lock().push(request.uri().to_string());
    match fake.0.manner {
        Manner::WebPage => return Html("<html></html>").into_response(),
        Manner::Password
            if request.headers().get("authorization").is_none_or(|value| value != "Basic eDp5") =>
        {
            return (StatusCode::UNAUTHORIZED, [("www-authenticate", "Basic realm=\"Secure Area\"")])
                .into_response();
        }
        Manner::Sleeper if path == "/global/health" => fake.0.awake.notified().await,
        Manner::Mute if fake.0.muted.swap(true, Ordering::SeqCst) => std::future::pending().await,
        _ => {}
    }
    match path.as_str() {
        "/global/health" => Json(json!({"healthy": true, "version": "1.18.33"})).into_response(),
        "/path" => {
            Json(json!({"home": "/h", "state": "/s", "config": "/c", "worktree": "/w", "directory": "/own"}))
                .into_response()
        }
        "/project/current" => Json(json!({"id": "project", "worktree": "/w"})).into_response(),
        "/permission" => Json(json!([{"id": "per_1", "sessionID": "ses_1"}])).into_response(),
        "/question" | "/pty" => Json(json!([])).into_response(),
        _ => Html("<html></html>").into_response(),
    }
}
