//! `/healthz` and `/readyz`: for whoever starts and watches the daemon.

use axum::{extract::State, response::IntoResponse};

use super::{Answer, Api, error::Fault};

/// It lives, and says nothing else: this is the one answer that needs no token.
#[utoipa::path(
    get, path = "/healthz", tag = "daemon",
    responses((status = 200, description = "The daemon lives.", body = String, example = "ok")),
)]
pub(super) async fn alive() -> &'static str {
    "ok"
}

/// The first round of discovery and of session lists is done.
#[utoipa::path(
    get, path = "/readyz", tag = "daemon",
    responses(
        (status = 200, description = "The first round of discovery and session lists is done.", body = String),
        (status = 503, description = "It is not done yet.", body = super::wire::ErrorView),
    ),
)]
pub(super) async fn ready(State(api): State<Api>) -> Answer {
    if api.ready.is_ready() { Ok("ok".into_response()) } else { Err(Fault::NotReady) }
}
