//! The programs in `tests/opencode/*.mjs`: clients that exist for Node alone, told what to do line by line.

use std::{path::Path, process::Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::{
    eventually::{PATIENCE, patiently},
    process::dying_with_us,
};

/// One running script. Dropped, it is killed by its process id.
pub struct Script {
    name: &'static str,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    child: Child,
    /// Its home, and where it keeps what is to be gone afterwards.
    _directory: TempDir,
}

impl Script {
    /// Starts `tests/opencode/NAME.mjs`. Its errors go where the test's go.
    pub fn start(name: &'static str, arguments: &[&str]) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/opencode/{name}.mjs"));
        let directory = TempDir::with_prefix("pointsman-script-").expect("a temporary directory");
        let mut command = Command::new("node");
        command.arg(file).args(arguments).current_dir(&directory);
        command.env("HOME", directory.path()).env("TMPDIR", directory.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let mut child = dying_with_us(&command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node is installed");
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { name, input, output, child, _directory: directory }
    }

    /// Has it do one thing, and gives what came of it; fails the test when it could not be done.
    pub async fn run(&mut self, what: &str, mut with: Value) -> Value {
        with["do"] = json!(what);
        let doing = format!("{} doing {with}", self.name);
        // It gives up first, and says what it saw.
        let answer = patiently(&doing, async {
            self.input.write_all(format!("{with}\n").as_bytes()).await?;
            self.output.next_line().await
        });
        let answer = answer.await.ok().flatten().unwrap_or_else(|| panic!("{doing}: it has ended"));
        let answer: Value = serde_json::from_str(&answer).expect("a line of JSON");
        assert!(answer["error"].is_null(), "{doing}: {}", answer["error"].as_str().unwrap_or_default());
        answer["ok"].clone()
    }

    /// Tells it that nothing more is to be done, and waits until it has tidied up and ended.
    pub async fn end(self) {
        let Self { name, input, mut child, .. } = self;
        drop(input);
        let status = patiently(&format!("the end of {name}"), child.wait()).await;
        assert!(status.is_ok_and(|status| status.success()), "{name} did not end well");
    }
}

/// How many milliseconds a script may wait for anything: less than we wait for the script.
pub fn patience() -> String {
    (PATIENCE * 5 / 6).as_millis().to_string()
}
