//! The real `OpenCode`, as `tests/run` installed it: servers that share a store, projects, and a scripted model.
//!
//! Every [`Store`] has a home and data directories of its own, so servers of one store share a database and those of
//! two do not, and nothing of the person who runs the tests is seen or touched. Servers are slow to start and large
//! (300 to 800 MB), so no more than [`AT_A_TIME`] tests have a store at once; others wait in [`Store::new`].

mod configuration;
mod shared;

use std::{
    path::{Path, PathBuf},
    process::Command as StdCommand,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    process::Command,
    sync::{Mutex, Semaphore, SemaphorePermit},
};

use self::configuration::{configuration, install_plugin, pretend_its_package_is_there, write};
pub use self::shared::{Shared, shared};
use super::{
    eventually::{eventually, patiently},
    model::Model,
    ports::free_port,
    process::Process,
    sse::{EventStream, Received},
};

/// Two cores carry two starting servers; more only wait for each other.
pub const AT_A_TIME: usize = 2;

static PERMITS: Semaphore = Semaphore::const_new(AT_A_TIME);

/// Takes the place of one test with real servers, for as long as it is kept.
pub async fn permit() -> SemaphorePermit<'static> {
    PERMITS.acquire().await.expect("never closed")
}

/// A home that several servers share: configuration, database, model.
pub struct Store {
    pub model: Model,
    /// Whether a first server has made the database. Two that make it at the same time get in each other's way, and one
    /// of them ends.
    has_database: Mutex<bool>,
    root: PathBuf,
    _directory: TempDir,
    _permit: Option<SemaphorePermit<'static>>,
}

/// Whether the counting plugin is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plugin {
    None,
    Counting,
}

impl Store {
    /// A store in an empty home. Waits until fewer than [`AT_A_TIME`] other tests have one.
    pub async fn new() -> Self {
        Self::prepare(Some(permit().await), Plugin::None).await
    }

    /// The same, with a plugin that notes every directory of which an instance is loaded: see [`Self::opened`].
    pub async fn counting() -> Self {
        Self::prepare(Some(permit().await), Plugin::Counting).await
    }

    /// A further store for a test that already has one; takes no second place, which could wait for ever.
    pub async fn another(&self) -> Self {
        Self::prepare(None, Plugin::None).await
    }

    async fn prepare(permit: Option<SemaphorePermit<'static>>, plugin: Plugin) -> Self {
        let directory = TempDir::with_prefix("pointsman-opencode-").expect("a temporary directory");
        Self::prepare_in(directory, permit, plugin).await
    }

    async fn prepare_in(
        directory: TempDir,
        permit: Option<SemaphorePermit<'static>>,
        plugin: Plugin,
    ) -> Self {
        // The server reports real paths.
        let root = directory.path().canonicalize().expect("it was just made");
        let model = Model::start().await;
        let config = root.join("home/.config/opencode");
        std::fs::create_dir_all(&config).expect("writable");
        write(&config.join("opencode.json"), &configuration(&model.base_url()).to_string());
        if plugin == Plugin::Counting {
            install_plugin(&config, &root.join("opened"));
        }
        Self { model, has_database: Mutex::default(), root, _directory: directory, _permit: permit }
    }

    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// The file that the servers of this store hold open, once one has made it.
    pub(super) fn database(&self) -> PathBuf {
        self.home().join(".local/share/opencode/opencode.db")
    }

    /// This test program under the servers' name.
    pub(super) fn program(&self) -> PathBuf {
        let link = self.root.join("stand-in/opencode");
        if !link.exists() {
            let own = std::env::current_exe().expect("the test program has a path");
            std::fs::create_dir_all(self.root.join("stand-in")).expect("writable");
            std::os::unix::fs::symlink(own, &link).expect("writable");
        }
        link
    }

