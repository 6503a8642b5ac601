//! Putting a new text in the place of a file, at once or not at all.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::PluginError;

/// Reads the file at `path`; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<String>, PluginError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        // A link to nowhere would be replaced by a file, and is somebody's plan.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => Ok(None),
        Err(source) => Err(PluginError::Unreadable { path: path.to_owned(), source }),
    }
}

/// Refuses a file that says it is read-only: renaming another into its place would work all the same.
pub(super) fn check(path: &Path) -> Result<(), PluginError> {
    match fs::metadata(path) {
        Ok(found) if found.permissions().readonly() => Err(PluginError::ReadOnly { path: path.to_owned() }),
        _ => Ok(()),
    }
}

/// Writes `text` beside the file that `path` leads to, through links, and renames it into its place. Whoever reads
/// sees the one text or the other. The file keeps its permissions; one that says it is read-only is left alone.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), PluginError> {
    let failed = |source| PluginError::Unwritable { path: path.to_owned(), source };
    check(path)?;
    let target = if path.exists() { path.canonicalize().map_err(failed)? } else { path.to_owned() };
    let permissions = fs::metadata(&target).ok().map(|found| found.permissions());
    let beside = beside(&target);
    let written = fs::write(&beside, text)
        .and_then(|()| permissions.map_or(Ok(()), |permissions| fs::set_permissions(&beside, permissions)))
        .and_then(|()| fs::File::open(&beside)?.sync_all())
        .and_then(|()| fs::rename(&beside, &target));
    written.map_err(|source| {
        // Nothing is lost with it, and nothing can be done if it stays.
        let _ = fs::remove_file(&beside);
        failed(source)
    })
}

fn beside(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.pointsman-{}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_text_leaves_nothing_beside_it() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("tui.json");
        assert_eq!(read(&file).unwrap(), None);
        for text in ["one", "two"] {
            replace(&file, text).unwrap();
            assert_eq!(read(&file).unwrap().as_deref(), Some(text));
        }
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_links_and_permissions_stay() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        let (dotfiles, link) = (home.path().join("dotfiles.json"), home.path().join("tui.json"));
        fs::write(&dotfiles, "one").unwrap();
        fs::set_permissions(&dotfiles, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("dotfiles.json", &link).unwrap();
        replace(&link, "two").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&dotfiles).unwrap(), "two");
        assert_eq!(fs::metadata(&dotfiles).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[cfg(unix)]
    #[test]
    fn a_read_only_file_and_a_link_to_nowhere_are_left_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("tui.json");
        fs::write(&file, "one").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
        assert!(matches!(replace(&file, "two"), Err(PluginError::ReadOnly { .. })));
        assert_eq!(fs::read_to_string(&file).unwrap(), "one");
        let nowhere = home.path().join("nowhere.json");
        std::os::unix::fs::symlink("missing", &nowhere).unwrap();
        assert!(matches!(read(&nowhere), Err(PluginError::Unreadable { .. })));
    }
}
