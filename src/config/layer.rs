//! One source of configuration (file, environment, flags), checked by itself so that a fault is told with the name
//! the person wrote; then all of them merged.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use figment::{
    Figment, Metadata, Profile, Provider,
    error::Kind,
    providers::{Format as _, Toml},
    value::{Dict, Map, Value},
};

use super::{Advice, ConfigError, Environment, Problem, ServeArgs, Written};

/// What the names of our environment variables start with.
pub(super) const PREFIX: &str = "POINTSMAN_";

/// Variables that are ours and no keys: which file to read, and which daemon the client commands ask.
const NOT_KEYS: [&str; 2] = ["POINTSMAN_CONFIG", "POINTSMAN_URL"];

/// How far a misspelt key may be from a known one to be taken for it: a letter swapped and one more.
const NEAR: usize = 3;

/// How the text of an environment variable is read.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    Bool,
    Number,
    /// Separated by commas; empty means none.
    List,
    /// URLs separated by commas, each a `[[server]]` of its own.
    Servers,
}

/// Every key an environment variable can give. Names and passwords of single servers are for the file alone.
const VARIABLES: [(&str, Shape); 35] = [
    ("listen", Shape::Text),
    ("base_path", Shape::Text),
    ("state_dir", Shape::Text),
    ("ports", Shape::Text),
    ("scan", Shape::Bool),
    ("tick", Shape::Text),
    ("token", Shape::Text),
    ("allowed_hosts", Shape::List),
    ("allowed_registrations", Shape::List),
    ("cors", Shape::List),
    ("user_check", Shape::Bool),
    ("owner_port", Shape::Bool),
    ("unreachable_owner", Shape::Text),
    ("default_server", Shape::Text),
    ("connect_timeout", Shape::Text),
    ("merge_deadline", Shape::Text),
    ("catalogue_ttl", Shape::Text),
    ("titles", Shape::Number),
    ("log", Shape::Text),
    ("journal.persist", Shape::Bool),
    ("journal.bytes", Shape::Text),
    ("journal.age", Shape::Text),
    ("catch_up.window", Shape::Text),
    ("catch_up.bytes", Shape::Text),
    ("catch_up.late", Shape::Text),
    ("catch_up.lag", Shape::Text),
    ("spawn.enabled", Shape::Bool),
    ("spawn.directories", Shape::List),
    ("spawn.command", Shape::Text),
    ("spawn.limit", Shape::Number),
    ("spawn.idle", Shape::Text),
    ("spawn.wait", Shape::Text),
    ("credentials.username", Shape::Text),
    ("credentials.password", Shape::Text),
    ("server", Shape::Servers),
];

/// Where a value was written.
#[derive(Clone, Debug)]
enum Origin {
    File(PathBuf),
    Environment,
    Flags,
}

/// What one source says.
#[derive(Debug)]
pub(super) struct Layer {
    origin: Origin,
    says: Dict,
}

