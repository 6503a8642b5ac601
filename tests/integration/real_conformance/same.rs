//! Whether an answer through pointsman is the one that the server itself gives.

use std::collections::BTreeSet;

use serde_json::Value;

use super::two_servers::Side;
use crate::support::daemon::Answer;

/// Compares with what the server says when it is asked directly. Where two direct answers differ from each other, a
/// difference proves nothing and is not counted; nothing else is left out.
pub async fn same(through: &Answer, side: &Side, path: &str) -> Result<(), String> {
    let direct = side.direct(path).await;
    let differing = differences(through, &direct);
    if differing.is_empty() {
        return Ok(());
    }
    let (again, once_more) = (side.direct(path).await, side.direct(path).await);
    let varying: BTreeSet<_> =
        differences(&direct, &again).union(&differences(&again, &once_more)).cloned().collect();
    let left: Vec<_> = differing.difference(&varying).collect();
    if left.is_empty() {
        return Ok(());
    }
    let short = |answer: &Answer| answer.text().chars().take(300).collect::<String>();
    Err(format!(
        "{path} through pointsman differs at {left:?}: {} {:?} instead of {} {:?}",
        through.status,
        short(through),
        direct.status,
        short(&direct)
    ))
}

/// The places at which two answers differ: `status`, `content-type`, `body`, or a pointer into the JSON.
fn differences(one: &Answer, other: &Answer) -> BTreeSet<String> {
    let mut places = BTreeSet::new();
    if one.status != other.status {
        places.insert("status".to_owned());
    }
    if one.header("content-type") != other.header("content-type") {
        places.insert("content-type".to_owned());
    }
    if one.body == other.body {
        return places;
    }
    let json = |answer: &Answer| serde_json::from_slice::<Value>(&answer.body).ok();
    match (json(one), json(other)) {
        (Some(one), Some(other)) => compare(&one, &other, "", &mut places),
        _ => {
            places.insert("body".to_owned());
        }
    }
    places
}

fn compare(one: &Value, other: &Value, place: &str, places: &mut BTreeSet<String>) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            for key in one.keys().chain(other.keys()) {
                let (one, other) = (one.get(key), other.get(key));
                compare_both(one, other, &format!("{place}/{key}"), places);
            }
        }
        (Value::Array(one), Value::Array(other)) => {
            for at in 0..one.len().max(other.len()) {
                compare_both(one.get(at), other.get(at), &format!("{place}/{at}"), places);
            }
        }
        _ if one != other => {
            places.insert(place.to_owned());
        }
        _ => {}
    }
}

fn compare_both(one: Option<&Value>, other: Option<&Value>, place: &str, places: &mut BTreeSet<String>) {
    match (one, other) {
        (Some(one), Some(other)) => compare(one, other, place, places),
        _ => {
            places.insert(place.to_owned());
        }
    }
}
