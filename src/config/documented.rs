//! `config/pointsman.toml` and `docs/configuration.md` tell the truth: every key, and the defaults as they are.

use std::{fmt::Write as _, fs, path::Path};

use figment::{Figment, error::Kind, providers::Serialized};
use serde::de::DeserializeOwned;

use super::{
    Config, Environment, ServeArgs, Written, WrittenCatchUp, WrittenCredentials, WrittenJournal,
    WrittenServer, WrittenSpawn,
};

const FILE: &str = include_str!("../../config/pointsman.toml");
const TABLE: &str = include_str!("../../docs/configuration.md");

/// What a line of the file shows: `#key = value` a default, `#    text` an example.
fn uncommented(defaults: bool, examples: bool) -> String {
    let mut text = String::new();
    for line in FILE.lines() {
        let Some(body) = line.strip_prefix('#') else { continue };
        let example = body.starts_with("    ");
        let default = body.starts_with(|first: char| first.is_ascii_lowercase() || first == '[');
        if (example && examples) || (default && defaults) {
            writeln!(text, "{}", body.trim()).unwrap();
        }
    }
    text
}

/// The keys of a written type, as its own deserializer lists them.
fn keys<T: DeserializeOwned>() -> &'static [&'static str] {
    let error = Figment::from(Serialized::default("no such key", 1)).extract::<T>().err().unwrap();
    match error.kind {
        Kind::UnknownField(_, known) => known,
        kind => panic!("{kind:?}"),
    }
}

fn load(text: &str) -> Config {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("pointsman.toml");
    fs::write(&file, text).unwrap();
    let flags = ServeArgs { config: Some(file), ..ServeArgs::default() };
    Config::load(&flags, &Environment::in_home(Path::new("/home/me"))).unwrap()
}

#[test]
fn every_key_is_in_the_file_and_in_the_table() {
    let shown = uncommented(true, true);
    let has = |key: &str, text: &str| {
        text.lines().any(|line| {
            line.split_once(" =").is_some_and(|(name, _)| name == key)
                || line == format!("[{key}]")
                || line == format!("[[{key}]]")
        })
    };
    for key in keys::<Written>() {
        assert!(has(key, &shown), "{key} is missing in config/pointsman.toml");
        assert!(
            TABLE.contains(&format!("| `{key}`"))
                || TABLE.contains(&format!("| `[{key}]"))
                || TABLE.contains(&format!("| `[[{key}]]")),
            "{key} is missing in docs/configuration.md"
        );
    }
    let (before, servers) = shown.split_once("[[server]]").unwrap();
    let (before, credentials) = before.split_once("[credentials]").unwrap();
    let (before, spawn) = before.split_once("[spawn]").unwrap();
    for key in keys::<WrittenSpawn>() {
        assert!(has(key, spawn), "{key} of [spawn] is missing");
        assert!(TABLE.contains(&format!("`{key}`")), "{key} of [spawn] is missing in docs/configuration.md");
    }
    let (before, catch_up) = before.split_once("[catch_up]").unwrap();
    let (_, journal) = before.split_once("[journal]").unwrap();
    for key in keys::<WrittenCatchUp>() {
        assert!(has(key, catch_up), "{key} of [catch_up] is missing");
    }
    for key in keys::<WrittenJournal>() {
        assert!(has(key, journal), "{key} of [journal] is missing");
    }
    for key in keys::<WrittenServer>() {
        assert!(has(key, servers), "{key} of [[server]] is missing");
    }
    for key in keys::<WrittenCredentials>() {
        assert!(has(key, credentials), "{key} of [credentials] is missing");
    }
}

#[test]
fn the_file_as_shipped_changes_nothing() {
    assert_eq!(load(FILE), load(""));
}

#[test]
fn the_defaults_it_shows_are_the_defaults() {
    let defaults = uncommented(true, false);
    assert!(defaults.lines().count() >= 11, "{defaults}");
    assert_eq!(load(&defaults), load(""));
}

#[test]
fn its_examples_are_valid() {
    let config = load(&uncommented(true, true));
    assert_eq!(config.state_dir, Path::new("/home/me/.local/state/pointsman"));
    assert_eq!(config.discovery.servers.len(), 1);
}
