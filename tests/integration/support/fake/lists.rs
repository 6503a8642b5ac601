//! The session lists, with the filters, orders and cursors of the real ones.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{
    Life,
    store::{FakeSession, FakeStore},
};

type Parameters = BTreeMap<String, String>;

/// `GET /session`: the project of the server, or one named directory, newest change first.
pub(super) fn session(life: &Life, own: &str, named: Option<&str>, parameters: &Parameters) -> Value {
    let store = &life.store;
    let project = store.project_of(named.unwrap_or(own));
    let whole_project = named.is_none() || parameters.get("scope").is_some_and(|scope| scope == "project");
    let mut rows = matching(store, parameters);
    rows.retain(|row| match named {
        Some(named) if !whole_project => row.directory == named,
        _ => store.project_of(&row.directory) == project,
    });
    newest_change_first(&mut rows);
    // -1 lists everything, 0 nothing; what is not a number counts as absent.
    let limit = number(parameters, "limit").unwrap_or(100);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    rows.iter().take(limit).map(|row| row.to_v1(store)).collect()
}

/// `GET /experimental/session`: the whole store, and the cursor of the next page.
pub(super) fn experimental(life: &Life, parameters: &Parameters) -> (Value, Option<u64>) {
    let store = &life.store;
    let mut rows = matching(store, parameters);
    if let Some(before) = number(parameters, "cursor").and_then(|cursor| u64::try_from(cursor).ok()) {
        rows.retain(|row| row.updated < before);
    }
    if let Some(directory) = parameters.get("directory") {
        rows.retain(|row| row.directory == *directory);
    }
    newest_change_first(&mut rows);
    let limit = number(parameters, "limit").and_then(|limit| usize::try_from(limit).ok()).unwrap_or(100);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let cursor = rows.last().filter(|_| more).map(|row| row.updated);
    let rows = rows.iter().map(|row| {
        let mut value = row.to_v1(store);
        value["project"] = json!({"id": store.project_of(&row.directory), "worktree": row.directory});
        value
    });
    (rows.collect(), cursor)
}

/// `GET /api/session`: the whole store by creation, and cursors both ways. The error is the body of a 400.
pub(super) fn api(life: &Life, parameters: &Parameters) -> Result<Value, Value> {
    let store = &life.store;
    let limit = match number(parameters, "limit") {
        Some(limit) if limit < 1 => {
            let message = format!("Expected a value greater than 0, got {limit}\n  at [\"limit\"]");
            return Err(json!({"_tag": "InvalidRequestError", "message": message, "kind": "Query"}));
        }
        limit => limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(50),
    };
    let cursor = parameters.get("cursor").map(|text| decode(text)).transpose()?;
    let order = parameters.get("order").cloned();
    let order = order.or_else(|| cursor.as_ref()?["order"].as_str().map(str::to_owned));
    let ascending = order.as_deref() == Some("asc");
    let anchor = cursor.as_ref().map(|cursor| &cursor["anchor"]);
    let back = anchor.is_some_and(|anchor| anchor["direction"] == "previous");

    let mut rows = matching(store, parameters);
    if let Some(directory) = parameters.get("directory") {
        rows.retain(|row| row.directory == *directory);
    }
    let key = |row: &FakeSession| (row.created, row.id.clone());
    rows.sort_by_key(key);
    // Rows lie in the direction of travel: descending onwards, or ascending backwards, is downwards.
    let downwards = ascending == back;
    if downwards {
        rows.reverse();
    }
    if let Some(anchor) = anchor {
        let place =
            (anchor["time"].as_u64().unwrap_or(0), anchor["id"].as_str().unwrap_or_default().to_owned());
        rows.retain(|row| if downwards { key(row) < place } else { key(row) > place });
    }
    rows.truncate(limit);
    if back {
        rows.reverse();
    }
    let cursor_at = |row: Option<&FakeSession>, direction: &str| {
        row.map(|row| {
            let anchor = json!({"id": row.id, "time": row.created, "direction": direction});
            let cursor = match &order {
                Some(order) => json!({"order": order, "anchor": anchor}),
                None => json!({"anchor": anchor}),
            };
            URL_SAFE_NO_PAD.encode(cursor.to_string())
        })
    };
    Ok(json!({
        "data": rows.iter().map(|row| row.to_v2(store)).collect::<Vec<_>>(),
        "cursor": {"previous": cursor_at(rows.first(), "previous"), "next": cursor_at(rows.last(), "next")},
    }))
}

fn decode(cursor: &str) -> Result<Value, Value> {
    let decoded = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    decoded.ok_or_else(|| json!({"_tag": "InvalidCursorError", "message": "Invalid cursor"}))
}

/// `GET /project`: every project of the store, that of the asked directory first.
pub(super) fn projects(life: &Life, own: &Value) -> Value {
    let mut projects = vec![own.clone()];
    for row in life.store.rows() {
        let id = json!(life.store.project_of(&row.directory));
        if projects.iter().all(|known| known["id"] != id) {
            let mut project = own.clone();
            project["id"] = id;
            project["worktree"] = json!(row.directory);
            projects.push(project);
        }
    }
    projects.into()
}

/// The filters all lists share.
fn matching(store: &FakeStore, parameters: &Parameters) -> Vec<FakeSession> {
    let mut rows = store.rows();
    if parameters.get("roots").is_some_and(|roots| roots == "true") {
        rows.retain(|row| row.parent.is_none());
    }
    if let Some(start) = number(parameters, "start") {
        rows.retain(|row| i64::try_from(row.updated).unwrap_or(i64::MAX) >= start);
    }
    if let Some(search) = parameters.get("search") {
        let search = search.to_lowercase();
        rows.retain(|row| row.title.to_lowercase().contains(&search));
    }
    rows
}

fn newest_change_first(rows: &mut [FakeSession]) {
    rows.sort_by(|one, other| (other.updated, &other.id).cmp(&(one.updated, &one.id)));
}

fn number(parameters: &Parameters, name: &str) -> Option<i64> {
    parameters.get(name)?.parse().ok()
}
