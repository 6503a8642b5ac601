//! Lists of which every server has a part: both are asked, and the answer is what both say together.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    check::Verdict,
    document::Operation,
    request,
    two_servers::{Sent, TwoServers},
};
use crate::support::daemon::Answer;

/// Turns begin and end while lists are read; a merged one is compared with direct ones that nothing came between.
const ATTEMPTS: usize = 5;

pub async fn over_servers(servers: &TwoServers, operation: &Operation) -> Verdict {
    let sent = equals_the_union(servers, operation).await?;
    for at in [0, 1] {
        if !sent.reached.contains(&at) {
            return Err(format!("server {at} was not asked: {:?}", sent.reached));
        }
    }
    Ok(())
}

/// Servers of one store say the same, so one is enough; the mark of a merged list is that it says whose its rows are.
pub async fn over_stores(servers: &TwoServers, operation: &Operation) -> Verdict {
    let sent = equals_the_union(servers, operation).await?;
    if !sent.answer.server().is_empty() {
        return Err(format!("it is the answer of {} alone", sent.answer.server()));
    }
    if operation.path == "/project" {
        return Ok(());
    }
    let answer = sent.answer.json();
    for side in &servers.sides {
        let rows = answer.get("data").unwrap_or(&answer).as_array();
        let own = rows.into_iter().flatten().find(|row| row["id"] == side.session);
        if own.is_none_or(|row| row["ownerPort"] != side.port()) {
            return Err(format!("it does not tell the owner of {}: {own:?}", side.session));
        }
    }
    Ok(())
}

async fn equals_the_union(servers: &TwoServers, operation: &Operation) -> Result<Sent, String> {
    let [one, two] = &servers.sides;
    let path = request::address(operation, one, "");
    let mut seen = String::new();
    for _ in 0..ATTEMPTS {
        let direct = [one.direct(&path).await, two.direct(&path).await];
        let sent = servers.send(servers.daemon.request("GET", &path)).await;
        let union: BTreeMap<_, _> = direct.iter().flat_map(rows).collect();
        let merged: BTreeMap<_, _> = rows(&sent.answer).into_iter().collect();
        let alike = |of: fn(&Answer) -> String| direct.iter().all(|direct| of(direct) == of(&sent.answer));
        let whole = rows(&sent.answer).len() == merged.len();
        if whole
            && merged == union
            && alike(|answer| answer.status.to_string())
            && alike(|answer| answer.header("content-type").to_owned())
        {
            // What neither has anything of, they agree on whoever was asked. Turns of the first interface, which run
            // here, are not in `active`.
            let fed = direct.iter().all(|direct| !rows(direct).is_empty());
            if !fed && operation.path != "/api/session/active" {
                return Err("a server has no row, so nothing is shown".to_owned());
            }
            return Ok(sent);
        }
        seen = format!("merged {merged:?}\nunion {union:?}").chars().take(3000).collect();
    }
    Err(format!("it is not the union of what both say: {seen}"))
}

/// The rows of a list in any of its shapes, by id; without what pointsman adds.
fn rows(answer: &Answer) -> Vec<(String, Value)> {
    let answer = answer.json();
    let list = answer.get("data").unwrap_or(&answer);
    match list {
        Value::Array(rows) => rows.iter().map(|row| (row["id"].to_string(), without_owner(row))).collect(),
        Value::Object(rows) => rows.iter().map(|(id, row)| (id.clone(), row.clone())).collect(),
        other => panic!("no list: {other}"),
    }
}

fn without_owner(row: &Value) -> Value {
    let mut row = row.clone();
    row.as_object_mut().map(|row| row.remove("ownerPort"));
    row
}
