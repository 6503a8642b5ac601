//! What the daemon was told: by a file, by the environment, by flags, each winning over the one before.
//!
//! Two types carry it. [`Written`] is what a person may write, [`Config`] what it means: valid, with every default
//! filled in, cut into the parts that receive it. After [`Config::load`] nobody reads files or the environment
//! again. `config/pointsman.toml` documents every key.

mod allowed_host;
mod amount;
mod base_path;
mod cors_origin;
mod environment;
mod error;
mod flags;
mod host_name;
mod layer;
mod meant;
mod ports;
mod secret;
mod server_url;
mod spawn;
mod written;

#[cfg(test)]
mod documented;
#[cfg(test)]
mod precedence;

pub use self::{
    allowed_host::AllowedHost,
    base_path::BasePath,
    cors_origin::CorsOrigin,
    environment::Environment,
    error::{Advice, ConfigError, Problem},
    flags::ServeArgs,
    host_name::HostName,
    meant::{
        Access, CatchUp, Config, ConfiguredServer, Credentials, Discovery, Journal, Routing, UnreachableOwner,
    },
    ports::{InvalidPorts, Ports},
    secret::Secret,
    server_url::{InvalidServerUrl, ServerUrl},
    spawn::Spawn,
    written::{Written, WrittenCatchUp, WrittenCredentials, WrittenJournal, WrittenServer, WrittenSpawn},
};
