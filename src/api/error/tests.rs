//! Every error has its status, its name and what helps.

use std::io;

use http::{Method, Request};
use http_body_util::BodyExt;

use super::*;
use crate::{domain::ids::SessionId, opencode::lists::List, proxy::body::RequestBody};

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
        (route_error(&RouteError::AmbiguousScreen { candidates: servers() }), 409, "AmbiguousScreenError"),
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