impl Layer {
    /// The file at `path`; `None` when there is none and `required` does not ask for it.
    pub(super) fn from_file(path: &Path, required: bool) -> Result<Option<Self>, ConfigError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !required => return Ok(None),
            Err(source) => return Err(ConfigError::Unreadable { path: path.to_owned(), source }),
        };
        // The parser's own Display shows the faulty line, which may hold a password.
        let says = Toml::from_str(&text).map_err(|fault| ConfigError::Syntax {
            path: path.to_owned(),
            line: fault.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1),
            problem: fault.message().trim().replace('\n', ", "),
        })?;
        Self { origin: Origin::File(path.to_owned()), says }.checked().map(Some)
    }

    /// What `POINTSMAN_*` says.
    pub(super) fn from_environment(environment: &Environment) -> Result<Self, ConfigError> {
        let mut layer = Self { origin: Origin::Environment, says: Dict::new() };
        for (name, value) in environment.iter() {
            let shown = name.to_string_lossy();
            if NOT_KEYS.contains(&&*shown) {
                continue;
            }
            let Some((key, shape)) = VARIABLES.into_iter().find(|(key, _)| variable(key) == shown) else {
                let known = VARIABLES.iter().map(|(key, _)| variable(key)).collect();
                return Err(ConfigError::UnknownKey {
                    advice: advise(&shown, known),
                    name: shown.into_owned(),
                });
            };
            let value = value.to_str().ok_or(Problem::NotUtf8).and_then(|text| shape.read(text));
            match value {
                Ok(value) => layer.put(key, value),
                Err(problem) => return Err(ConfigError::Value { name: shown.into_owned(), problem }),
            }
        }
        layer.checked()
    }

    /// What the command line says.
    pub(super) fn from_flags(flags: &ServeArgs) -> Result<Self, ConfigError> {
        let mut layer = Self { origin: Origin::Flags, says: Dict::new() };
        let state_dir = match &flags.state_dir {
            None => None,
            Some(path) => Some(path.to_str().ok_or_else(|| ConfigError::Value {
                name: layer.name("state_dir"),
                problem: Problem::NotUtf8,
            })?),
        };
        let texts = [
            ("listen", flags.listen.as_deref()),
            ("base_path", flags.base_path.as_deref()),
            ("state_dir", state_dir),
            ("ports", flags.ports.as_deref()),
            ("token", flags.token.as_ref().map(super::Secret::expose)),
            ("log", flags.log.as_deref()),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                layer.put(key, text.into());
            }
        }
        if flags.no_scan {
            layer.put("scan", false.into());
        }
        if !flags.cors.is_empty() {
            layer.put("cors", flags.cors.clone().into());
        }
        if !flags.server.is_empty() {
            layer.put("server", servers(flags.server.iter().map(String::as_str)));
        }
        layer.checked()
    }

    /// What the person called `key` here.
    fn name(&self, key: &str) -> String {
        match &self.origin {
            Origin::Environment => variable(key),
            Origin::Flags if key == "scan" => "--no-scan".to_owned(),
            Origin::Flags => format!("--{}", key.replace('_', "-")),
            Origin::File(path) => format!("{key} in {}", path.display()),
        }
    }

    fn put(&mut self, key: &str, value: Value) {
        match key.split_once('.') {
            None => drop(self.says.insert(key.to_owned(), value)),
            Some((table, key)) => {
                let entry = self.says.entry(table.to_owned()).or_insert_with(|| Dict::new().into());
                if let Value::Dict(_, inner) = entry {
                    inner.insert(key.to_owned(), value);
                }
            }
        }
    }

    fn holds(&self, key: &str) -> bool {
        let (table, inner) = key.split_once('.').map_or((key, None), |(table, key)| (table, Some(key)));
        match (self.says.get(table), inner) {
            (Some(Value::Dict(_, table)), Some(key)) => table.contains_key(key),
            (found, _) => found.is_some(),
        }
    }

    /// Refuses unknown keys and values of the wrong kind while it is still known who wrote them.
    fn checked(self) -> Result<Self, ConfigError> {
        match Figment::from(&self).extract::<Written>() {
            Ok(_) => Ok(self),
            Err(error) => Err(self.explain(error)),
        }
    }

    fn explain(&self, error: figment::Error) -> ConfigError {
        let mut path = error.path;
        match error.kind {
            Kind::UnknownField(field, known) => {
                if path.last() == Some(&field) {
                    path.pop();
                }
                let within = |key: &str| dotted(&path, key);
                let advice = advise(&within(&field), known.iter().map(|key| within(key)).collect());
                ConfigError::UnknownKey { name: self.name(&within(&field)), advice }
            }
            Kind::MissingField(field) => {
                ConfigError::Value { name: self.name(&dotted(&path, &field)), problem: Problem::Empty }
            }
            // What was found instead is left out: it may be half a password.
            Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) => {
                let expected = expected.replace("a sequence", "a list");
                ConfigError::Type { name: self.name(&path.join(".")), expected }
            }
            _ => {
                ConfigError::Type { name: self.name(&path.join(".")), expected: "of another kind".to_owned() }
            }
        }
    }
}

impl Provider for &Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(match self.origin {
            Origin::File(_) => "file",
            Origin::Environment => "environment",
            Origin::Flags => "flags",
        })
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.says.clone()))
    }
}

/// All layers, the weakest first.
pub(super) struct Layers(pub(super) Vec<Layer>);

impl Layers {
    /// A later layer's value replaces an earlier one's; lists are replaced whole, tables key by key.
    pub(super) fn merge(&self) -> Result<Written, ConfigError> {
        let merged = self.0.iter().fold(Figment::new(), |all, layer| all.merge(layer));
        merged.extract().map_err(|error| match self.0.last() {
            Some(layer) => layer.explain(error),
            None => ConfigError::Type { name: "configuration".to_owned(), expected: "a table".to_owned() },
        })
    }

    /// What the value of `key` that counts was called by the person who wrote it.
    pub(super) fn name(&self, key: &str) -> String {
        self.0
            .iter()
            .rev()
            .find(|layer| layer.holds(key))
            .map_or_else(|| key.to_owned(), |layer| layer.name(key))
    }
}

impl Shape {
    fn read(self, text: &str) -> Result<Value, Problem> {
        let parts = || text.split(',').map(str::trim).filter(|part| !part.is_empty());
        match self {
            Self::List => Ok(parts().map(Value::from).collect::<Vec<_>>().into()),
            Self::Servers => Ok(servers(parts())),
            _ if text.is_empty() => Err(Problem::Empty),
            Self::Text => Ok(text.into()),
            Self::Bool => match text {
                "true" | "1" => Ok(true.into()),
                "false" | "0" => Ok(false.into()),
                _ => Err(Problem::Bool(text.to_owned())),
            },
            Self::Number => {
                text.parse::<u32>().map(Value::from).map_err(|_| Problem::Number(text.to_owned()))
            }
        }
    }
}

fn servers<'a>(urls: impl Iterator<Item = &'a str>) -> Value {
    let tables = urls.map(|url| Value::from(Dict::from([("url".to_owned(), url.into())])));
    tables.collect::<Vec<_>>().into()
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}

fn dotted(path: &[String], key: &str) -> String {
    path.iter().map(String::as_str).chain([key]).collect::<Vec<_>>().join(".")
}

fn advise(written: &str, known: Vec<String>) -> Advice {
    let near =
        |key: &String| strsim::damerau_levenshtein(&written.to_ascii_lowercase(), &key.to_ascii_lowercase());
    match known.iter().min_by_key(|key| near(key)) {
        Some(key) if near(key) <= NEAR => Advice::Nearest(key.clone()),
        _ => Advice::Known(known),
    }
}