    /// A new git repository with one commit unlike any other: equal first commits would be one project.
    pub fn project(&self, name: &str) -> PathBuf {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let directory = self.root.join(name);
        std::fs::create_dir_all(&directory).expect("writable");
        let message = format!("{name} {} {}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        git(&directory, &["init", "--quiet"]);
        git(&directory, &["commit", "--quiet", "--allow-empty", "--message", &message]);
        directory
    }

    /// A directory that is no repository.
    pub fn directory(&self, name: &str) -> PathBuf {
        let directory = self.root.join(name);
        std::fs::create_dir_all(&directory).expect("writable");
        directory
    }

    /// Every instance that was loaded so far in a [`Self::counting`] store: its directory and the process.
    pub fn opened(&self) -> Vec<(PathBuf, u32)> {
        let text = std::fs::read_to_string(self.root.join("opened")).unwrap_or_default();
        let line = |line: &str| {
            let (pid, directory) = line.split_once(' ').expect("two fields");
            (PathBuf::from(directory), pid.parse().expect("a process id"))
        };
        text.lines().map(line).collect()
    }

    /// Installs the plugin for the daemon that uses `state`, as a person does.
    pub async fn install_plugin(&self, state: &Path) {
        self.plugin(&["install", "--state-dir", &state.display().to_string()]).await;
    }

    /// The same for runs as well, and nothing is fetched for it.
    pub async fn install_plugin_for_runs(&self, state: &Path) {
        pretend_its_package_is_there(&self.home().join(".config/opencode"));
        self.plugin(&["install", "--runs", "--state-dir", &state.display().to_string()]).await;
    }

    /// `pointsman plugin …` for this home's configuration; gives what it wrote.
    pub async fn plugin(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
        command.arg("plugin").args(arguments).arg("--config-dir").arg(self.home().join(".config/opencode"));
        let mut process = Process::start("pointsman plugin", &command);
        assert!(process.ended().await.success());
        process.log_to_the_end().await
    }

    /// Runs `opencode` with `arguments` in `directory` to its end; gives what it wrote.
    pub async fn run(&self, directory: &Path, arguments: &[&str]) -> String {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(directory).envs(self.environment());
        let mut process = Process::start("opencode", &command);
        process.ended().await;
        process.log_to_the_end().await
    }

    /// What every process of this store gets as its environment, and nothing else.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let home = self.home();
        let under = |name: &str| home.join(name).display().to_string();
        vec![
            ("HOME", home.display().to_string()),
            ("XDG_CONFIG_HOME", under(".config")),
            ("XDG_DATA_HOME", under(".local/share")),
            ("XDG_STATE_HOME", under(".local/state")),
            ("XDG_CACHE_HOME", under(".cache")),
            ("PATH", std::env::var_os("PATH").unwrap_or_default().to_string_lossy().into_owned()),
            ("SHELL", "/bin/bash".to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
            ("OPENCODE_DISABLE_AUTOUPDATE", "1".to_owned()),
            ("OPENCODE_DISABLE_LSP_DOWNLOAD", "1".to_owned()),
            ("OPENCODE_DISABLE_MODELS_FETCH", "1".to_owned()),
        ]
    }
}

/// One `opencode serve`. Dropped, it is killed by its process id.
pub struct OpenCode {
    process: Process,
    port: u16,
    directory: PathBuf,
    password: Option<String>,
    client: reqwest::Client,
}

/// How to start one.
pub struct Builder<'a> {
    store: &'a Store,
    directory: PathBuf,
    port: Option<u16>,
    password: Option<String>,
}

impl OpenCode {
    /// Starts a server in `directory` on a free port, and waits until it answers.
    pub async fn start(store: &Store, directory: &Path) -> Self {
        Self::builder(store, directory).start().await
    }

