use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const STATE: &str = "/home/ann/.local/state/pointsman";

/// Every file below `home`, with its text.
fn everything(home: &Path) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(home).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            files.extend(everything(&entry.path()));
            // Empty directories count as well.
            files.insert(entry.path(), String::new());
        } else {
            files.insert(entry.path(), fs::read_to_string(entry.path()).unwrap());
        }
    }
    files
}

#[test]
fn what_was_installed_twice_is_undone_to_the_letter() {
    for before in [
        None,
        Some(""),
        Some("{}"),
        Some("{\"theme\":\"x\"}"),
        Some("// mine\n{\n\t\"plugin\": [ \"./a.js\" ] , // and\n}\r\n"),
        Some("{ \"plugin\": [] }\n"),
    ] {
        let home = tempfile::tempdir().unwrap();
        if let Some(text) = before {
            fs::write(home.path().join("tui.json"), text).unwrap();
        }
        let at_first = everything(home.path());
        let installation = Installation::new(home.path().to_owned());
        assert!(!installation.install(STATE, false).unwrap().is_empty());
        let installed = everything(home.path());
        assert_eq!(installation.install(STATE, false).unwrap(), []);
        assert_eq!(everything(home.path()), installed);
        installation.install("/elsewhere", false).unwrap();
        assert_eq!(installation.find().unwrap().unwrap().state_dir, Path::new("/elsewhere"));
        installation.uninstall().unwrap();
        assert_eq!(everything(home.path()), at_first, "{before:?}");
        assert_eq!(installation.uninstall().unwrap(), []);
    }
}

#[test]
fn what_somebody_wrote_since_stays() {
    let home = tempfile::tempdir().unwrap();
    let installation = Installation::new(home.path().to_owned());
    installation.install(STATE, false).unwrap();
    let config = home.path().join("tui.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replacen('{', "{\n  \"theme\": \"mine\", // since\n", 1)).unwrap();
    fs::write(home.path().join("pointsman/notes.txt"), "mine too").unwrap();
    installation.uninstall().unwrap();
    let left = fs::read_to_string(&config).unwrap();
    assert!(left.contains("\"mine\"") && left.contains("// since") && !left.contains("plugin"), "{left}");
    assert!(home.path().join("pointsman/notes.txt").exists());
    assert!(!home.path().join("pointsman/tui.js").exists());
}

#[test]
fn a_configuration_with_comments_in_its_name_is_used_where_it_alone_is_there() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("tui.jsonc"), "{ /* mine */ }").unwrap();
    let installation = Installation::new(home.path().to_owned());
    installation.install(STATE, false).unwrap();
    assert_eq!(installation.find().unwrap().unwrap().config, home.path().join("tui.jsonc"));
    assert!(!home.path().join("tui.json").exists());
}

#[test]
fn a_broken_configuration_is_named_and_nothing_is_done() {
    for broken in ["{ \"plugin\": [", "[]", "{\"plugin\": {}}"] {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("tui.json"), broken).unwrap();
        let at_first = everything(home.path());
        let told = Installation::new(home.path().to_owned()).install(STATE, false).unwrap_err().to_string();
        assert!(told.contains("tui.json") && told.contains("nothing was changed"), "{told}");
        assert_eq!(everything(home.path()), at_first);
    }
}

#[test]
fn files_of_another_version_are_seen_and_replaced() {
    let home = tempfile::tempdir().unwrap();
    let installation = Installation::new(home.path().to_owned());
    assert_eq!(installation.find().unwrap(), None);
    installation.install(STATE, false).unwrap();
    assert!(installation.find().unwrap().unwrap().current);
    let file = home.path().join("pointsman/screen.js");
    fs::write(&file, "// older").unwrap();
    assert!(!installation.find().unwrap().unwrap().current);
    assert_eq!(installation.install(STATE, false).unwrap(), [Step::Wrote(file)]);
    assert!(installation.find().unwrap().unwrap().current);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever a configuration holds, it is refused or put back to the letter.
    #[test]
    fn any_text_survives(text in "[\\[\\]{}:,\"/* \n]{0,12}|(\\{ ?(\"plugin\": ?\\[(\"a\",?){0,2}\\],?)? ?(//x\n)?\\})") {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("tui.json"), &text).unwrap();
        let at_first = everything(home.path());
        let installation = Installation::new(home.path().to_owned());
        if installation.install(STATE, false).is_ok() {
            installation.uninstall().unwrap();
        }
        prop_assert_eq!(everything(home.path()), at_first);
    }
}

#[test]
fn what_makes_runs_known_comes_when_asked_for_stays_when_not_and_goes_alone_or_with_the_rest() {
    for (directory, other) in [(false, false), (true, false), (true, true)] {
        let home = tempfile::tempdir().unwrap();
        let (plugins, entry) = (home.path().join("plugin"), home.path().join("plugin/pointsman.js"));
        if directory {
            fs::create_dir(&plugins).unwrap();
        }
        if other {
            fs::write(plugins.join("mine.js"), "export const Mine = async () => ({})").unwrap();
        }
        let at_first = everything(home.path());
        let installation = Installation::new(home.path().to_owned());
        installation.install(STATE, false).unwrap();
        let without: Vec<PathBuf> = everything(home.path()).into_keys().collect();
        assert!(!entry.exists() && installation.find().unwrap().unwrap().runs.is_none());
        assert_eq!(installation.uninstall_runs().unwrap(), []);

        assert_eq!(installation.install(STATE, true).unwrap(), [Step::Wrote(entry.clone())]);
        let with = everything(home.path());
        for again in [true, false] {
            assert_eq!(installation.install(STATE, again).unwrap(), []);
        }
        assert_eq!(everything(home.path()), with);
        let found = installation.find().unwrap().unwrap();
        assert_eq!((found.runs.as_ref(), found.current), (Some(&entry), true));

        // Both halves are for one daemon.
        installation.install("/else\"where", false).unwrap();
        let text = fs::read_to_string(&entry).unwrap();
        assert!(text.contains(r#"runs("/else\"where")"#), "{text}");
        fs::write(&entry, text.replace("where", "")).unwrap();
        assert!(!installation.find().unwrap().unwrap().current);
        installation.install(STATE, false).unwrap();

        assert_eq!(installation.uninstall_runs().unwrap(), [Step::Removed(entry.clone())]);
        assert_eq!(everything(home.path()).into_keys().collect::<Vec<_>>(), without);
        installation.install(STATE, true).unwrap();
        installation.uninstall().unwrap();
        assert_eq!(everything(home.path()), at_first, "{directory} {other}");
    }
}

#[cfg(unix)]
#[test]
fn a_read_only_entry_for_runs_is_refused_before_anything_is_changed() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let entry = home.path().join("plugin/pointsman.js");
    fs::create_dir(home.path().join("plugin")).unwrap();
    fs::write(&entry, "// mine").unwrap();
    fs::set_permissions(&entry, fs::Permissions::from_mode(0o444)).unwrap();
    let before = everything(home.path());
    let refused = Installation::new(home.path().to_owned()).install(STATE, true);
    assert!(matches!(refused, Err(PluginError::ReadOnly { .. })), "{refused:?}");
    assert_eq!(everything(home.path()), before);
}
