//! `/metrics`: what the daemon counts about itself.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};

use super::Api;
use crate::metrics::CONTENT_TYPE;

/// Everything counted since the daemon started, for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "daemon",
    responses((
        status = 200, description = "Every metric, in the OpenMetrics text format.",
        body = String, content_type = "application/openmetrics-text",
    )),
)]
pub(super) async fn show(State(api): State<Api>) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE))], api.metrics.render()).into_response()
}
