//! The programs that are measured, each in a process of its own that ends with the bench.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long a program has to begin.
const START: Duration = Duration::from_secs(20);

/// The kernel counts processor time in hundredths of a second, on every Linux there is.
const TICK: Duration = Duration::from_millis(10);

/// A running program.
#[derive(Debug)]
pub(crate) struct Program {
    /// Its name in tables.
    pub(crate) name: &'static str,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Program {
    /// Our own daemon in front of `servers`, with its state in `directory`, looking around every second.
    pub(crate) fn pointsman(servers: &[SocketAddr], directory: &Path) -> Self {
        Self::pointsman_listening(servers, directory).once_answering("/readyz")
    }

    /// The same, as soon as it listens.
    pub(crate) fn pointsman_listening(servers: &[SocketAddr], directory: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--no-scan", "--log", "warn", "--state-dir"]);
        command.arg(directory.join("state"));
        for address in servers {
            command.arg("--server").arg(format!("http://{address}"));
        }
        Self::telling("pointsman", &mut command)
    }

    /// A program that says in its first line where it listens.
    pub(crate) fn telling(name: &'static str, command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit("http://").next().unwrap().parse().unwrap();
        Self::started(name, address, child)
    }

    /// A program that has been started.
    pub(crate) fn started(name: &'static str, address: SocketAddr, child: Child) -> Self {
        Self { name, address, child }
    }

    /// The same, once it answers `path`.
    pub(crate) fn once_answering(self, path: &str) -> Self {
        let until = Instant::now() + START;
        while self.get(path).is_none_or(|answer| !answer.starts_with("HTTP/1.1 200")) {
            assert!(Instant::now() < until, "{} does not answer", self.name);
            thread::sleep(Duration::from_millis(50));
        }
        self
    }

    /// The whole answer, head included, to a read on a connection of its own. `None` if none came.
    pub(crate) fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let mut answer = String::new();
        stream.write_all(request.as_bytes()).ok()?;
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Processor time so far, of this process and its children.
    pub(crate) fn processor_time(&self) -> Duration {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let children = fs::read_to_string(children).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        children.chain([self.child.id()]).map(ticks).sum()
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Told, not killed: nginx takes its workers along.
        let told = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap())
            .map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM));
        if told.is_none_or(|told| told.is_err()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

fn ticks(pid: u32) -> Duration {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return Duration::ZERO };
    // The name may hold spaces; behind its bracket user and system time are the twelfth and thirteenth field.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    TICK * fields.filter_map(|ticks| ticks.parse::<u32>().ok()).sum()
}
