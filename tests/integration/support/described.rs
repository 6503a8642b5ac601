//! What `/openapi.json` says of our streams, held against everything that tests read off them: whatever comes and is not
//! described so fails the test that reads it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use jsonschema::Validator;
use pointsman::front::describe::Streams;
use serde_json::{Value, json};
use utoipa::OpenApi;

struct Described {
    /// The properties of each type of our own events.
    types: BTreeMap<String, BTreeSet<String>>,
    /// One of our own events, without an envelope.
    own: Validator,
    /// An event of `/events` and `/ws`.
    frame: Validator,
    /// What a client of `/ws` is answered.
    reply: Validator,
}

static DESCRIBED: LazyLock<Described> = LazyLock::new(|| {
    let mut document = serde_json::to_value(Streams::openapi()).expect("it is JSON");
    let schemas = document["components"]["schemas"].take();
    let name = |reference: &Value| reference["$ref"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let mut types = BTreeMap::new();
    let mut closed = schemas.clone();
    for told in schemas["Told"]["oneOf"].as_array().expect("one for each type") {
        let kind = told["properties"]["type"]["enum"][0].as_str().expect("a name").to_owned();
        let properties = name(&told["properties"]["properties"]);
        let fields = schemas[&properties]["properties"].as_object().into_iter().flatten();
        types.insert(kind, fields.map(|(field, _)| field.clone()).collect());
        // For clients, fields may be added. Here each must be described.
        closed[&properties]["additionalProperties"] = json!(false);
    }
    closed["Present"]["additionalProperties"] = json!(false);
    let validator = |name: &str| {
        let schema = json!({"$ref": format!("#/components/schemas/{name}"), "components": {"schemas": closed.clone()}});
        jsonschema::draft202012::new(&schema).expect("it is a schema")
    };
    Described {
        types,
        own: validator("PointsmanEvent"),
        frame: validator("StreamEvent"),
        reply: validator("Reply"),
    }
});

/// The types of our own events, with the names of their properties.
pub fn own_types() -> &'static BTreeMap<String, BTreeSet<String>> {
    &DESCRIBED.types
}

/// Fails unless this is an event of ours as described.
pub fn assert_own(event: &Value) {
    assert_valid(&DESCRIBED.own, event);
}

/// Fails unless this is an event of `/events` as described.
pub fn assert_frame(frame: &Value) {
    assert_valid(&DESCRIBED.frame, frame);
}

/// Fails unless this is a message of `/ws` as described.
pub fn assert_message(message: &Value) {
    if message.get("payload").is_some() {
        assert_frame(message);
    } else {
        assert_valid(&DESCRIBED.reply, message);
    }
}

fn assert_valid(validator: &Validator, value: &Value) {
    let wrong: Vec<_> = validator.iter_errors(value).map(|error| error.to_string()).collect();
    assert!(wrong.is_empty(), "/openapi.json does not describe {value}: {wrong:#?}");
}
