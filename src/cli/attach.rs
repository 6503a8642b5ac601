//! `pointsman attach`: the agent's own terminal program, attached here.

use std::{ffi::OsString, io, path::absolute, process::Command};

use super::{
    AttachArgs,
    client::{CliError, Client},
};
use crate::{
    api::wire::SessionDetail,
    config::{Environment, Secret},
};

/// Where the terminal program looks for a password; on its command line every user of the machine could read it.
const PASSWORD: &str = "OPENCODE_SERVER_PASSWORD";

/// The name of the terminal program.
const PROGRAM: &str = "opencode";

/// Becomes the terminal program, or, where a process cannot become another, waits for it and ends as it does.
/// Returns only if it could not be started.
pub async fn run(args: &AttachArgs, environment: &Environment) -> Result<(), CliError> {
    let client = Client::new(&args.daemon, environment)?;
    let known = match &args.session {
        Some(session) => {
            let answer = client.get(&["sessions", session], &[]).await?;
            Some(client.read::<SessionDetail>(&answer)?.session.directory)
        }
        // Better told here than on a screen that stays empty.
        None => client.get(&["servers"], &[]).await.map(|_| None)?,
    };
    let directory = match &args.directory {
        Some(directory) => Some(absolute(directory).map_or_else(|_| directory.into(), Into::into)),
        None => known.filter(|directory| !directory.is_empty()).map(OsString::from),
    };
    let program = args.opencode.clone().unwrap_or_else(|| PROGRAM.into());
    let mut command = Command::new(&program);
    command.args(arguments(client.url(), args.session.as_deref(), directory));
    if let Some(token) = &args.daemon.token {
        command.env(PASSWORD, Secret::expose(token));
    }
    let source = become_it(command);
    let program = program.display().to_string();
    Err(match source.kind() {
        io::ErrorKind::NotFound if args.opencode.is_none() => CliError::NoProgram,
        _ => CliError::Unstarted { program, source },
    })
}

/// `attach URL [-s SESSION] [--dir DIRECTORY]`
fn arguments(url: &str, session: Option<&str>, directory: Option<OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["attach".into(), url.into()];
    if let Some(session) = session {
        arguments.extend(["-s".into(), session.into()]);
    }
    if let Some(directory) = directory {
        arguments.extend(["--dir".into(), directory]);
    }
    arguments
}

#[cfg(unix)]
fn become_it(mut command: Command) -> io::Error {
    std::os::unix::process::CommandExt::exec(&mut command)
}

#[cfg(not(unix))]
fn become_it(mut command: Command) -> io::Error {
    match command.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_named() {
        let words = |session, directory: Option<&str>| {
            let arguments = arguments("http://127.0.0.1:4747/oc", session, directory.map(Into::into));
            arguments.iter().map(|word| word.to_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(words(None, None), "attach http://127.0.0.1:4747/oc");
        assert_eq!(
            words(Some("ses_1"), Some("/home/me")),
            "attach http://127.0.0.1:4747/oc -s ses_1 --dir /home/me"
        );
    }
}
