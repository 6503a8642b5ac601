//! From what went wrong to what the client is told: the one place that knows a status for each.
//!
//! The body is the one that clients of the agent parse: `{"name":"…","data":{"message":"…"}}`. The name is stable, the
//! message is for people and holds no secret. An answer of ours is marked by [`ERROR`], so that nobody mistakes it for
//! a server's. Where a request was on its way to a server, `data.sent` tells whether any of it was sent: if not, it is
//! safe to send it again.

use axum::response::{IntoResponse, Response as AxumResponse};
use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE},
};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::{
    domain::{ask::AskKind, ids::SessionId},
    guard::{CHALLENGE, Refusal},
    proxy::{
        answer::AnswerBody,
        forward::ForwardError,
        merge::MergeError,
        route::{RouteError, Unstarted},
        small_body::BodyError,
        upstream::{ConnectError, SendError},
    },
    registration::Refused,
    spawn::SpawnError,
};

/// The header that marks an error of ours and repeats its name.
pub const ERROR: HeaderName = HeaderName::from_static("x-pointsman-error");

/// What can be wrong with a request before anything is routed, or with one for our own endpoints.
#[derive(Debug, Error)]
pub enum Fault {
    /// A query parameter says nothing sensible.
    #[error("{message}")]
    BadQuery {
        /// What would be sensible.
        message: String,
    },
    /// The body says nothing sensible.
    #[error("{message}")]
    BadBody {
        /// What would be sensible.
        message: String,
    },
    /// The head of the request cannot be understood.
    #[error("{message}")]
    BadRequest {
        /// Why not.
        message: String,
    },
    /// The body is longer than what is read here.
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge {
        /// How much would be read.
        limit: usize,
    },
    /// The head of the request is longer than what is read.
    #[error("the head of the request is larger than {limit} bytes")]
    HeadTooLarge {
        /// How much would be read.
        limit: usize,
    },
    /// No store has the session.
    #[error("Session not found: {session}")]
    SessionUnknown {
        /// What was asked for.
        session: String,
    },
    /// There is nothing at this path.
    #[error("there is nothing at {path}; GET /openapi.json describes what there is")]
    NoSuchPath {
        /// The path.
        path: String,
    },
    /// There is something at this path, but not for this method.
    #[error("{path} does not take {method}; GET /openapi.json describes what it takes")]
    NoSuchMethod {
        /// The method.
        method: Method,
        /// The path.
        path: String,
    },
    /// What is at this path is a `WebSocket`, and the request does not open one.
    #[error("{path} is opened as a WebSocket, version 13: {why}")]
    NoSocket {
        /// The path.
        path: &'static str,
        /// What is missing.
        why: String,
    },
    /// The server wants a password that the configuration does not give.
    #[error("{server} is locked: give its password in the configuration before sessions can be pinned to it")]
    ServerLocked {
        /// Its address.
        server: String,
    },
    /// The server reads another store than the one the session stands in.
    #[error("{server} does not read the store that {session} stands in, and so cannot own it")]
    OtherStore {
        /// The server's address.
        server: String,
        /// The session.
        session: SessionId,
    },
    /// Somebody is not registered.
    #[error(transparent)]
    Registration(#[from] Refused),
    /// No server is started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The first round is not done.
    #[error("waiting for the first round of discovery and session lists; ask again in a moment")]
    NotReady,
    /// What was asked for cannot be routed.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The body that a routing decision needs cannot be read.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// We are at fault.
    #[error("this is a defect of pointsman: {what}")]
    Internal {
        /// What happened.
        what: String,
    },
}

/// The answer to a request that the guard refused.
pub fn refusal(refusal: &Refusal) -> Response<AnswerBody> {
    let status = match refusal {
        Refusal::HostMalformed => StatusCode::BAD_REQUEST,
        Refusal::HostUnknown(_)
        | Refusal::OriginUnknown(_)
        | Refusal::CrossSite
        | Refusal::PageRefused
        | Refusal::OtherUser
        | Refusal::UserUnknown
        | Refusal::UserHidden => StatusCode::FORBIDDEN,
        Refusal::SecretNeeded | Refusal::TokenNeeded => StatusCode::UNAUTHORIZED,
        Refusal::Loop => StatusCode::LOOP_DETECTED,
    };
    let mut response = answer(status, refusal.name(), &refusal.to_string(), json!({}));
    match refusal {
        Refusal::TokenNeeded => drop(response.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE)),
        Refusal::SecretNeeded => {
            let scheme = HeaderValue::from_static("X-Pointsman-Secret");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        _ => {}
    }
    response
}

/// The answer to a request for which there is no server.
pub fn route_error(error: &RouteError) -> Response<AnswerBody> {
    let (status, name, data) = match error {
        RouteError::AskerGone { kind, id } => return asker_gone(*kind, id, error),
        RouteError::NoServer => (StatusCode::SERVICE_UNAVAILABLE, "NoServerError", json!({})),
        RouteError::Unstarted(Unstarted::Full(_)) => {
            (StatusCode::SERVICE_UNAVAILABLE, "SpawnLimitError", json!({}))
        }
        RouteError::Unstarted(Unstarted::Failed(_)) => {
            (StatusCode::SERVICE_UNAVAILABLE, "SpawnFailedError", json!({}))
        }
        RouteError::OwnerSilent { .. } => (StatusCode::SERVICE_UNAVAILABLE, "OwnerSilentError", json!({})),
        RouteError::NoServerOfStore { session } => {
            (StatusCode::SERVICE_UNAVAILABLE, "NoServerOfStoreError", json!({ "session": session }))
        }
        RouteError::SeveralStores { session, servers } => {
            (StatusCode::CONFLICT, "AmbiguousSessionError", json!({ "session": session, "servers": servers }))
        }
        RouteError::UnknownServer { name } => {
            (StatusCode::NOT_FOUND, "ServerUnknownError", json!({ "server": name }))
        }
        RouteError::AmbiguousScreen { candidates } => {
            (StatusCode::CONFLICT, "AmbiguousScreenError", json!({ "candidates": candidates }))
        }
        RouteError::AmbiguousDisposal { candidates } => {
            (StatusCode::CONFLICT, "AmbiguousDisposalError", json!({ "candidates": candidates }))
        }
        RouteError::OwnerUnreachable { session, pids } => {
            (StatusCode::CONFLICT, "OwnerUnreachableError", json!({ "session": session, "suspected": pids }))
        }
    };
    answer(status, name, &error.to_string(), data)
}

/// As servers answer who replies to a question that they have not asked, in both interfaces.
fn asker_gone(kind: AskKind, id: &str, error: &RouteError) -> Response<AnswerBody> {
    let name = match kind {
        AskKind::Permission => "PermissionNotFoundError",
        AskKind::Question => "QuestionNotFoundError",
    };
    let body = json!({ "_tag": name, "requestID": id, "message": error.to_string() });
    with_body(StatusCode::NOT_FOUND, name, &body)
}

/// The answer to a request whose server gave none.
pub fn forward_error(error: &ForwardError) -> Response<AnswerBody> {
    let (status, name, sent) = match error {
        ForwardError::Unsent(ConnectError::Failed { .. }, _) => {
            (StatusCode::BAD_GATEWAY, "ServerUnreachableError", false)
        }
        ForwardError::Unsent(ConnectError::TimedOut { .. }, _) => {
            (StatusCode::GATEWAY_TIMEOUT, "ServerTimeoutError", false)
        }
        ForwardError::Broke(broke) => match broke {
            SendError::Unsent(ConnectError::Failed { .. }, _) => {
                (StatusCode::BAD_GATEWAY, "ServerUnreachableError", false)
            }
            SendError::Unsent(ConnectError::TimedOut { .. }, _) => {
                (StatusCode::GATEWAY_TIMEOUT, "ServerTimeoutError", false)
            }
            SendError::Broke { .. } => (StatusCode::BAD_GATEWAY, "ServerBrokeOffError", true),
        },
        ForwardError::Unread { .. } => (StatusCode::BAD_GATEWAY, "AnswerUnreadableError", true),
        ForwardError::BadAddress { .. } => (StatusCode::BAD_GATEWAY, "ServerAddressError", false),
    };
    answer(status, name, &error.to_string(), json!({ "sent": sent }))
}

/// The answer to a list that no server has given a part of.
pub fn merge_error(error: &MergeError) -> Response<AnswerBody> {
    let (status, name) = match error {
        MergeError::NoServer => (StatusCode::SERVICE_UNAVAILABLE, "NoServerError"),
        MergeError::TimedOut { .. } => (StatusCode::GATEWAY_TIMEOUT, "ServerTimeoutError"),
        MergeError::Failed { .. } => (StatusCode::BAD_GATEWAY, "ServerBrokeOffError"),
    };
    answer(status, name, &error.to_string(), json!({}))
}

/// The answer to a request that is itself at fault, or to one of our own endpoints.
pub fn fault(fault: &Fault) -> Response<AnswerBody> {
    let (status, name) = match fault {
        Fault::BadQuery { .. }
        | Fault::BadBody { .. }
        | Fault::BadRequest { .. }
        | Fault::Body(BodyError::Broken(_)) => (StatusCode::BAD_REQUEST, "BadRequest"),
        Fault::BodyTooLarge { .. } | Fault::Body(BodyError::TooLarge) => {
            (StatusCode::PAYLOAD_TOO_LARGE, "BodyTooLargeError")
        }
        Fault::Body(BodyError::TooSlow) => (StatusCode::REQUEST_TIMEOUT, "BodyTooSlowError"),
        Fault::HeadTooLarge { .. } => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "HeadTooLargeError"),
        Fault::SessionUnknown { .. } | Fault::NoSuchPath { .. } => (StatusCode::NOT_FOUND, "NotFoundError"),
        Fault::NoSuchMethod { .. } => (StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowedError"),
        Fault::ServerLocked { .. } => (StatusCode::CONFLICT, "ServerLockedError"),
        Fault::OtherStore { .. } => (StatusCode::CONFLICT, "OtherStoreError"),
        Fault::NoSocket { .. } => (StatusCode::UPGRADE_REQUIRED, "UpgradeRequiredError"),
        Fault::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "NotReadyError"),
        Fault::Spawn(error) => spawn(error),
        Fault::Registration(refused) => registration(refused),
        Fault::Route(error) => return route_error(error),
        Fault::Internal { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
    };
    let mut answer = answer(status, name, &fault.to_string(), json!({}));
    if status == StatusCode::UPGRADE_REQUIRED {
        answer.headers_mut().insert(UPGRADE, const { HeaderValue::from_static("websocket") });
    }
    answer
}

fn spawn(error: &SpawnError) -> (StatusCode, &'static str) {
    match error {
        SpawnError::Off => (StatusCode::FORBIDDEN, "SpawnOffError"),
        SpawnError::NotAllowed { .. } => (StatusCode::FORBIDDEN, "SpawnRefusedError"),
        SpawnError::NoDirectory { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "NoDirectoryError"),
        SpawnError::Full { .. } => (StatusCode::SERVICE_UNAVAILABLE, "SpawnLimitError"),
        SpawnError::Failed { .. } => (StatusCode::SERVICE_UNAVAILABLE, "SpawnFailedError"),
        SpawnError::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "NotReadyError"),
    }
}

