//! From what went wrong to what the client is told: the one place that knows a status for each.
//!
//! The body is the one that clients of the agent parse: `{"name":"…","data":{"message":"…"}}`. The name is stable, the
//! message is for people and holds no secret. An answer of ours is marked by [`ERROR`], so that nobody mistakes it for
//! a server's. Where a request was on its way to a server, `data.sent` tells whether any of it was sent: if not, it is
//! safe to send it again.

mod fault;

use axum::response::{IntoResponse, Response as AxumResponse};
use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE},
};
use serde_json::{Map, Value, json};

pub use self::fault::Fault;
use crate::{
    domain::ask::AskKind,
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
mod tests;
