//! The `pointsman` binary as a user runs it: started, asked over HTTP, killed and started again.

use std::time::{Duration, Instant};

use http::HeaderMap;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::{
    eventually::{eventually, patiently},
    opencode::OpenCode,
    process::Process,
    sse::EventStream,
};

/// One running daemon. Dropped, it is killed by its process id; its log is shown if the test is failing.
pub struct Daemon {
    process: Process,
    url: String,
    setup: Builder,
    directory: TempDir,
    client: reqwest::Client,
}

/// How to start one.
#[derive(Clone, Default)]
pub struct Builder {
    servers: Vec<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    configuration: Option<String>,
    scan: bool,
}

/// A complete answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: bytes::Bytes,
    /// From sending the request to the last byte.
    pub took: Duration,
}

impl Daemon {
    /// A daemon in front of these servers and no others, ready.
    pub async fn start<U: AsRef<str>>(servers: impl IntoIterator<Item = U>) -> Self {
        Self::builder().servers(servers).start().await
    }

    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it listens, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> &str {
        let rest = self.url.trim_start_matches("http://");
        rest.split_once('/').map_or(rest, |(address, _)| address)
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The process itself: signals, `ended`.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Everything it has written so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Where it keeps its state, over restarts.
    pub fn state_directory(&self) -> std::path::PathBuf {
        self.directory.path().join("state")
    }

    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// A request to be completed by the test: headers, body, `.send()`.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method.parse().expect("a method"), format!("{}{path}", self.url))
    }

    /// What stands in its `registration.json`.
    pub fn registration_file(&self) -> Value {
        let file = self.state_directory().join("registration.json");
        serde_json::from_slice(&std::fs::read(file).expect("it is there")).expect("it is JSON")
    }

    /// The same, from somebody who knows the secret of `registration.json`.
    pub fn trusted(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let secret = self.registration_file()["secret"].as_str().expect("a text").to_owned();
        self.request(method, path).header("x-pointsman-secret", secret)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request("POST", path).json(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request("DELETE", path)).await
    }

