//! Every operation that a real server documents has its place in the table that routing rests on.

use std::collections::BTreeSet;

use pointsman::opencode::operations::{Subject, subject};

use crate::support::opencode::shared;

/// What concerns a whole process, or the store's own settings, and no session, directory or screen.
const CONCERN_NOTHING: [&str; 6] = [
    "DELETE /api/permission/saved/{id}",
    "GET /api/health",
    "GET /api/permission/saved",
    "GET /global/config",
    "GET /global/health",
    "POST /log",
];

/// The parameters that name what one process owns.
const OWNED: [&str; 5] = ["{sessionID}", "{requestID}", "{permissionID}", "{ptyID}", "{attemptID}"];

/// Its parameter has a name that means something else elsewhere.
const WORKSPACE: &str = "/experimental/workspace/{id}";

/// The operations of the version the tests run.
const OPERATIONS: usize = 188;

#[tokio::test]
async fn every_documented_operation_is_known_by_what_it_is_about() {
    let document = shared().await.lower.get("/doc").await;
    let mut unknown = BTreeSet::new();
    let mut count = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            if method == "parameters" {
                continue;
            }
            count += 1;
            let method = method.to_uppercase().parse().unwrap();
            let subject = subject(&method, path);
            if subject == Subject::Anything {
                unknown.insert(format!("{method} {path}"));
            }
            // `{…}` stands where clients write an id, and is taken for one.
            let about = match subject {
                Subject::Session { id, .. }
                | Subject::Request { id, .. }
                | Subject::Terminal { id }
                | Subject::Workspace { id } => Some(id),
                _ => None,
            };
            let owned = |part: &&str| OWNED.contains(part) || (*part == "{id}" && path == WORKSPACE);
            let names = path.split('/').rfind(owned);
            assert_eq!(about, names, "{method} {path}");
        }
    }
    let expected: BTreeSet<_> = CONCERN_NOTHING.iter().map(ToString::to_string).collect();
    assert_eq!(unknown, expected, "left: what no line of the table knows");
    assert_eq!(count, OPERATIONS);
}