fn registration(refused: &Refused) -> (StatusCode, &'static str) {
    match refused {
        Refused::Protocol { .. } => (StatusCode::BAD_REQUEST, "ProtocolUnsupportedError"),
        Refused::Malformed { .. } => (StatusCode::BAD_REQUEST, "BadRequest"),
        Refused::ForeignHost { .. } => (StatusCode::FORBIDDEN, "HostRefusedError"),
        Refused::OwnAddress { .. } => (StatusCode::CONFLICT, "OwnAddressError"),
        Refused::NoSuchProcess { .. } | Refused::OtherUsersProcess { .. } | Refused::NotItsSocket { .. } => {
            (StatusCode::FORBIDDEN, "ProcessRefusedError")
        }
        Refused::NotAnAgent { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "NotAnAgentError"),
        Refused::Full(_) => (StatusCode::SERVICE_UNAVAILABLE, "RegistrationsFullError"),
        Refused::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "NotReadyError"),
        Refused::Unknown { .. } => (StatusCode::NOT_FOUND, "NotFoundError"),
    }
}

/// The error answer itself; `data` gains the message.
fn answer(status: StatusCode, name: &'static str, message: &str, data: Value) -> Response<AnswerBody> {
    let mut all = Map::new();
    all.insert("message".to_owned(), Value::from(message));
    if let Value::Object(data) = data {
        all.extend(data);
    }
    with_body(status, name, &json!({ "name": name, "data": all }))
}

