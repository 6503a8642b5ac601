//! The operations that a server documents, and how they differ from those that are expected.

use std::{collections::BTreeSet, fmt};

use serde_json::Value;

use super::expected::{Class, Expected};

/// One operation, such as `GET /session/{sessionID}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Operation {
    pub method: String,
    /// As documented, with names in braces where ids stand.
    pub path: String,
}

impl Operation {
    pub fn is(&self, text: &str) -> bool {
        text.split_once(' ') == Some((self.method.as_str(), self.path.as_str()))
    }

    pub fn reads(&self) -> bool {
        self.method == "GET"
    }

    /// Whether it belongs to the second interface.
    pub fn is_second(&self) -> bool {
        self.path.starts_with("/api/")
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// All operations of an `OpenAPI` document.
pub fn operations(document: &Value) -> BTreeSet<Operation> {
    let mut operations = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("a document has paths") {
        for method in item.as_object().expect("a path has operations").keys() {
            if method != "parameters" {
                operations.insert(Operation { method: method.to_uppercase(), path: path.clone() });
            }
        }
    }
    operations
}

/// What is expected of an operation.
pub fn class_of(operation: &Operation, expected: Expected) -> Option<Class> {
    let of = |(_, texts): &&(Class, &[&str])| texts.iter().any(|text| operation.is(text));
    expected.iter().find(of).map(|&(class, _)| class)
}

/// Operations without an expectation, and expectations without an operation or with more than one line.
pub fn disagreements(operations: &BTreeSet<Operation>, expected: Expected) -> Vec<String> {
    let mut faults = Vec::new();
    for operation in operations {
        if class_of(operation, expected).is_none() {
            faults.push(format!("{operation}: nothing is expected of it; give it a line in expected.rs"));
        }
    }
    let mut seen = BTreeSet::new();
    for text in expected.iter().flat_map(|(_, texts)| texts.iter()) {
        if !operations.iter().any(|operation| operation.is(text)) {
            faults
                .push(format!("{text}: the server documents it no longer; take its line out of expected.rs"));
        }
        if !seen.insert(text) {
            faults.push(format!("{text}: stands in expected.rs twice"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn new_operations_and_vanished_ones_are_named() {
        let document = json!({"paths": {"/a": {"get": {}, "parameters": []}, "/new": {"post": {}}}});
        let expected: Expected = &[(Class::Default, &["GET /a", "GET /gone", "GET /a"])];
        let faults = disagreements(&operations(&document), expected);
        let names: Vec<_> = faults.iter().filter_map(|fault| fault.split(':').next()).collect();
        assert_eq!(names, ["POST /new", "GET /gone", "GET /a"]);
    }
}
