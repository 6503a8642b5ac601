//! Every operation that a real server documents is answered by whoever must answer it, and as by that server itself.
//!
//! Two servers of one store run in two projects, each behind a relay that notes what passes; pointsman stands before
//! the relays. Each operation of `/doc` has its line in [`expected`], and a request for it is sent through pointsman
//! for either server in turn: what the relays noted says who was asked. An operation without a line fails by its
//! name, and so does a line without an operation.

mod check;
mod document;
mod expected;
mod merged;
mod raise;
mod request;
mod same;
mod streams;
mod two_servers;

use self::{
    document::{class_of, disagreements, operations},
    expected::{Class, EXPECTED},
    two_servers::TwoServers,
};

#[tokio::test]
async fn every_documented_operation_is_answered_by_whoever_must_answer_it() {
    let servers = TwoServers::start().await;
    let documented = operations(&servers.sides[0].server.get("/doc").await);
    let mut faults = disagreements(&documented, EXPECTED);
    // Merged lists come first, while nothing but what they are to show has been made.
    let mut expected: Vec<(Class, _)> =
        documented.iter().filter_map(|operation| Some((class_of(operation, EXPECTED)?, operation))).collect();
    expected.sort();
    for (class, operation) in expected {
        if let Err(fault) = servers.check(operation, class).await {
            faults.push(format!("{operation} ({class:?}): {fault}"));
        }
    }
    assert!(faults.is_empty(), "{} operations:\n{}", faults.len(), faults.join("\n"));
}
