//! Requests of our own making for lists, over the same connections as everybody's.

use std::sync::Arc;

use http::{
    HeaderValue, Method, Uri,
    header::{AUTHORIZATION, HOST},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::{
    forward::{Forwarder, bodiless},
    merge::{Answer, Ask, AskError, AskRequest, MOST_BYTES},
    upstream::SendError,
};
use crate::registry::server::Server;

impl Ask for Forwarder {
    async fn ask(&self, server: &Arc<Server>, asked: AskRequest) -> Result<Answer, AskError> {
        let broke = |error: &dyn std::error::Error| AskError::Broke(error.to_string());
        let upstream = self.upstream(server).map_err(|error| broke(&error))?;
        let uri: Uri = asked.path_and_query.parse().map_err(|error: http::uri::InvalidUri| broke(&error))?;
        let mut headers = asked.headers;
        // Nobody's host to pass on where no client asked; without one a server refuses.
        if !headers.contains_key(HOST) {
            let host = HeaderValue::from_str(&server.address.authority).map_err(|error| broke(&error))?;
            headers.insert(HOST, host);
        }
        // What a client shows is for one server, and a list asks them all.
        headers.remove(AUTHORIZATION);
        if let Some(authorization) = upstream.authorization() {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let mut sent = upstream.send(bodiless(Method::GET, uri.clone(), headers.clone())).await;
        // The server may have closed a connection that had been idle for long.
        if matches!(sent, Err(SendError::Broke { .. })) {
            sent = upstream.send(bodiless(Method::GET, uri, headers)).await;
        }
        let (parts, body) = sent.map_err(|error| broke(&error))?.into_parts();
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
