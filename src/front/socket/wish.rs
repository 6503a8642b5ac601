//! What a client says on a socket.

use std::borrow::Cow;

use serde::Deserialize;
use thiserror::Error;
use utoipa::ToSchema;

/// A message of a client of `/ws`.
#[derive(Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
#[schema(example = json!({ "type": "subscribe", "session": ["ses_e021c7fa2ffe8VGOoFNM8lM5q9"] }))]
pub(in crate::front) enum Said {
    /// It wants to hear of this from now on, and of nothing else.
    Subscribe(Wish),
    /// It wants to hear of nothing.
    Unsubscribe {},
}

/// What it wants to hear of: as the parameters of `/events`.
#[derive(Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({ "types": ["message.*"], "lifecycle": true, "last_event_id": "k3VbQx0a.4711" }))]
pub(in crate::front) struct Wish {
    /// The sessions whose turns are told.
    session: Vec<String>,
    /// The directories.
    directory: Vec<String>,
    /// The servers: ids, `host:port` or ports.
    server: Vec<String>,
    /// The types; a `*` at the end stands for any rest.
    types: Vec<String>,
    /// As on `/events`.
    lifecycle: Option<bool>,
    /// The id of the last event that it has seen.
    pub(super) last_event_id: Option<String>,
}

/// A message that says nothing we know.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum Unclear {
    /// It is no text.
    #[error("messages are JSON in text frames, and this was a binary one")]
    Binary,
    /// It is no JSON object, or not of the shape of a message.
    #[error("{0}")]
    Shape(String),
}

impl Said {
    /// Reads a message.
    pub(super) fn read(text: &str) -> Result<Self, Unclear> {
        // An object first: serde would take a list of its values as well.
        let fields: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_str(text);
        let said = fields.and_then(|fields| serde_json::from_value(fields.into()));
        said.map_err(|error| {
            let forms = r#"a message is {"type":"subscribe",…} or {"type":"unsubscribe"}"#;
            Unclear::Shape(format!("{forms}: {error}"))
        })
    }
}

impl Wish {
    /// The wish as parameters of a query.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        let lists = [
            ("session", &self.session),
            ("directory", &self.directory),
            ("server", &self.server),
            ("type", &self.types),
        ];
        let named = lists.into_iter().flat_map(|(key, values)| {
            values.iter().map(move |value| (Cow::Borrowed(key), Cow::Borrowed(value.as_str())))
        });
        let lifecycle = self
            .lifecycle
            .map(|wanted| (Cow::Borrowed("lifecycle"), Cow::Borrowed(if wanted { "true" } else { "false" })));
        named.chain(lifecycle)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_wish_is_read_as_the_parameters_of_a_stream() {
        let text = r#"{"type":"subscribe","session":["ses_1","ses_2"],"directory":["/a"],"server":["4302"],
            "types":["message.*"],"lifecycle":false,"last_event_id":"abcdefgh.7"}"#;
        let Ok(Said::Subscribe(wish)) = Said::read(text) else { panic!("it is one") };
        let pairs: Vec<String> = wish.pairs().map(|(key, value)| format!("{key}={value}")).collect();
        let expected = [
            "session=ses_1",
            "session=ses_2",
            "directory=/a",
            "server=4302",
            "type=message.*",
            "lifecycle=false",
        ];
        assert_eq!(pairs, expected);
        assert_eq!(wish.last_event_id.as_deref(), Some("abcdefgh.7"));
        assert_eq!(Said::read(r#"{"type":"subscribe"}"#), Ok(Said::Subscribe(Wish::default())));
        assert_eq!(Said::read(r#"{"type":"unsubscribe"}"#), Ok(Said::Unsubscribe {}));
    }

    #[test]
    fn what_is_no_message_is_told_by_what_is_wrong_with_it() {
        for (text, named) in [
            ("", "EOF"),
            ("[]", "subscribe"),
            (r#"["unsubscribe"]"#, "map"),
            ("{}", "missing field `type`"),
            (r#"{"type":7}"#, "7"),
            (r#"{"type":"shout"}"#, "shout"),
            (r#"{"type":"subscribe","sessions":["ses_1"]}"#, "sessions"),
            (r#"{"type":"subscribe","session":"ses_1"}"#, "ses_1"),
            (r#"{"type":"subscribe","lifecycle":"yes"}"#, "yes"),
            (r#"{"type":"unsubscribe","session":[]}"#, "unknown field `session`"),
        ] {
            let unclear = Said::read(text).unwrap_err().to_string();
            assert!(unclear.contains(named), "{text}: {unclear}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC{0,80}") {
            let _ = Said::read(&text);
        }
    }
}
