//! What stands in the configuration directory of a store.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::fake::VERSION;

pub(super) fn configuration(model: &str) -> Value {
    json!({
        "$schema": "https://opencode.ai/config.json",
        "provider": {"fake": {
            "npm": "@ai-sdk/openai-compatible",
            "options": {"baseURL": model, "apiKey": "x"},
            "models": {"m": {"name": "m", "tool_call": true}},
        }},
        "model": "fake/m", "small_model": "fake/m", "autoupdate": false, "share": "disabled",
        "permission": {"bash": "ask"},
    })
}

/// A plugin that counts, and what keeps OpenCode from fetching something for it.
pub(super) fn install_plugin(config: &Path, log: &Path) {
    let count = format!(
        "import {{ appendFileSync }} from 'node:fs';\n\
         export const Count = async (input) => {{\n\
         \x20 appendFileSync({:?}, `${{process.pid}} ${{input.directory}}\\n`);\n\
         \x20 return {{}};\n\
         }};\n",
        log.display().to_string()
    );
    write(&config.join("plugin/count.js"), &count);
    pretend_its_package_is_there(config);
}

/// Three files that make OpenCode believe its own plugin package is installed, so that it fetches nothing.
pub(super) fn pretend_its_package_is_there(config: &Path) {
    let dependencies = json!({"@opencode-ai/plugin": VERSION});
    let lock = json!({
        "name": "opencode", "lockfileVersion": 3, "requires": true,
        "packages": {"": {"dependencies": dependencies.clone()}},
    });
    let own = json!({"name": "@opencode-ai/plugin", "version": VERSION});
    write(&config.join("package.json"), &json!({"dependencies": dependencies}).to_string());
    write(&config.join("package-lock.json"), &lock.to_string());
    write(&config.join("node_modules/@opencode-ai/plugin/package.json"), &own.to_string());
}

pub(super) fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a file in a directory")).expect("writable");
    std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
