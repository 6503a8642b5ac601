//! The configuration as written: what flags, environment and file may say, before any of it means something.

use serde::Deserialize;

use super::Secret;

/// One layer, or all layers merged. The field names are the keys of the file; a key that is not here is refused.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[expect(missing_docs, reason = "config/pointsman.toml documents every key, and a test holds it to that")]
pub struct Written {
    pub listen: Option<String>,
    pub base_path: Option<String>,
    pub state_dir: Option<String>,
    pub ports: Option<String>,
    pub scan: Option<bool>,
    pub tick: Option<String>,
    pub token: Option<Secret>,
    pub allowed_hosts: Option<Vec<String>>,
    pub allowed_registrations: Option<Vec<String>>,
    pub cors: Option<Vec<String>>,
    pub user_check: Option<bool>,
    pub owner_port: Option<bool>,
    pub unreachable_owner: Option<String>,
    pub default_server: Option<String>,
    pub connect_timeout: Option<String>,
    pub merge_deadline: Option<String>,
    pub catalogue_ttl: Option<String>,
    pub titles: Option<u32>,
    pub log: Option<String>,
    pub journal: Option<WrittenJournal>,
    pub catch_up: Option<WrittenCatchUp>,
    pub spawn: Option<WrittenSpawn>,
    pub credentials: Option<WrittenCredentials>,
    pub server: Option<Vec<WrittenServer>>,
}

/// A `[[server]]` table; a flag or the environment gives only the URL.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with a url")]
#[expect(missing_docs, reason = "see `Written`")]
pub struct WrittenServer {
    pub url: String,
    pub name: Option<String>,
    pub username: Option<String>,
    pub password: Option<Secret>,
}

/// The `[journal]` table.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[expect(missing_docs, reason = "see `Written`")]
pub struct WrittenJournal {
    pub persist: Option<bool>,
    pub bytes: Option<String>,
    pub age: Option<String>,
}

/// The `[catch_up]` table.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[expect(missing_docs, reason = "see `Written`")]
pub struct WrittenCatchUp {
    pub window: Option<String>,
    pub bytes: Option<String>,
    pub late: Option<String>,
    pub lag: Option<String>,
}

/// The `[spawn]` table.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[expect(missing_docs, reason = "see `Written`")]
pub struct WrittenSpawn {
    pub enabled: Option<bool>,
    pub directories: Option<Vec<String>>,
    pub command: Option<String>,
    pub limit: Option<u16>,
    pub idle: Option<String>,
    pub wait: Option<String>,
}

/// The `[credentials]` table.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
#[expect(missing_docs, reason = "see `Written`")]
pub struct WrittenCredentials {
    pub username: Option<String>,
    pub password: Option<Secret>,
}
