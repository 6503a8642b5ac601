//! Requests of our own making for lists, over the same connections as everybody's.

use std::sync::Arc;

use http::{
    HeaderValue, Method, Request,
    header::{AUTHORIZATION, HOST},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::{
    body::RequestBody,
    forward::Forwarder,
    merge::{Answer, Ask, AskError, AskRequest, MOST_BYTES},
};
use crate::registry::server::Server;

impl Ask for Forwarder {
    async fn ask(&self, server: &Arc<Server>, asked: AskRequest) -> Result<Answer, AskError> {
        let broke = |error: &dyn std::error::Error| AskError::Broke(error.to_string());
        let upstream = self.upstream(server).map_err(|error| broke(&error))?;
        let mut request = Request::new(RequestBody::EMPTY);
        *request.method_mut() = Method::GET;
        *request.uri_mut() =
            asked.path_and_query.parse().map_err(|error: http::uri::InvalidUri| broke(&error))?;
        *request.headers_mut() = asked.headers;
        // Nobody's host to pass on where no client asked; without one a server refuses.
        if !request.headers().contains_key(HOST) {
            let host = HeaderValue::from_str(&server.address.authority).map_err(|error| broke(&error))?;
            request.headers_mut().insert(HOST, host);
        }
        if let Some(authorization) = upstream.authorization() {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        let response = upstream.send(request).await.map_err(|error| broke(&error))?;
        let (parts, body) = response.into_parts();
        let whole = Limited::new(body, MOST_BYTES).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                AskError::TooLong
            } else {
                AskError::Broke(error.to_string())
            }
        })?;
        Ok(Answer { status: parts.status, headers: parts.headers, body: whole.to_bytes() })
    }
}