    /// Sends a request and takes the whole answer, whatever its status.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let began = Instant::now();
        let response = patiently("an answer of pointsman", request.send()).await.expect("it answers");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body =
            patiently("the rest of the answer", response.bytes()).await.expect("the answer is complete");
        Answer { status, headers, body, took: began.elapsed() }
    }

    /// Opens an event stream, such as `/global/event`.
    pub async fn events(&self, path: &str) -> EventStream {
        EventStream::open_with(self.request("GET", path)).await
    }

    /// Waits until `/readyz` answers 200.
    pub async fn ready(&self) {
        self.wait_for_answer("/readyz", |answer| answer.status == 200).await;
    }

    /// The answer of `GET /servers`.
    pub async fn servers(&self) -> Vec<Value> {
        let answer = self.get("/servers").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json().as_array().cloned().expect("a list of servers")
    }

    /// Waits until exactly `count` servers are `up`; gives them.
    pub async fn wait_for_servers(&self, count: usize) -> Vec<Value> {
        eventually(&format!("{count} servers being up"), || async {
            let servers = self.servers().await;
            let up = servers.iter().filter(|server| server["state"] == "up").count();
            if up == count { Ok(servers) } else { Err(servers) }
        })
        .await
    }

    /// Waits until it hears what this server tells, which is a moment after it is ready: a session that was made before
    /// is one that anybody could own.
    pub async fn hears(&self, server: &OpenCode) {
        eventually("pointsman hearing a server", || async {
            let session = server.create_session().await;
            let mut known = Value::Null;
            for _ in 0..20 {
                known = self.explain(&session).await;
                if known["evidence"] == "emitted" {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
            Err(known)
        })
        .await;
    }

    /// `GET /sessions/{id}`: the owner, the claims and the reason.
    pub async fn explain(&self, session: &str) -> Value {
        self.get(&format!("/sessions/{session}")).await.json()
    }

    /// Asks until the answer satisfies `wanted`; gives it.
    pub async fn wait_for_answer(&self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        eventually(&format!("the awaited answer to {path}"), || async {
            let answer = self.get(path).await;
            if wanted(&answer) { Ok(answer) } else { Err(answer) }
        })
        .await
    }

    /// `SIGKILL`: nothing is written on the way out.
    pub async fn kill9(&mut self) {
        self.process.kill9().await;
    }

    /// `SIGTERM`, and waits for the orderly end.
    pub async fn term(&mut self) {
        self.process.term().await;
    }

    /// Starts with this configuration file from now on.
    pub fn reconfigure(&mut self, toml: &str) {
        self.setup.configuration = Some(toml.to_owned());
    }

    /// Kills it unless it is dead, and starts it on the same address and state; ready on return.
    pub async fn restart(&mut self) {
        self.restart_unready().await;
        self.ready().await;
    }

    /// The same, but returns as soon as it listens: for the very first request.
    pub async fn restart_unready(&mut self) {
        self.process.kill9().await;
        let address = self.address().to_owned();
        let (process, url) = self.setup.spawn(&self.directory, &address).await;
        self.process = process;
        self.url = url;
    }
}

impl Builder {
    pub fn server(mut self, url: impl AsRef<str>) -> Self {
        self.servers.push(url.as_ref().to_owned());
        self
    }

    pub fn servers<U: AsRef<str>>(self, urls: impl IntoIterator<Item = U>) -> Self {
        urls.into_iter().fold(self, Self::server)
    }

    /// A further argument of `pointsman serve`.
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The text of a configuration file.
    pub fn config(mut self, toml: &str) -> Self {
        self.configuration = Some(toml.to_owned());
        self
    }

    /// Looks for servers on the machine. Only within [`isolated`](super::isolation::isolated), or it finds those of
    /// the person who runs the tests.
    pub fn scanning(mut self) -> Self {
        super::isolation::assert_isolated();
        self.scan = true;
        self
    }

    /// Starts it, and waits until it is ready.
    pub async fn start(self) -> Daemon {
        let daemon = self.start_unready().await;
        daemon.ready().await;
        daemon
    }

    /// Starts it, and waits until it listens.
    pub async fn start_unready(self) -> Daemon {
        let directory = TempDir::with_prefix("pointsman-daemon-").expect("a temporary directory");
        let (process, url) = self.spawn(&directory, "127.0.0.1:0").await;
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Daemon { process, url, setup: self, directory, client }
    }

    /// Starts one that should refuse to: gives its exit code and what it wrote.
    pub async fn start_failing(self) -> (Option<i32>, String) {
        let directory = TempDir::with_prefix("pointsman-daemon-").expect("a temporary directory");
        let mut process = Process::start("pointsman", &self.command(&directory, "127.0.0.1:0"));
        let status = process.ended().await;
        (status.code(), process.log_to_the_end().await)
    }

    async fn spawn(&self, directory: &TempDir, listen: &str) -> (Process, String) {
        let mut process = Process::start("pointsman", &self.command(directory, listen));
        let url = process.line_after("pointsman listening on ").await;
        (process, url.trim().trim_end_matches('/').to_owned())
    }

    fn command(&self, directory: &TempDir, listen: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
        command
            .arg("serve")
            .args(["--listen", listen])
            .arg("--state-dir")
            .arg(directory.path().join("state"));
        if !self.scan {
            command.arg("--no-scan");
        }
        for server in &self.servers {
            command.args(["--server", server]);
        }
        if let Some(configuration) = &self.configuration {
            let file = directory.path().join("pointsman.toml");
            std::fs::write(&file, configuration).expect("writable");
            command.arg("--config").arg(file);
        }
        command.args(&self.arguments);
        // Nothing of the person who runs the tests: no home, no POINTSMAN_* of theirs.
        command.current_dir(directory.path()).env("HOME", directory.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("RUST_LOG", "pointsman=debug").env("RUST_BACKTRACE", "1");
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        command
    }
}

impl Answer {
    /// The body as JSON; fails the test when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value, empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The fake server that answered, `127.0.0.1:PORT`; empty for real servers and for our own answers.
    pub fn fake(&self) -> &str {
        self.header("x-fake-server")
    }

    /// The server pointsman says it asked.
    pub fn server(&self) -> &str {
        self.header("x-pointsman-server")
    }

    /// Why it asked that one.
    pub fn route(&self) -> &str {
        self.header("x-pointsman-route")
    }
}
