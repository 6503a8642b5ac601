//! The web UI in a real browser, headless: one page of it.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::script::{Script, patience};

/// One browser with one page. Dropped, it ends with the script that drives it.
pub struct Browser(Script);

impl Browser {
    pub fn start() -> Self {
        Self(Script::start("browser", &[&chromium().display().to_string(), &patience()]))
    }

    pub async fn open(&mut self, url: &str) {
        self.0.run("open", json!({"url": url})).await;
    }

    pub async fn reload(&mut self) {
        self.0.run("reload", json!({})).await;
    }

    /// Waits until `text` stands on the page.
    pub async fn wait_for(&mut self, text: &str) {
        self.0.run("see", json!({"text": text})).await;
    }

    /// Types a prompt into the page and sends it off.
    pub async fn submit(&mut self, prompt: &str) {
        self.0.run("prompt", json!({"text": prompt})).await;
    }

    /// How many streams of events the page has opened since the browser was started.
    pub async fn streams(&mut self) -> u64 {
        self.0.run("streams", json!({})).await.as_u64().expect("a number")
    }

    /// Waits until it has opened more than these.
    pub async fn wait_for_stream_after(&mut self, streams: u64) {
        self.0.run("stream", json!({"after": streams})).await;
    }

    /// Closes it: what it has written on the disk is gone when this returns.
    pub async fn end(self) {
        self.0.end().await;
    }

    /// `{"status","server"}` for each asset since the page was opened or loaded anew.
    pub async fn assets(&mut self) -> Vec<Value> {
        self.0.run("assets", json!({})).await.as_array().cloned().expect("a list")
    }
}

fn chromium() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|directory| directory.join("chromium")).find(|file| file.exists());
    found.expect("`chromium` is missing; `tests/run` installs it")
}
