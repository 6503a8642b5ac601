//! A process that looks like an agent to the system, for the tests of everything that reads processes: this test
//! program itself, started under the name `opencode`, listening, with an `opencode.db` open.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

/// Set in the environment of the impostor alone: tells the test program that it is one.
const ROLE: &str = "ACT_AS_AN_AGENT";

/// What stands before the address in the line the impostor prints.
const ANNOUNCEMENT: &str = "impostor listens on ";

/// Ends when dropped.
pub(super) struct Impostor {
    child: Child,
    directory: TempDir,
    pub(super) address: SocketAddr,
}

impl Impostor {
    /// Returns once it listens.
    pub(super) fn start() -> Self {
        let directory = TempDir::new().unwrap();
        File::create(directory.path().join("opencode.db")).unwrap();
        let program = directory.path().join(format!("opencode{}", std::env::consts::EXE_SUFFIX));
        #[cfg(unix)]
        std::os::unix::fs::symlink(std::env::current_exe().unwrap(), &program).unwrap();
        #[cfg(not(unix))]
        std::fs::hard_link(std::env::current_exe().unwrap(), &program).unwrap();
        let mut child = Command::new(program)
            .args(["--exact", "--nocapture", "machine::impostor::an_impostor_listens_where_it_says"])
            .env(ROLE, "1")
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        // The test harness may have begun the line with the name of the test.
        let announced = lines.find_map(|line| Some(line.split_once(ANNOUNCEMENT)?.1.to_owned()));
        let address = announced.unwrap().parse().unwrap();
        Self { child, directory, address }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn directory(&self) -> PathBuf {
        self.directory.path().canonicalize().unwrap()
    }

    #[cfg(target_os = "linux")]
    pub(super) fn store(&self) -> PathBuf {
        self.directory().join("opencode.db")
    }

    /// Kills it without collecting it: it stays a zombie.
    #[cfg(target_os = "linux")]
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_impostor_listens_where_it_says() {
    if std::env::var_os(ROLE).is_some() {
        return act();
    }
    let impostor = Impostor::start();
    TcpStream::connect(impostor.address).unwrap();
}

/// What the impostor does.
fn act() {
    let _store = File::open("opencode.db").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{ANNOUNCEMENT}{}", listener.local_addr().unwrap());
    // Holds its end of every connection.
    std::thread::spawn(move || listener.incoming().map(Result::unwrap).collect::<Vec<TcpStream>>());
    // Until the one who started it has gone.
    let _ = std::io::stdin().read(&mut [0]);
}
