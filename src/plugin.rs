//! The plugin that makes a terminal of the agent known to a daemon, and a run if that is asked for: its files, as they
//! lie in `src/plugin/`.
//!
//! It is JavaScript and runs in the agent's process; nothing here runs it. What it promises stands in its own files.

/// One file of the plugin.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// Its name within the plugin's directory.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// The file that terminals of the agent are told to load.
pub const ENTRY: &str = "tui.js";

/// The file that servers of the agent load if runs are to be known too.
pub const RUNS: &str = "runs.js";

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(File { name: $name, text: include_str!(concat!("plugin/", $name)) }),*]
    };
}

/// All of them. They lie side by side and import one another by name.
pub const FILES: &[File] = files![
    "daemon.js",
    "event-types.js",
    "headless.js",
    "hearing.js",
    "http.js",
    "invocation.js",
    "own-process.js",
    "own-sockets.js",
    "package.json",
    "passage.js",
    "presence.js",
    "registration-file.js",
    "runs.js",
    "screen.js",
    "server.js",
    "streams.js",
    "tui.js",
    "within.js",
];

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn every_file_of_the_directory_is_embedded() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plugin");
        let there: BTreeSet<String> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let embedded: BTreeSet<String> = FILES.iter().map(|file| file.name.to_owned()).collect();
        assert_eq!(embedded, there);
        assert!(embedded.contains(ENTRY) && embedded.contains(RUNS));
    }
}
