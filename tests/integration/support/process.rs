//! A child process that a test started: its output is kept, its failure told, its end certain.

use std::{
    process::{ExitStatus, Stdio},
    sync::Arc,
};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
};

use super::eventually::patiently;

/// A running child. Dropped, it is killed by its id, and its output is shown if the test is failing.
pub struct Process {
    name: String,
    child: Child,
    pid: u32,
    log: Log,
    readers: Vec<JoinHandle<()>>,
}

/// What a process has written so far, both outputs, and a sign for each new line.
#[derive(Clone)]
struct Log {
    text: Arc<Mutex<String>>,
    lines: Arc<watch::Sender<usize>>,
}

impl Process {
    /// Starts `command`; `name` is how failures speak of it.
    ///
    /// On Linux the kernel kills the child as well when the thread that started it is gone, however that came.
    pub fn start(name: &str, command: &Command) -> Self {
        let mut wrapped = dying_with_us(command);
        let mut child = wrapped
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} could not be started ({wrapped:?}): {error}"));
        let pid = child.id().expect("a child that was not waited for has an id");
        let log = Log { text: Arc::default(), lines: Arc::new(watch::Sender::new(0)) };
        let readers = vec![
            log.collect(child.stdout.take().expect("piped")),
            log.collect(child.stderr.take().expect("piped")),
        ];
        Self { name: name.to_owned(), child, pid, log, readers }
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Everything written so far, in the order it came.
    pub fn log(&self) -> String {
        self.log.text.lock().clone()
    }

    /// The same, once both outputs are closed, which is after the end.
    pub async fn log_to_the_end(&mut self) -> String {
        for reader in self.readers.drain(..) {
            let _ = patiently("the end of the output", reader).await;
        }
        self.log()
    }

    /// The rest of the first line that starts with `prefix`; fails the test when the process ends without it.
    pub async fn line_after(&mut self, prefix: &str) -> String {
        let mut lines = self.log.lines.subscribe();
        let what = format!("{} writing {prefix:?}", self.name);
        let found = patiently(&what, async {
            loop {
                lines.borrow_and_update();
                if let Some(rest) = self.log.find(prefix) {
                    return Ok(rest);
                }
                tokio::select! {
                    _ = lines.changed() => {}
                    status = self.child.wait() => return Err(status),
                }
            }
        });
        match found.await {
            Ok(rest) => rest,
            Err(status) => {
                self.log_to_the_end().await;
                let found = self.log.find(prefix);
                found.unwrap_or_else(|| panic!("{} ended with {status:?}, not {what}", self.name))
            }
        }
    }

    /// `SIGKILL`, and waits until it is gone.
    pub async fn kill9(&mut self) {
        self.signal(Signal::KILL);
        self.ended().await;
    }

    /// `SIGTERM`, and waits until it is gone.
    pub async fn term(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Sends a signal, `STOP` and `CONT` included: a stopped process is a server that hangs.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid).expect("a process id")).expect("not zero");
        // Gone already is what the caller wants.
        let _ = rustix::process::kill_process(pid, signal);
    }

    /// Waits until the process has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        patiently(&format!("the end of {}", self.name), self.child.wait()).await.expect("waited for once")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {} (pid {}) wrote:\n{}---", self.name, self.pid, self.log());
        }
    }
}

impl Log {
    fn collect(&self, output: impl AsyncRead + Unpin + Send + 'static) -> JoinHandle<()> {
        let log = self.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let mut text = log.text.lock();
                text.push_str(&line);
                text.push('\n');
                drop(text);
                log.lines.send_modify(|count| *count += 1);
            }
        })
    }

    fn find(&self, prefix: &str) -> Option<String> {
        self.text.lock().lines().find_map(|line| line.strip_prefix(prefix).map(str::to_owned))
    }
}

/// `command`, behind `setpriv` where there is one: it replaces itself, so process id and command line stay.
pub(super) fn dying_with_us(command: &Command) -> Command {
    let command = command.as_std();
    let setpriv = std::path::Path::new("/usr/bin/setpriv");
    let mut wrapped = if setpriv.exists() {
        let mut wrapped = Command::new(setpriv);
        wrapped.args(["--pdeathsig", "KILL"]).arg(command.get_program());
        wrapped
    } else {
        Command::new(command.get_program())
    };
    wrapped.args(command.get_args());
    if let Some(directory) = command.get_current_dir() {
        wrapped.current_dir(directory);
    }
    wrapped.env_clear();
    for (key, value) in command.get_envs() {
        if let Some(value) = value {
            wrapped.env(key, value);
        }
    }
    wrapped
}
