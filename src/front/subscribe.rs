//! From a request for a stream of events to what its subscriber is to see.

use std::{borrow::Cow, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, Response, header, request::Parts};
use thiserror::Error;

use super::describe::{StreamEvent, Wanted};
pub(super) use crate::proxy::named::pairs;
use crate::{
    api::{
        error::{self, Fault},
        wire::ErrorView,
    },
    events::{
        filter::{Filter, InvalidFilter},
        gzip::Gzipped,
        hub::{Hub, Joining},
        occasional::Occasional,
        opened::Opened,
        own::Present,
        subscriber::Subscription,
        view::{AttentionRule, Shape, View},
    },
    opencode::operations::Stream,
    proxy::{answer::AnswerBody, catalogue::reads_gzip, named, route::RouteError},
    registry::servers::{Servers, Snapshot},
};

/// Where our own stream is found.
pub(super) const OWN: &str = "/events";

/// Sent by browsers alone; `Sec-Fetch-Mode` is sent by Node's `fetch` as well.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");
const VARY: HeaderValue = HeaderValue::from_static("accept-encoding");

/// Our own stream in place of `stream`, for a program that has `opened` these directories.
pub(super) async fn subscribe(
    request: &Parts,
    stream: Stream,
    opened: Option<Opened>,
    hub: &Hub,
    second: &Occasional,
    servers: &Servers,
) -> Response<AnswerBody> {
    let shape = match stream {
        Stream::Directory => Shape::Directory,
        Stream::Global => Shape::Global,
        Stream::Api => Shape::Api,
    };
    let server = named::server(&request.headers);
    let view = View {
        shape,
        directory: named::directory(&request.uri, &request.headers).map(|directory| Arc::from(&*directory)),
        server: server.and_then(|name| servers.now().by_name(name).map(|server| server.id.0.clone())),
        attention: attention(request),
        opened,
        filter: Arc::default(),
    };
    let subscription = match shape {
        Shape::Global | Shape::Directory | Shape::Own => {
            hub.join(view, Joining { cursor: cursor(request), servers: Vec::new() })
        }
        Shape::Api => second.subscribe(view).await,
    };
    answer(request, subscription)
}

/// Our own stream: what happens on all servers, each event as one `data` of server-sent events.
///
/// It begins with a `pointsman.hello`, then what a client that comes back has missed, then what happens. A
/// `server.heartbeat` comes every 10 s. When pointsman stops, the stream ends with a `retry:`.
#[utoipa::path(
    get, path = "/events", tag = "events", operation_id = "events",
    params(
        Wanted,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that the client has seen.")
    ),
    responses(
        (
            status = 200, description = "The stream. The schema is that of the `data` of each event.",
            body = StreamEvent, content_type = "text/event-stream"
        ),
        (status = 400, description = "A parameter makes no sense.", body = ErrorView),
        (status = 404, description = "No such server.", body = ErrorView),
    ),
)]
pub(super) fn subscribe_own(request: &Parts, hub: &Hub, servers: &Servers) -> Response<AnswerBody> {
    match filter(pairs(request.uri.query().unwrap_or_default()), &servers.now()) {
        Ok(filter) => answer(request, join_own(filter, cursor(request), hub, servers)),
        Err(unmet) => unmet.response(),
    }
}

/// What our own stream tells one who wants to hear of what `filter` lets through.
pub(super) fn join_own(filter: Filter, cursor: Option<String>, hub: &Hub, servers: &Servers) -> Subscription {
    let view = View {
        shape: Shape::Own,
        directory: None,
        server: None,
        attention: AttentionRule::All,
        opened: None,
        filter: Arc::new(filter),
    };
    let servers = servers.now();
    let present = servers.iter().map(|server| Present {
        id: server.id.0.clone(),
        url: server.address.url(),
        directory: server.directory.clone(),
        state: server.state.as_str(),
    });
    hub.join(view, Joining { cursor, servers: present.collect() })
}

