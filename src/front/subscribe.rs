//! From a request for a stream of events to what its subscriber is to see.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Response, header, request::Parts};

use crate::{
    events::{
        hub::Hub,
        occasional::Occasional,
        opened::Opened,
        view::{AttentionRule, Shape, View},
    },
    opencode::operations::Stream,
    proxy::{answer::AnswerBody, named},
    registry::servers::Servers,
};

/// Sent by browsers alone; `Sec-Fetch-Mode` is sent by Node's `fetch` as well.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

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
        server: server.and_then(|name| servers.now().by_name(name).map(|server| server.key)),
        attention: attention(request),
        opened,
    };
    let subscription = match shape {
        Shape::Global | Shape::Directory => hub.subscribe(view),
        Shape::Api => second.subscribe(view).await,
    };
    let mut response = Response::new(AnswerBody::Events(Box::new(subscription)));
    stream_headers(response.headers_mut());
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
