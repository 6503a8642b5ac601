//! What the small body of some operations names: a session, or where a new one is to be.

use bytes::Bytes;
use serde::Deserialize;

use super::Router;
use crate::{domain::ids::SessionId, registry::sessions::Found};

/// The ids that the small body of some operations holds.
#[derive(Debug, Default, Deserialize)]
struct Ids {
    #[serde(rename = "sessionID")]
    session: Option<String>,
    #[serde(rename = "parentID")]
    parent: Option<String>,
    id: Option<String>,
    #[serde(default)]
    events: Vec<AggregateId>,
}

/// Where a new session of the second interface is to be.
#[derive(Debug, Deserialize)]
struct Placed {
    location: Location,
}

#[derive(Debug, Deserialize)]
struct Location {
    directory: String,
}

#[derive(Debug, Deserialize)]
struct AggregateId {
    #[serde(rename = "aggregateID")]
    aggregate: Option<String>,
}

impl Router {
    /// The session that a new one is bound to: its parent, or the one that has its id already.
    pub(super) fn known_session_in(&self, body: &Bytes) -> Option<SessionId> {
        let ids: Ids = serde_json::from_slice(body).ok()?;
        let parent = ids.parent.and_then(|id| SessionId::try_new(&id).ok());
        parent.or_else(|| {
            let id = SessionId::try_new(&ids.id?).ok()?;
            (self.registry.find(&id) != Found::Unknown).then_some(id)
        })
    }
}

/// The session that a body names: by itself, by the events it replays, or as a key of the history it asks for.
pub(super) fn session_in(body: &Bytes) -> Option<SessionId> {
    let ids: Ids = serde_json::from_slice(body).unwrap_or_default();
    let by_name = ids.session.or_else(|| ids.events.into_iter().find_map(|event| event.aggregate));
    match by_name {
        Some(id) => SessionId::try_new(&id).ok(),
        None => {
            let history: std::collections::BTreeMap<String, u64> = serde_json::from_slice(body).ok()?;
            history.keys().find_map(|id| SessionId::try_new(id).ok())
        }
    }
}

/// The directory that a new session is to be made in, as the body of the second interface says it. Servers heed it
/// before any that the request names.
pub(super) fn directory_in(body: &Bytes) -> Option<String> {
    let placed: Placed = serde_json::from_slice(body).ok()?;
    Some(placed.location.directory).filter(|directory| !directory.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_new_session_is_read_from_its_body_if_it_has_one() {
        let of = |body: &'static str| directory_in(&Bytes::from_static(body.as_bytes()));
        let placed = r#"{"agent":"build","location":{"directory":"/a b","workspaceID":"wrk_1"}}"#;
        assert_eq!(of(placed).as_deref(), Some("/a b"));
        for other in
            ["", "{}", r#"{"directory":"/a"}"#, r#"{"location":{"directory":""}}"#, r#"{"location":7}"#]
        {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