/// Why what somebody wants to hear of cannot be told.
#[derive(Debug, Error)]
pub(super) enum Unmet {
    /// It makes no sense.
    #[error(transparent)]
    Invalid(#[from] InvalidFilter),
    /// It is about somebody who is not there.
    #[error(transparent)]
    Unknown(#[from] RouteError),
}

impl Unmet {
    /// In one stable word.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "BadRequest",
            Self::Unknown(_) => "ServerUnknownError",
        }
    }

    /// As an answer.
    pub(super) fn response(&self) -> Response<AnswerBody> {
        match self {
            Self::Invalid(invalid) => error::fault(&Fault::BadQuery { message: invalid.to_string() }),
            Self::Unknown(unknown) => error::route_error(unknown),
        }
    }
}

/// The filter that parameters describe.
pub(super) fn filter<'p>(
    parameters: impl Iterator<Item = (Cow<'p, str>, Cow<'p, str>)>,
    servers: &Snapshot,
) -> Result<Filter, Unmet> {
    let mut filter = Filter::default();
    for (key, value) in parameters {
        if key != "server" {
            filter.add(&key, &value)?;
            continue;
        }
        for name in value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let Some(server) = servers.by_name(name) else {
                return Err(RouteError::UnknownServer { name: name.to_owned() }.into());
            };
            filter.add_server(server.id.0.clone())?;
        }
    }
    Ok(filter.in_order())
}

/// The id of the last event that the client has seen: as a browser sends it when it connects again, or in the query for
/// who cannot set headers.
pub(super) fn cursor(request: &Parts) -> Option<String> {
    let header =
        request.headers.get(LAST_EVENT_ID).map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    let query = || named::value(request.uri.query()?, &["last_event_id"]).map(std::borrow::Cow::into_owned);
    header.filter(|id| !id.is_empty()).or_else(query).filter(|id| !id.is_empty())
}

fn answer(request: &Parts, events: Subscription) -> Response<AnswerBody> {
    let gzip = reads_gzip(&request.headers);
    let body = if gzip {
        AnswerBody::Gzipped(Box::new(Gzipped::new(events)))
    } else {
        AnswerBody::Events(Box::new(events))
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    stream_headers(headers);
    headers.insert(header::VARY, VARY);
    if gzip {
        headers.insert(header::CONTENT_ENCODING, GZIP);
    }
    response
}

/// A browser shows calls for attention to a person; anything else might answer them by itself.
fn attention(request: &Parts) -> AttentionRule {
    let browser =
        request.headers.contains_key(header::ORIGIN) || request.headers.contains_key(SEC_FETCH_SITE);
    let asked = request.uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "attention=all"));
    if browser || asked { AttentionRule::All } else { AttentionRule::Own }
}

/// As servers send them: nobody on the way may keep, change or hold back a stream.
fn stream_headers(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_TYPE, const { HeaderValue::from_static("text/event-stream") });
    headers.insert(header::CACHE_CONTROL, const { HeaderValue::from_static("no-cache, no-transform") });
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, const { HeaderValue::from_static("nosniff") });
    headers.insert(ACCEL_BUFFERING, const { HeaderValue::from_static("no") });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_browsers_and_who_asks_get_every_call_for_attention() {
        let of = |uri: &str, header: Option<(&str, &str)>| {
            let mut request = http::Request::get(uri);
            if let Some((name, value)) = header {
                request = request.header(name, value);
            }
            attention(&request.body(()).unwrap().into_parts().0)
        };
        assert_eq!(of("/global/event", Some(("origin", "http://localhost:3000"))), AttentionRule::All);
        assert_eq!(of("/global/event", Some(("sec-fetch-site", "same-origin"))), AttentionRule::All);
        assert_eq!(of("/global/event?attention=all", None), AttentionRule::All);
        assert_eq!(of("/global/event", None), AttentionRule::Own);
        // Node's fetch; a script may approve whatever it is asked.
        assert_eq!(of("/global/event", Some(("sec-fetch-mode", "cors"))), AttentionRule::Own);
    }
}
