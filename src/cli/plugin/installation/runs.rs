//! The file by which the agent's servers load the plugin, so that runs make themselves known.
//!
//! Separate from the rest because of its price: with any plugin in the server, every start waits until the agent has
//! installed a package of its own into each configuration directory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Step, removed};
use crate::{
    cli::plugin::{
        PluginError,
        replace::{read, replace},
    },
    plugin::RUNS,
};

/// From here the agent's servers load whatever they find.
const DIRECTORY: &str = "plugin";
const NAME: &str = "pointsman.js";
/// Stands in the file if its directory came with it, and so goes with it.
const CAME_WITH: &str = "// Its directory came with it.\n";

/// See the module.
pub(super) struct RunsEntry(PathBuf);

impl RunsEntry {
    pub(super) fn in_configuration(home: &Path) -> Self {
        Self(home.join(DIRECTORY).join(NAME))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn is_there(&self) -> bool {
        self.0.exists()
    }

    /// Whether it loads the plugin in `files` for the daemon that uses `state_dir`.
    pub(super) fn is_current(&self, files: &Path, state_dir: &str) -> bool {
        fs::read_to_string(&self.0).is_ok_and(|text| text.ends_with(&loading(files, state_dir)))
    }

    /// Puts it there, unless it is.
    pub(super) fn put(&self, files: &Path, state_dir: &str) -> Result<Option<Step>, PluginError> {
        let before = read(&self.0)?;
        if self.is_current(files, state_dir) {
            return Ok(None);
        }
        let came_with =
            before.map_or_else(|| !self.directory().exists(), |before| before.starts_with(CAME_WITH));
        fs::create_dir_all(self.directory())
            .map_err(|source| PluginError::Unwritable { path: self.0.clone(), source })?;
        let text = loading(files, state_dir);
        replace(&self.0, &if came_with { format!("{CAME_WITH}{text}") } else { text })?;
        Ok(Some(Step::Wrote(self.0.clone())))
    }

    /// Takes it away, and its directory if that came with it and holds nothing else.
    pub(super) fn remove(&self) -> Result<Option<Step>, PluginError> {
        let came_with = read(&self.0)?.is_some_and(|text| text.starts_with(CAME_WITH));
        let step = removed(&self.0, fs::remove_file(&self.0))?;
        if came_with && fs::read_dir(self.directory()).is_ok_and(|mut entries| entries.next().is_none()) {
            removed(self.directory(), fs::remove_dir(self.directory()))?;
        }
        Ok(step)
    }

    fn directory(&self) -> &Path {
        self.0.parent().unwrap_or(&self.0)
    }
}

/// The file's text: by its whole path, for the directory may be a link to somewhere else.
fn loading(files: &Path, state_dir: &str) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    format!(
        "// Written by `pointsman plugin install --runs`; `pointsman plugin uninstall` takes it away.\n\
         import {{ runs }} from {}\n\nexport const Pointsman = runs({})\n",
        text(&files.join(RUNS).display().to_string()),
        text(state_dir),
    )
}