fn with_body(status: StatusCode, name: &'static str, body: &Value) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::from(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ERROR, HeaderValue::from_static(name));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        // A server that was started again answers within a second or two.
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

impl IntoResponse for Fault {
    fn into_response(self) -> AxumResponse {
        fault(&self).map(axum::body::Body::new)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use http::Request;
    use http_body_util::BodyExt;

    use super::*;
    use crate::{opencode::lists::List, proxy::body::RequestBody};

    fn session() -> SessionId {
        SessionId::try_new("ses_1").unwrap()
    }

    fn unsent(error: ConnectError) -> ForwardError {
        ForwardError::Unsent(error, Box::new(Request::new(RequestBody::EMPTY)))
    }

    async fn told(response: Response<AnswerBody>) -> (u16, String, Value) {
        let (parts, body) = response.into_parts();
        let whole = body.collect().await.unwrap().to_bytes();
        let told: Value = serde_json::from_slice(&whole).unwrap();
        assert_eq!(parts.headers["content-type"], "application/json");
        assert_eq!(parts.headers["x-pointsman-error"], told["name"].as_str().unwrap());
        assert!(told["data"]["message"].as_str().unwrap().len() > 10, "{told}");
        assert_eq!(parts.headers.contains_key("retry-after"), parts.status == 503);
        assert_eq!(parts.headers.contains_key("www-authenticate"), parts.status == 401);
        (parts.status.as_u16(), told["name"].as_str().unwrap().to_owned(), told["data"].clone())
    }

    #[tokio::test]
    async fn every_error_has_its_status_and_its_name() {
        let authority: http::uri::Authority = "127.0.0.1:1".parse().unwrap();
        let servers = || vec!["127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned()];
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let failed = ConnectError::Failed { authority: authority.clone(), source: refused };
        let waited = std::time::Duration::from_secs(2);
        let name = || "x".to_owned();
        let table = [
            (refusal(&Refusal::HostMalformed), 400, "HostMalformedError"),
            (refusal(&Refusal::HostUnknown(name())), 403, "HostUnknownError"),
            (refusal(&Refusal::OriginUnknown(name())), 403, "OriginRefusedError"),
            (refusal(&Refusal::CrossSite), 403, "OriginRefusedError"),
            (refusal(&Refusal::TokenNeeded), 401, "UnauthorizedError"),
            (refusal(&Refusal::OtherUser), 403, "UserRefusedError"),
            (refusal(&Refusal::UserUnknown), 403, "UserRefusedError"),
            (refusal(&Refusal::UserHidden), 403, "UserRefusedError"),
            (refusal(&Refusal::Loop), 508, "LoopDetectedError"),
            (route_error(&RouteError::NoServer), 503, "NoServerError"),
            (route_error(&RouteError::NoServerOfStore { session: session() }), 503, "NoServerOfStoreError"),
            (route_error(&RouteError::UnknownServer { name: name() }), 404, "ServerUnknownError"),
            (
                route_error(&RouteError::SeveralStores { session: session(), servers: servers() }),
                409,
                "AmbiguousSessionError",
            ),
            (
                route_error(&RouteError::AmbiguousScreen { candidates: servers() }),
                409,
                "AmbiguousScreenError",
            ),
            (
                route_error(&RouteError::AmbiguousDisposal { candidates: servers() }),
                409,
                "AmbiguousDisposalError",
            ),
            (
                route_error(&RouteError::OwnerUnreachable { session: session(), pids: vec![7] }),
                409,
                "OwnerUnreachableError",
            ),
            (forward_error(&unsent(failed)), 502, "ServerUnreachableError"),
            (forward_error(&unsent(ConnectError::TimedOut { authority, waited })), 504, "ServerTimeoutError"),
            (
                forward_error(&ForwardError::Unread { server: name(), source: "cut".into() }),
                502,
                "AnswerUnreadableError",
            ),
            (forward_error(&ForwardError::BadAddress { server: name() }), 502, "ServerAddressError"),
            (fault(&Fault::BadQuery { message: "limit is a number".into() }), 400, "BadRequest"),
            (fault(&Fault::BodyTooLarge { limit: 1 }), 413, "BodyTooLargeError"),
            (fault(&Fault::HeadTooLarge { limit: 1 }), 431, "HeadTooLargeError"),
            (fault(&Fault::SessionUnknown { session: "ses_1".into() }), 404, "NotFoundError"),
            (fault(&Fault::NoSuchPath { path: "/x".into() }), 404, "NotFoundError"),
            (
                fault(&Fault::NoSuchMethod { method: Method::POST, path: "/x".into() }),
                405,
                "MethodNotAllowedError",
            ),
            (fault(&Fault::NoSocket { path: "/ws", why: name() }), 426, "UpgradeRequiredError"),
            (fault(&Fault::ServerLocked { server: name() }), 409, "ServerLockedError"),
            (fault(&Fault::OtherStore { server: name(), session: session() }), 409, "OtherStoreError"),
            (fault(&BodyError::TooLarge.into()), 413, "BodyTooLargeError"),
            (fault(&BodyError::TooSlow.into()), 408, "BodyTooSlowError"),
            (route_error(&RouteError::OwnerSilent { session: session() }), 503, "OwnerSilentError"),
            (fault(&BodyError::Broken("it was cut".into()).into()), 400, "BadRequest"),
            (merge_error(&MergeError::NoServer), 503, "NoServerError"),
            (
                merge_error(&MergeError::TimedOut { list: List::Sessions, absences: Vec::new() }),
                504,
                "ServerTimeoutError",
            ),
            (
                merge_error(&MergeError::Failed { list: List::Sessions, absences: Vec::new() }),
                502,
                "ServerBrokeOffError",
            ),
            (fault(&Fault::NotReady), 503, "NotReadyError"),
            (fault(&Fault::Route(RouteError::NoServer)), 503, "NoServerError"),
            (fault(&Fault::Internal { what: "broken".into() }), 500, "InternalError"),
        ];
        for (response, status, name) in table {
            let (told_status, told_name, _) = told(response).await;
            assert_eq!((told_status, told_name.as_str()), (status, name));
        }
    }

    #[tokio::test]
    async fn an_ambiguity_names_what_can_be_meant_and_a_failure_whether_it_was_sent() {
        let candidates = vec!["127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned()];
        let error = RouteError::SeveralStores { session: session(), servers: candidates.clone() };
        let (_, _, data) = told(route_error(&error)).await;
        assert_eq!(data["servers"], json!(candidates));
        let error = RouteError::AmbiguousScreen { candidates: candidates.clone() };
        let (_, _, data) = told(route_error(&error)).await;
        assert_eq!(data["candidates"], json!(candidates));
        let (_, _, data) = told(forward_error(&ForwardError::BadAddress { server: "x y".into() })).await;
        assert_eq!(data["sent"], json!(false));
    }
}
