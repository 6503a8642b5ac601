//! A terminal program as a person runs it: on a screen of its own (`tmux`), typed at and read.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{process::Command, time::sleep};

use super::{
    eventually::{PATIENCE, PAUSE, eventually, patiently},
    opencode::{Store, binary},
    process::Process,
};

/// Wide and high enough for all of a dialogue.
const SIZE: [&str; 4] = ["-x", "120", "-y", "40"];

/// After how long what was typed and is not shown will not be.
const UNHEARD: Duration = Duration::from_secs(5);

/// One program on one screen. Dropped, the screen is closed, which hangs the program up.
pub struct Screen {
    tmux: Process,
    pid: u32,
    directory: TempDir,
}

impl Screen {
    /// Runs `opencode` with `arguments` in `directory`, and waits until it has drawn its prompt.
    pub async fn opencode(store: &Store, directory: &Path, arguments: &[&str]) -> Self {
        let program = binary().display().to_string();
        let words: Vec<&str> = std::iter::once(program.as_str()).chain(arguments.iter().copied()).collect();
        let screen = Self::start(store, directory, &words).await;
        screen.wait_for("ctrl+p commands").await;
        screen
    }

    /// The same, with one more variable in its environment.
    pub async fn opencode_told(store: &Store, directory: &Path, name: &str, value: &str) -> Self {
        let (told, program) = (format!("{name}={value}"), binary().display().to_string());
        // It becomes the program, whose process is the same.
        let screen = Self::start(store, directory, &["env", &told, &program]).await;
        screen.wait_for("ctrl+p commands").await;
        screen
    }

    /// The same, for terminals that start with a session on them, where the prompt looks otherwise.
    pub async fn opencode_showing(store: &Store, directory: &Path, session: &str, text: &str) -> Self {
        let program = binary().display().to_string();
        let screen = Self::start(store, directory, &[&program, "-s", session]).await;
        screen.wait_for(text).await;
        screen
    }

    /// Attaches a terminal to `url` with a session on it; `text` is something that is written in that.
    pub async fn opencode_attached(
        store: &Store,
        directory: &Path,
        url: &str,
        session: &str,
        text: &str,
    ) -> Self {
        let program = binary().display().to_string();
        let screen = Self::start(store, directory, &[&program, "attach", url, "-s", session]).await;
        screen.wait_for(text).await;
        screen
    }

    async fn start(store: &Store, directory: &Path, words: &[&str]) -> Self {
        let own = TempDir::with_prefix("pointsman-screen-").expect("a temporary directory");
        let mut server = tmux(&own);
        // In the foreground, so that it is our child and ends with us. Programs get its environment.
        server.arg("-D").envs(store.environment());
        let tmux_process = Process::start("tmux", &server);
        let mut begin = client(&own);
        begin.args(["new-session", "-d", "-P", "-F", "#{pane_pid}"]).args(SIZE).arg("-c").arg(directory);
        begin.arg("--").args(words);
        let pid = eventually("a screen", || async {
            let output = begin_again(&begin).output().await.map_err(|error| error.to_string())?;
            let text = String::from_utf8_lossy(&output.stdout);
            text.trim().parse().map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())
        })
        .await;
        Self { tmux: tmux_process, pid, directory: own }
    }

    /// The program's process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Types text as it stands.
    pub async fn type_text(&self, text: &str) {
        self.run(&["send-keys", "-l", text]).await;
    }

    /// Presses a key by the name that `tmux` has for it: `Enter`, `C-p`.
    pub async fn press(&self, key: &str) {
        self.run(&["send-keys", key]).await;
    }

    /// Types a prompt and sends it off, once it stands there: an `Enter` that comes with the text is part of it. A
    /// prompt that was drawn a moment ago may not listen yet: what is not shown was not heard and is typed once more.
    pub async fn submit(&self, prompt: &str) {
        let began = Instant::now();
        self.type_text(prompt).await;
        let mut typed = began;
        loop {
            let shown = self.text().await;
            if shown.contains(prompt) {
                break;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{prompt:?} was typed and is not shown; the screen:\n{shown}"
            );
            if typed.elapsed() > UNHEARD {
                self.press("C-u").await;
                self.type_text(prompt).await;
                typed = Instant::now();
            }
            sleep(PAUSE).await;
        }
        self.press("Enter").await;
    }

    /// What stands on the screen.
    pub async fn text(&self) -> String {
        self.run(&["capture-pane", "-p"]).await
    }

    /// Waits until `text` stands on the screen.
    pub async fn wait_for(&self, text: &str) {
        eventually(&format!("{text:?} on the screen"), || async {
            let shown = self.text().await;
            if shown.contains(text) { Ok(()) } else { Err(shown) }
        })
        .await;
    }

    /// Waits until `text` stands there no more.
    pub async fn wait_until_gone(&self, text: &str) {
        eventually(&format!("{text:?} leaving the screen"), || async {
            let shown = self.text().await;
            if shown.contains(text) { Err(shown) } else { Ok(()) }
        })
        .await;
    }

    /// Switches OpenCode's automatic approval of permissions on, as a person does: by its palette of commands.
    pub async fn approve_everything(&self) {
        self.press("C-p").await;
        self.wait_for("Search").await;
        self.type_text("auto-approve").await;
        self.wait_for("Enable auto-approve permissions").await;
        self.press("Enter").await;
        self.wait_for("Build auto").await;
    }

    async fn run(&self, arguments: &[&str]) -> String {
        let output = patiently("tmux", client(&self.directory).args(arguments).output()).await;
        let output = output.expect("tmux is installed");
        assert!(output.status.success(), "tmux {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// `tmux` without anybody's configuration, on a socket that only this screen has.
fn tmux(directory: &TempDir) -> Command {
    let mut command = Command::new("tmux");
    command.arg("-f/dev/null").arg("-S").arg(directory.path().join("socket"));
    command
}

/// Asks the server, and starts no other if it is not there yet.
fn client(directory: &TempDir) -> Command {
    let mut command = tmux(directory);
    command.arg("-N");
    command
}

/// A terminal of OpenCode outlives its screen and then keeps a core busy. It is still tmux's child here, so the number
/// is its own.
impl Drop for Screen {
    fn drop(&mut self) {
        let command = std::fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let is_it = memchr::memmem::find(&command, b"opencode").is_some();
        if let Some(pid) =
            i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw).filter(|_| is_it)
        {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// The same command once more: `Command` cannot be cloned.
fn begin_again(command: &Command) -> Command {
    let mut again = Command::new(command.as_std().get_program());
    again.args(command.as_std().get_args());
    again
}
