//! What `/openapi.json` promises is what there is.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::town::Town;
use crate::{
    api::{routes, wire},
    domain::{evidence::Evidence, kind::Kind},
};

async fn document() -> Value {
    Town::new(0).get("/openapi.json").await
}

#[tokio::test]
async fn every_route_is_described_and_every_description_has_a_route() {
    let document = document().await;
    let served: BTreeSet<(String, String)> = routes()
        .into_iter()
        .flat_map(|(path, methods, _)| {
            methods.iter().map(move |method| (path.to_owned(), method.as_str().to_lowercase()))
        })
        // Answered before a request comes to these endpoints.
        .chain(["/events", "/ws"].map(|path| (path.to_owned(), "get".to_owned())))
        .collect();
    let described: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, operations)| {
            operations.as_object().unwrap().keys().map(move |method| (path.clone(), method.clone()))
        })
        .collect();
    assert_eq!(served, described);
}

/// What tells whether something is as the schema of this name says.
fn validator(document: &Value, name: &str) -> jsonschema::Validator {
    let mut schema = document.clone();
    schema["$ref"] = format!("#/components/schemas/{name}").into();
    jsonschema::draft202012::new(&schema).unwrap()
}

#[tokio::test]
async fn every_example_is_one() {
    fn is<T: DeserializeOwned>(example: &Value) {
        serde_json::from_value::<T>(example.clone()).unwrap();
    }
    let document = document().await;
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        let example = schema.get("example").unwrap_or_else(|| panic!("{name} has no example: {schema}"));
        let valid = validator(&document, name).validate(example).map_err(|error| error.to_string());
        assert_eq!(valid, Ok(()), "{name}");
        match name.as_str() {
            "ServerState" => is::<wire::ServerState>(example),
            "Status" => is::<wire::Status>(example),
            "ServerView" => is::<wire::ServerView>(example),
            "SessionView" => is::<wire::SessionView>(example),
            "SessionPage" => is::<wire::SessionPage>(example),
            "ClaimView" => is::<wire::ClaimView>(example),
            "SessionDetail" => is::<wire::SessionDetail>(example),
            "Challenge" => is::<wire::Challenge>(example),
            "Proof" => is::<wire::Proof>(example),
            "Registration" => is::<wire::Registration>(example),
            "Heartbeat" => is::<wire::Heartbeat>(example),
            "Lease" => is::<wire::Lease>(example),
            "UnseenWriter" => is::<wire::UnseenWriter>(example),
            "Viewer" => is::<wire::Viewer>(example),
            "Pin" => is::<wire::Pin>(example),
            "Spawn" => is::<wire::Spawn>(example),
            "SpawnedServer" => is::<wire::SpawnedServer>(example),
            "ErrorView" => is::<wire::ErrorView>(example),
            "ErrorData" => is::<wire::ErrorData>(example),
            "Evidence" => is::<Evidence>(example),
            "Kind" => is::<Kind>(example),
            // Of streams: only written.
            _ => {}
        }
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document().await;
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
}

#[tokio::test]
async fn other_paths_and_methods_are_refused_in_our_words() {
    let town = Town::new(1);
    assert_eq!(town.refused("/servers/x/y").await.0, 404);
    let (status, told) = town.ask(http::Method::PATCH, "/servers", "").await;
    assert_eq!((status.as_u16(), told["name"].as_str()), (405, Some("MethodNotAllowedError")));
    assert!(town.get("/metrics").await.as_str().unwrap().contains("pointsman_servers"));
}
