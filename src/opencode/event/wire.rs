//! The fields of an event that we look at, borrowed from its text.
//!
//! One struct for all types, every field lenient: a field of another kind than expected (`status` is an object in
//! one event and a word in another) counts as absent. So one walk suits every event, known or not.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::value::RawValue;

#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow, default)]
    pub(super) directory: Text<'a>,
    #[serde(borrow)]
    pub(super) payload: &'a RawValue,
}

#[derive(Deserialize)]
pub(super) struct Payload<'a> {
    #[serde(borrow, default)]
    pub(super) id: Text<'a>,
    #[serde(borrow, rename = "type")]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) properties: Object<Properties<'a>>,
    #[serde(borrow, default, rename = "syncEvent")]
    pub(super) sync: Object<Twin<'a>>,
}

/// An event of the second interface. Its `durable` says what the first one tells by `sync` twins; nothing here reads it.
#[derive(Deserialize)]
pub(super) struct ApiEvent<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Object<Properties<'a>>,
    #[serde(borrow, default)]
    pub(super) location: Object<Location<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Location<'a> {
    #[serde(borrow, default)]
    pub(super) directory: Text<'a>,
}

impl<'a> From<ApiEvent<'a>> for Payload<'a> {
    fn from(event: ApiEvent<'a>) -> Self {
        Self { id: event.id, kind: event.kind, properties: event.data, sync: Object::default() }
    }
}

#[derive(Default, Deserialize)]
pub(super) struct Properties<'a> {
    #[serde(borrow, default, rename = "sessionID")]
    pub(super) session: Text<'a>,
    #[serde(borrow, default)]
    pub(super) id: Text<'a>,
    #[serde(borrow, default, rename = "requestID")]
    pub(super) request: Text<'a>,
    #[serde(borrow, default)]
    pub(super) info: Object<About<'a>>,
    #[serde(borrow, default)]
    pub(super) part: Object<Part<'a>>,
    #[serde(borrow, default)]
    pub(super) status: Object<Status<'a>>,
}

/// A message, a session or a terminal, by what they have in common.
#[derive(Deserialize)]
pub(super) struct About<'a> {
    #[serde(borrow, default)]
    pub(super) id: Text<'a>,
    #[serde(borrow, default, rename = "sessionID")]
    pub(super) session: Text<'a>,
    #[serde(borrow, default)]
    pub(super) role: Text<'a>,
    #[serde(borrow, default)]
    pub(super) directory: Text<'a>,
    #[serde(borrow, default)]
    pub(super) title: Text<'a>,
    #[serde(borrow, default, rename = "parentID")]
    pub(super) parent: Text<'a>,
    #[serde(borrow, default, rename = "projectID")]
    pub(super) project: Text<'a>,
    #[serde(default)]
    pub(super) time: Object<Time>,
}

#[derive(Deserialize)]
pub(super) struct Part<'a> {
    #[serde(borrow, default, rename = "type")]
    pub(super) kind: Text<'a>,
    #[serde(borrow, default, rename = "sessionID")]
    pub(super) session: Text<'a>,
}

#[derive(Deserialize)]
pub(super) struct Status<'a> {
    #[serde(borrow, default, rename = "type")]
    pub(super) kind: Text<'a>,
}

#[derive(Deserialize)]
pub(super) struct Time {
    #[serde(default)]
    pub(super) created: Count,
    #[serde(default)]
    pub(super) updated: Count,
}

#[derive(Deserialize)]
pub(super) struct Twin<'a> {
    #[serde(borrow, default, rename = "aggregateID")]
    pub(super) aggregate: Text<'a>,
    #[serde(default)]
    pub(super) seq: Count,
}

/// A text, or nothing if something else stands there.
#[derive(Default)]
pub(super) struct Text<'a>(Option<Cow<'a, str>>);

impl<'a> Text<'a> {
    pub(super) fn get(&self) -> Option<&str> {
        self.0.as_deref()
    }

    pub(super) fn take(self) -> Option<Cow<'a, str>> {
        self.0
    }
}

/// An object, or nothing if something else stands there.
pub(super) struct Object<T>(Option<T>);

impl<T> Object<T> {
    pub(super) fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }

    pub(super) fn take(self) -> Option<T> {
        self.0
    }
}

impl<T> Default for Object<T> {
    fn default() -> Self {
        Self(None)
    }
}

/// A whole number not below zero, or nothing if something else stands there. A fraction is cut off.
#[derive(Default)]
pub(super) struct Count(Option<u64>);

impl Count {
    pub(super) fn get(&self) -> Option<u64> {
        self.0
    }
}

/// What a visitor answers to the kinds of value it does not look for.
macro_rules! else_absent {
    ($($method:ident: $of:ty),* $(,)?) => {
        $(fn $method<E: Error>(self, _: $of) -> Result<Self::Value, E> {
            Ok(Default::default())
        })*

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(Default::default())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Default::default())
        }
    };
}

macro_rules! map_is_absent {
    () => {
        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(Default::default())
        }
    };
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Wanted<'a>(PhantomData<Text<'a>>);
        impl<'de: 'a, 'a> Visitor<'de> for Wanted<'a> {
            type Value = Text<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Some(Cow::Borrowed(text))))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Some(Cow::Owned(text.to_owned()))))
            }

            else_absent!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64);
            map_is_absent!();
        }
        deserializer.deserialize_any(Wanted(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Wanted<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Wanted<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(entries)).map(|object| Object(Some(object)))
            }

            else_absent!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);
        }
        deserializer.deserialize_any(Wanted(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Wanted;
        impl<'de> Visitor<'de> for Wanted {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Count(Some(number)))
            }

            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "cut off, as promised"
            )]
            fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
                Ok(Count((number >= 0.0).then_some(number as u64)))
            }

            else_absent!(visit_bool: bool, visit_i64: i64, visit_str: &str);
            map_is_absent!();
        }
        deserializer.deserialize_any(Wanted)
    }
}
