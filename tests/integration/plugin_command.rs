//! `pointsman plugin`, as a person runs it: what it says, what it leaves, and how it refuses.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{daemon::Daemon, process::Process};

/// Runs `pointsman plugin …` in a home; gives the exit code and what it wrote.
async fn plugin(home: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
    command.arg("plugin").args(arguments).current_dir(home).env("HOME", home);
    let mut process = Process::start("pointsman", &command);
    let status = process.ended().await;
    (status.code(), process.log_to_the_end().await)
}

#[tokio::test]
async fn it_is_installed_once_told_of_and_taken_away() {
    let home = TempDir::new().unwrap();
    let config = home.path().join(".config/opencode/tui.json");
    let (code, wrote) = plugin(home.path(), &["status"]).await;
    assert!(code == Some(0) && wrote.contains("not installed"), "{wrote}");

    let (code, wrote) = plugin(home.path(), &["install"]).await;
    assert!(code == Some(0) && wrote.contains(&format!("edited   {}", config.display())), "{wrote}");
    let text = fs::read_to_string(&config).unwrap();
    let state = home.path().join(".local/state/pointsman");
    assert!(text.contains("./pointsman/tui.js") && text.contains(state.to_str().unwrap()), "{text}");
    let (_, wrote) = plugin(home.path(), &["install"]).await;
    assert!(wrote.contains("nothing was changed"), "{wrote}");
    assert_eq!(fs::read_to_string(&config).unwrap(), text);

    let (_, wrote) = plugin(home.path(), &["status"]).await;
    for line in
        ["The plugin is installed", config.to_str().unwrap(), env!("CARGO_PKG_VERSION"), "cannot be told"]
    {
        assert!(wrote.contains(line), "{line} is missing in {wrote}");
    }
    let (code, wrote) = plugin(home.path(), &["uninstall"]).await;
    assert!(code == Some(0) && wrote.contains("removed"), "{wrote}");
    assert!(!config.exists() && !home.path().join(".config/opencode/pointsman").exists());
    let (_, wrote) = plugin(home.path(), &["uninstall"]).await;
    assert!(wrote.contains("nothing was changed"), "{wrote}");
}

#[tokio::test]
async fn runs_are_made_known_only_by_those_who_were_told_the_price() {
    let home = TempDir::new().unwrap();
    let entry = home.path().join(".config/opencode/plugin/pointsman.js");
    let (_, wrote) = plugin(home.path(), &["install"]).await;
    assert!(!entry.exists() && !wrote.contains("waits"), "{wrote}");
    let (_, wrote) = plugin(home.path(), &["status"]).await;
    assert!(wrote.contains("pointsman plugin install --runs"), "{wrote}");

    let (code, wrote) = plugin(home.path(), &["install", "--runs"]).await;
    assert!(code == Some(0) && wrote.contains(&format!("wrote    {}", entry.display())), "{wrote}");
    assert!(wrote.contains("Terminals and runs") && wrote.contains("waits at each start"), "{wrote}");
    let (_, wrote) = plugin(home.path(), &["status"]).await;
    assert!(wrote.contains(&format!("made known by {}", entry.display())), "{wrote}");

    let (code, wrote) = plugin(home.path(), &["uninstall", "--runs"]).await;
    assert!(code == Some(0) && wrote.contains(&format!("removed  {}", entry.display())), "{wrote}");
    assert!(!entry.parent().unwrap().exists() && home.path().join(".config/opencode/tui.json").exists());
    let (_, wrote) = plugin(home.path(), &["uninstall", "--runs"]).await;
    assert!(wrote.contains("nothing was changed"), "{wrote}");
}

#[tokio::test]
async fn directories_are_taken_from_flags_then_from_the_environment() {
    let home = TempDir::new().unwrap();
    let named = home.path().join("named");
    let arguments = ["install", "--config-dir", "named", "--state-dir", "state"];
    assert_eq!(plugin(home.path(), &arguments).await.0, Some(0));
    let text = fs::read_to_string(named.join("tui.json")).unwrap();
    // A relative name means nothing where terminals are started.
    assert!(text.contains(home.path().join("state").to_str().unwrap()), "{text}");

    for (variable, expected) in
        [("OPENCODE_CONFIG_DIR", "elsewhere/tui.json"), ("XDG_CONFIG_HOME", "elsewhere/opencode/tui.json")]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
        command
            .args(["plugin", "install"])
            .env("HOME", home.path())
            .env(variable, home.path().join("elsewhere"));
        assert!(Process::start("pointsman", &command).ended().await.success());
        assert!(home.path().join(expected).exists(), "{expected}");
    }
}

#[tokio::test]
async fn a_configuration_that_cannot_be_edited_is_named_and_left_as_it_is() {
    for (text, mode, named) in [
        ("{ \"plugin\": [ // broken", 0o644, "not valid JSON"),
        ("{ \"plugin\": 7 }", 0o644, "no list"),
        ("[]", 0o644, "no object"),
        ("{}", 0o444, "read-only"),
    ] {
        let home = TempDir::new().unwrap();
        let directory = home.path().join(".config/opencode");
        fs::create_dir_all(&directory).unwrap();
        let config = directory.join("tui.json");
        fs::write(&config, text).unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(mode)).unwrap();
        let (code, wrote) = plugin(home.path(), &["install"]).await;
        assert_eq!((code, wrote.trim_end().lines().count()), (Some(2), 1), "{wrote}");
        assert!(wrote.contains(named) && wrote.contains(config.to_str().unwrap()), "{wrote}");
        assert_eq!(fs::read_to_string(&config).unwrap(), text);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "nothing else was left");
    }
}

#[tokio::test]
async fn the_daemon_that_is_meant_is_asked_which_terminals_have_it() {
    let home = TempDir::new().unwrap();
    let daemon = Daemon::start(Vec::<String>::new()).await;
    let state = daemon.state_directory().display().to_string();
    assert_eq!(plugin(home.path(), &["install", "--state-dir", &state]).await.0, Some(0));
    let (code, wrote) = plugin(home.path(), &["status"]).await;
    assert!(code == Some(0) && wrote.contains("No terminal runs"), "{wrote}");
}
