//! Our own endpoints: what there is, who owns it and why, and the means to decide otherwise.
//!
//! Thin: every answer is read off the registry at the moment of the question. Lists walk over all sessions on a
//! thread of their own, so that a million of them delay no stream. Nothing here claims a session, except the one
//! endpoint that pins it; looking at a list never decides anything.
//!
//! Left to others: who may ask (the guard), and which paths are ours (the front). `docs/http-api.md` describes all
//! of it for the users, [`openapi`] for their programs.

pub mod error;
mod explain;
mod heirs;
mod metrics;
pub mod moment;
pub mod openapi;
mod owner;
mod probes;
mod query;
mod registrations;
mod servers;
mod session;
mod sessions;
mod spawn;
mod unreachable;
mod view;
pub mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    Router,
    http::{Method, Uri},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post, put},
};
use http::{HeaderValue, header};
use serde::Serialize;
use utoipa::openapi::OpenApi;

use self::error::Fault;
use crate::{
    discovery::Readiness,
    machine::Machine,
    metrics::Metrics,
    proxy::router::Scout,
    registration::Desk,
    registry::{News, Registry},
    spawn::Spawner,
};

/// Told what a pin or its end has moved.
pub type Tell = Arc<dyn Fn(News) + Send + Sync>;

/// What the endpoints read from; cheap to clone.
#[derive(Clone)]
pub struct Api {
    /// What exists.
    pub registry: Arc<Registry>,
    /// For the agents that nobody can reach.
    pub machine: Arc<dyn Machine>,
    /// Looks for sessions that nobody has mentioned yet.
    pub scout: Arc<dyn Scout>,
    /// Whether the first round of discovery and session sync is done.
    pub ready: Readiness,
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// Passes on what a pin has moved.
    pub tell: Tell,
    /// Whether it looks for processes that nobody named: else one it does not know is none it cannot reach.
    pub scans: bool,
    /// Where this daemon is to be asked, as it is printed.
    pub own_url: Arc<str>,
    /// Where servers register.
    pub desk: Desk,
    /// What starts servers.
    pub spawner: Spawner,
    /// The description of what is answered before a request comes here: the streams.
    pub streams: Arc<OpenApi>,
}

type Answer = Result<Response, Fault>;

/// All endpoints. Unknown paths and methods are answered in our own words too.
pub fn router(state: Api) -> Router {
    let router = Router::new();
    let router = routes().into_iter().fold(router, |router, (path, _, route)| router.route(path, route));
    router.method_not_allowed_fallback(no_such_method).fallback(no_such_path).with_state(state)
}

/// Every path with its methods. HEAD comes with GET.
fn routes() -> Vec<(&'static str, &'static [Method], MethodRouter<Api>)> {
    const GET: &[Method] = &[Method::GET];
    vec![
        ("/servers", &[Method::GET, Method::POST], get(servers::list).post(registrations::register)),
        ("/servers/spawn", &[Method::POST], post(spawn::start)),
        ("/servers/challenge", &[Method::POST], post(registrations::challenge)),
        (
            "/servers/{id}",
            &[Method::PUT, Method::DELETE],
            put(registrations::renew).delete(registrations::leave),
        ),
        ("/api/opencode/servers", GET, get(servers::list_for_predecessor)),
        ("/sessions", GET, get(sessions::list)),
        ("/sessions/ids", GET, get(sessions::ids)),
        ("/sessions/{id}", GET, get(session::show)),
        ("/sessions/{id}/owner", &[Method::PUT, Method::DELETE], put(owner::pin).delete(owner::unpin)),
        ("/healthz", GET, get(probes::alive)),
        ("/readyz", GET, get(probes::ready)),
        ("/metrics", GET, get(metrics::show)),
        ("/openapi.json", GET, get(openapi::show)),
    ]
}

async fn no_such_path(uri: Uri) -> Fault {
    Fault::NoSuchPath { path: uri.path().to_owned() }
}

async fn no_such_method(method: Method, uri: Uri) -> Fault {
    Fault::NoSuchMethod { method, path: uri.path().to_owned() }
}

/// Objects and lists have the content type that the agents' own have: without a charset.
fn json(value: &impl Serialize) -> Answer {
    let text = serde_json::to_vec(value).map_err(|source| Fault::Internal { what: source.to_string() })?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response())
}

/// Runs what walks over all sessions or processes where it delays nobody.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Fault::Internal { what: error.to_string() })
}
