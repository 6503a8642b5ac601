//! Our own streams as `/openapi.json` describes them: `/events`, `/ws` and every event of ours that they carry.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{
    IntoParams, Modify, OpenApi, ToSchema,
    openapi::{RefOr, Schema},
};

use super::{socket, subscribe};
use crate::events::own::PointsmanEvent;

/// The part of the document that is about streams.
#[derive(OpenApi)]
#[openapi(
    paths(subscribe::subscribe_own, socket::open),
    components(schemas(StreamEvent, socket::Said, socket::Reply)),
    modifiers(&Joined),
    tags((name = "events", description = "What happens, as it happens.")),
)]
pub struct Streams;

/// A wish is a part of a message, whose `type` stands beside its fields: described as closed, it would refuse that.
struct Joined;

impl Modify for Joined {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let schemas = document.components.as_mut().map(|components| &mut components.schemas);
        if let Some(RefOr::T(Schema::Object(wish))) = schemas.and_then(|schemas| schemas.get_mut("Wish")) {
            wish.additional_properties = None;
        }
    }
}

/// What a client of `/events` or `/ws` wants to hear of. An event must suit all that is given.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "described here, read by `events::filter`")]
pub(super) struct Wanted {
    /// The sessions whose turns are told, separated by commas.
    #[param(example = "ses_e021c7fa2ffe8VGOoFNM8lM5q9")]
    session: Option<String>,
    /// A directory; several by several parameters.
    #[param(example = "/home/ann/shop")]
    directory: Option<Vec<String>>,
    /// The servers: ids, `host:port` or ports, separated by commas.
    #[param(example = "4302")]
    server: Option<String>,
    /// The types, separated by commas; a `*` at the end stands for any rest. `sync` and `tui.*` come only if named.
    #[param(rename = "type", example = "session.*,message.*")]
    kind: Option<String>,
    /// Whether `session.created`, `session.updated`, `session.deleted` and `pointsman.*` come whatever the others say.
    #[param(default = true)]
    lifecycle: Option<bool>,
    /// The id of the last event that the client has seen, for one that cannot set `Last-Event-ID`.
    #[param(example = "k3VbQx0a.4711")]
    last_event_id: Option<String>,
}

/// One event of `/events` and `/ws`.
#[derive(ToSchema)]
#[schema(example = json!({
    "directory": "/home/ann/shop", "project": "0c3f9f3d",
    "payload": {
        "id": "evt_1fdef41de0012TjaEYQtQ9h1pI", "type": "session.idle",
        "properties": { "sessionID": "ses_e021c7fa2ffe8VGOoFNM8lM5q9" }
    },
    "server": "srv_c92d9177f4ebe5f9", "id": "k3VbQx0a.4711"
}))]
#[allow(dead_code, reason = "the agents' events are passed on as they are, never made from this")]
pub(super) struct StreamEvent {
    /// The directory it is about; left out for what concerns all.
    #[schema(nullable = false)]
    directory: Option<String>,
    /// The project of that directory, as its server names it.
    #[schema(nullable = false)]
    project: Option<String>,
    /// The event.
    payload: Payload,
    /// The id of the server that emitted it; left out for our own.
    #[schema(nullable = false)]
    server: Option<String>,
    /// The same as the SSE `id`; left out where the client's place stays what it was.
    #[schema(nullable = false)]
    id: Option<String>,
}

/// One of ours, or one of an agent's.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(example = json!({
    "id": "evt_1fdef41de0012TjaEYQtQ9h1pI", "type": "pointsman.restarted", "properties": { "clean": true }
}))]
#[allow(dead_code, reason = "see above")]
enum Payload {
    Pointsman(PointsmanEvent<'static>),
    Agent(AgentEvent),
}

/// An event as OpenCode documents it, under `Event` of its own `/doc`. `server.connected` and `server.heartbeat` of our
/// streams have this form too.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "evt_1fdef41de0012TjaEYQtQ9h1pI", "type": "session.idle",
    "properties": { "sessionID": "ses_e021c7fa2ffe8VGOoFNM8lM5q9" }
}))]
#[allow(dead_code, reason = "see above")]
struct AgentEvent {
    /// Its id, where its server gave it one.
    #[schema(nullable = false)]
    id: Option<String>,
    /// Its type, which is none of ours.
    #[schema(pattern = "^(?!pointsman\\.)")]
    r#type: String,
    /// What it tells; a `sync` event has `syncEvent` instead.
    #[schema(nullable = false)]
    properties: Option<Map<String, Value>>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{events::filter::Filter, front::subscribe::filter, registry::servers::Snapshot};

    /// Every parameter of an operation by its name, with its example.
    fn parameters(path: &str) -> Vec<(String, Value)> {
        let document = serde_json::to_value(Streams::openapi()).unwrap();
        let parameters = document["paths"][path]["get"]["parameters"].as_array().unwrap().clone();
        let query = parameters.into_iter().filter(|parameter| parameter["in"] == "query");
        query.map(|known| (known["name"].as_str().unwrap().to_owned(), known["example"].clone())).collect()
    }

    #[test]
    fn every_parameter_that_is_described_is_read() {
        let servers = Snapshot::default();
        for path in ["/events", "/ws"] {
            let mut read = BTreeSet::new();
            for (name, example) in parameters(path) {
                let value = if name == "lifecycle" { "false" } else { example.as_str().unwrap() };
                let filter = filter([(name.as_str().into(), value.into())].into_iter(), &servers);
                match &*name {
                    // There is no server at all.
                    "server" => assert!(filter.is_err()),
                    "last_event_id" => {
                        let request = http::Request::get(format!("/events?{name}={value}")).body(()).unwrap();
                        assert_eq!(subscribe::cursor(&request.into_parts().0).as_deref(), Some(value));
                    }
                    _ => assert_ne!(filter.unwrap(), Filter::default(), "{name}"),
                }
                read.insert(name);
            }
            assert_eq!(read.len(), 6, "{read:?}");
        }
    }
}
