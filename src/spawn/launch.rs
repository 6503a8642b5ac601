//! Starting the program itself.

use std::{fmt::Write as _, fs::File, io, net::TcpListener, path::Path, process::Stdio};

use rand::Rng as _;
use tokio::process::{Child, Command};

use crate::config::Secret;

/// Where the agent looks for the password that it wants to be told.
const PASSWORD: &str = "OPENCODE_SERVER_PASSWORD";

/// And for the user name, which it would otherwise take from our own environment.
const USERNAME: &str = "OPENCODE_SERVER_USERNAME";

/// The user name that goes with every password here.
pub(super) const USER: &str = "opencode";

/// What our own variables begin with. They may hold a token, and are no business of an agent's tools.
const OURS: &str = "POINTSMAN_";

/// A port of this machine that is free now.
pub(super) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// A password that nobody has.
pub(super) fn draw_password() -> Secret {
    let bytes: [u8; 24] = rand::rng().random();
    let text = bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    text.into()
}

/// Runs `command serve` in `directory`, in a process group of its own: an interrupt at the daemon's terminal is for the
/// daemon, which then ends its servers in order. It outlives the handle that is given back.
pub(super) fn start(
    command: &Path,
    directory: &Path,
    port: u16,
    password: &Secret,
    log: File,
) -> io::Result<Child> {
    let mut child = Command::new(command);
    child
        .args(["serve", "--hostname", "127.0.0.1", "--port", &port.to_string()])
        .current_dir(directory)
        .env("PWD", directory)
        .env(PASSWORD, password.expose())
        .env(USERNAME, USER)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(OURS.as_bytes()) {
            child.env_remove(name);
        }
    }
    #[cfg(unix)]
    child.process_group(0);
    child.spawn()
}
