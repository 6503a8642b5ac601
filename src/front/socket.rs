//! `/ws`: our own stream for clients that want one connection both ways.
//!
//! The same events, filters and cursor as on `/events`, by the same subscriptions. Leaves to others: what is said on the
//! connection (`conversation`), and what a client may wish for (`wish`).

mod conversation;
mod wish;

use std::sync::Arc;

use http::{Request, Response, request::Parts};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::server::create_response_with_body,
        protocol::{Role, WebSocketConfig},
    },
};
use tokio_util::task::TaskTracker;

use self::{conversation::Conversation, wish::Wish};
pub(super) use self::{conversation::Reply, wish::Said};
use super::{
    describe::{StreamEvent, Wanted},
    subscribe::{self, cursor, filter, join_own, pairs},
};
use crate::{
    api::{
        error::{self, Fault},
        wire::ErrorView,
    },
    events::hub::Hub,
    proxy::answer::AnswerBody,
    registry::Registry,
};

/// Where it is found.
pub(super) const SOCKET: &str = "/ws";

/// What a client may say at once. The longest wish that makes sense is a few hundred names.
const MOST_SAID: usize = 64 * 1024;

/// How much is read at once, and written at once of what is short: each connection keeps this.
const BUFFER: usize = 4 * 1024;

/// Our own stream as a WebSocket.
///
/// Each text message of pointsman is one event, the same that `/events` has as `data`, or a `Reply` to what the client
/// said. Each text message of the client is a `Said`: it may say at any time what it wants to hear of instead.
// `tasks` keeps count of the conversation.
#[utoipa::path(
    get, path = "/ws", tag = "events", operation_id = "socket",
    params(Wanted),
    responses(
        (
            status = 101, description = "The conversation. The schema is that of the messages that are no `Reply`.",
            body = StreamEvent
        ),
        (status = 400, description = "A parameter makes no sense.", body = ErrorView),
        (status = 404, description = "No such server.", body = ErrorView),
        (status = 426, description = "The request opens no WebSocket.", body = ErrorView),
    ),
)]
pub(super) fn open(
    mut parts: Parts,
    hub: &Hub,
    registry: &Arc<Registry>,
    tasks: &TaskTracker,
) -> Response<AnswerBody> {
    let query = pairs(parts.uri.query().unwrap_or_default());
    let filter = match filter(query, &registry.servers.now()) {
        Ok(filter) => filter,
        Err(unmet) => return unmet.response(),
    };
    let cursor = cursor(&parts);
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let request = Request::from_parts(parts, ());
    let response = match (upgrade, create_response_with_body(&request, || AnswerBody::EMPTY)) {
        (Some(upgrade), Ok(response)) => {
            let (hub, registry) = (hub.clone(), Arc::clone(registry));
            let first = join_own(filter, cursor, &hub, &registry.servers);
            let join = move |wish: Wish| {
                let filter = subscribe::filter(wish.pairs(), &registry.servers.now())?;
                Ok(join_own(filter, wish.last_event_id, &hub, &registry.servers))
            };
            tasks.spawn(async move {
                match upgrade.await {
                    Ok(connection) => {
                        let stream = TokioIo::new(connection);
                        let socket =
                            WebSocketStream::from_raw_socket(stream, Role::Server, Some(bounds())).await;
                        Conversation::new(socket, first, join).run().await;
                    }
                    Err(error) => tracing::debug!(%error, "a connection did not become a socket"),
                }
            });
            return response;
        }
        (None, _) => "it asks for none".to_owned(),
        (_, Err(error)) => error.to_string(),
    };
    error::fault(&Fault::NoSocket { path: SOCKET, why: response })
}

fn bounds() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_message_size(Some(MOST_SAID))
        .max_frame_size(Some(MOST_SAID))
}
