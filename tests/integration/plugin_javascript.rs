//! The plugin's own tests, which Node runs, and what only OpenCode's runtime can tell of it.

use std::path::Path;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{
    opencode::{binary, shared},
    ports::free_port,
    process::Process,
};

fn here(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).display().to_string()
}

/// Runs a program to its end; gives what it wrote.
async fn run(name: &str, command: &mut Command) -> String {
    let mut process = Process::start(name, command.env("PATH", std::env::var_os("PATH").unwrap_or_default()));
    let status = process.ended().await;
    let wrote = process.log_to_the_end().await;
    assert!(status.success(), "{name}: {status}\n{wrote}");
    wrote
}

#[tokio::test]
async fn the_plugin_keeps_its_promises_one_by_one() {
    let wrote = run("node", Command::new("node").args(["--test", &here("tests/plugin/")])).await;
    let passed = wrote.lines().find_map(|line| line.strip_prefix("# pass ")).unwrap_or_default();
    assert!(passed.parse::<u32>().is_ok_and(|count| count > 20), "{wrote}");
}

/// Bun sends requests to this very machine through the proxy that the environment names.
#[tokio::test]
async fn no_proxy_is_told_the_secret() {
    let proxy = format!("http://127.0.0.1:{}", free_port());
    let mut command = Command::new(binary());
    command.arg(here("tests/plugin/past-the-proxy.mjs")).envs([("BUN_BE_BUN", "1"), ("http_proxy", &proxy)]);
    let wrote = run("bun", &mut command).await;
    let told: Value = serde_json::from_str(wrote.trim()).unwrap_or_else(|_| panic!("{wrote}"));
    assert!(told["runtime"].is_string(), "{told}");
    assert_eq!((&told["registered"], &told["seen"]), (&json!(true), &json!(["/control"])));
}

/// Terminals let a plugin listen to one type of event at a time: one that is not in the list is never heard.
#[tokio::test]
async fn the_plugin_listens_to_every_type_of_event_there_is() {
    let listed: Vec<&str> = include_str!("../../src/plugin/event-types.js")
        .lines()
        .filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix("\","))
        .collect();
    let shared = shared().await;
    let [(server, _), _] = shared.both_ways();
    let document = server.get("/doc").await;
    let schemas = &document["components"]["schemas"];
    let payloads = schemas["GlobalEvent"]["properties"]["payload"]["anyOf"].as_array().unwrap();
    let mut types: Vec<&str> = payloads.iter().map(|payload| type_of(payload, schemas)).collect();
    // Greetings are of each stream's own making, and terminals are not told of the stored twins.
    types.retain(|name| !matches!(*name, "server.connected" | "server.heartbeat" | "sync"));
    types.sort_unstable();
    assert_eq!(listed, types);
}

fn type_of<'a>(payload: &'a Value, schemas: &'a Value) -> &'a str {
    let named = payload["$ref"].as_str().map(|path| &schemas[path.rsplit('/').next().unwrap()]);
    named.unwrap_or(payload)["properties"]["type"]["enum"][0].as_str().unwrap_or_default()
}