    pub fn builder<'a>(store: &'a Store, directory: &Path) -> Builder<'a> {
        Builder { store, directory: directory.to_owned(), port: None, password: None }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// `127.0.0.1:PORT`, as `X-Pointsman-Server` names it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    /// A request straight to this server, past everything else.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method.parse().expect("a method"), format!("{}{path}", self.url()));
        match &self.password {
            Some(password) => {
                use base64::{Engine, engine::general_purpose::STANDARD};
                let basic = STANDARD.encode(format!("opencode:{password}"));
                request.header("authorization", format!("Basic {basic}"))
            }
            None => request,
        }
    }

    /// `GET path`, which must succeed with JSON.
    pub async fn get(&self, path: &str) -> Value {
        self.call(self.request("GET", path)).await
    }

    /// `POST path`, which must succeed with JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Value {
        self.call(self.request("POST", path).json(body)).await
    }

    /// A session of this server's own directory, created out of band; gives its id.
    pub async fn create_session(&self) -> String {
        let session = self.post("/session", &json!({})).await;
        session["id"].as_str().expect("a session has an id").to_owned()
    }

    /// The events of this server's own directory, from now on.
    pub async fn events(&self) -> EventStream {
        let path = format!("/event?directory={}", self.directory.display());
        let mut stream = EventStream::open_with(self.request("GET", &path)).await;
        stream.expect_kind("server.connected").await;
        stream
    }

    /// All events of this server, from now on. OpenCode says `server.connected` on this stream some milliseconds
    /// before it listens to itself, so this waits for an event of its own making.
    pub async fn global_events(&self) -> EventStream {
        let mut stream = EventStream::open_with(self.request("GET", "/global/event")).await;
        loop {
            let session = self.create_session().await;
            let created = |event: &Received| event.kind() == "session.created" && event.session() == session;
            if stream.hears_within(Duration::from_millis(300), created).await {
                return stream;
            }
        }
    }

    /// Sends a turn straight to this server and waits for its end; gives the message.
    pub async fn prompt(&self, session: &str, text: &str) -> Value {
        self.post(&format!("/session/{session}/message"), &prompt(text)).await
    }

    /// Sends a turn straight to this server, which accepts it and works on.
    pub async fn prompt_async(&self, session: &str, text: &str) {
        let request = self.request("POST", &format!("/session/{session}/prompt_async")).json(&prompt(text));
        let response = patiently("the acceptance of a turn", request.send()).await.expect("it answers");
        assert_eq!(response.status(), 204, "the turn is accepted");
    }

    /// Waits until this server says it is busy with the session.
    pub async fn wait_until_busy(&self, session: &str) {
        eventually("the session being busy", || async {
            let status = self.get("/session/status").await;
            if status[session]["type"] == "busy" { Ok(()) } else { Err(status) }
        })
        .await;
    }

    /// Waits until this server is not busy with the session.
    pub async fn wait_until_idle(&self, session: &str) {
        eventually("the session being idle", || async {
            let status = self.get("/session/status").await;
            if status[session].is_null() { Ok(()) } else { Err(status) }
        })
        .await;
    }

    /// Waits for a permission that a turn of the session asks for; gives its id.
    pub async fn wait_for_permission(&self, session: &str) -> String {
        eventually("a permission being asked for", || async {
            let open = self.get("/permission").await;
            let own = open.as_array().into_iter().flatten().find(|asked| asked["sessionID"] == session);
            own.and_then(|asked| asked["id"].as_str()).map(str::to_owned).ok_or(open.clone())
        })
        .await
    }

    pub async fn kill9(&mut self) {
        self.process.kill9().await;
    }

    pub async fn term(&mut self) {
        self.process.term().await;
    }

    async fn call(&self, request: reqwest::RequestBuilder) -> Value {
        let response = patiently("an answer of OpenCode", request.send()).await.expect("it answers");
        let (status, url) = (response.status(), response.url().clone());
        let text = patiently("the rest of the answer", response.text()).await.expect("it is complete");
        assert!(status.is_success(), "{url} answered {status}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{url} answered no JSON ({error}): {text}"))
    }
}

impl Builder<'_> {
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Demands basic authentication of user `opencode`.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    pub async fn start(self) -> OpenCode {
        let mut has_database = self.store.has_database.lock().await;
        if *has_database {
            drop(has_database);
            return self.start_now().await;
        }
        let server = self.start_now().await;
        *has_database = true;
        server
    }

    async fn start_now(self) -> OpenCode {
        let port = self.port.unwrap_or_else(free_port);
        let mut command = Command::new(binary());
        command.args(["serve", "--port", &port.to_string()]).current_dir(&self.directory);
        command.envs(self.store.environment());
        if let Some(password) = &self.password {
            command.env("OPENCODE_SERVER_PASSWORD", password);
        }
        let process = Process::start(&format!("opencode on port {port}"), &command);
        let client = reqwest::Client::builder()
            .no_proxy()
            // A kept connection would belong to the runtime of the test that opened it.
            .pool_max_idle_per_host(0)
            .build()
            .expect("a client");
        let mut server =
            OpenCode { process, port, directory: self.directory, password: self.password, client };
        server.process.line_after("opencode server listening on ").await;
        eventually("OpenCode being healthy", || async {
            let response =
                server.request("GET", "/global/health").send().await.map_err(|error| error.to_string())?;
            if response.status().is_success() { Ok(()) } else { Err(response.status().to_string()) }
        })
        .await;
        server
    }
}

/// The body of a turn with one text part.
pub fn prompt(text: &str) -> Value {
    json!({"parts": [{"type": "text", "text": text}]})
}

/// The executable itself, not the script that npm puts before it: its process must be the server.
pub fn binary() -> PathBuf {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/opencode/node_modules");
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let system = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
    let binary = modules.join(format!("opencode-{system}-{machine}/bin/opencode"));
    assert!(binary.exists(), "{} is missing; `tests/run` installs it", binary.display());
    binary
}

fn git(directory: &Path, arguments: &[&str]) {
    let mut command = StdCommand::new("git");
    command
        .current_dir(directory)
        .args(["-c", "user.name=test", "-c", "user.email=test@localhost"])
        .args(arguments);
    let output = command.output().expect("git is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
