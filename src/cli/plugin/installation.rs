//! What lies in the agent's configuration when the plugin is installed, and how it comes and goes.
//!
//! The plugin's files lie in a directory of their own, beside `tui.json`, which gets one entry. A note there holds
//! what `tui.json` said before and after, so that it can be put back to the letter if nobody has changed it since.
//! Runs are known by one more file, in the directory from which the agent's servers load plugins.

mod runs;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use self::runs::RunsEntry;
use super::{
    PluginError,
    replace::{check, read, replace},
    tui_config::{self, Entry},
};
use crate::plugin::{ENTRY, FILES};

/// The plugin's directory, in the agent's configuration.
const DIRECTORY: &str = "pointsman";
const NOTE: &str = "installed.json";
/// The agent reads both; the second where it alone is there.
const CONFIGS: [&str; 2] = ["tui.json", "tui.jsonc"];

/// The agent's configuration directory, as seen from here.
#[derive(Debug)]
pub(super) struct Installation {
    home: PathBuf,
}

/// One thing that was done, for the person who asked for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Wrote(PathBuf),
    Removed(PathBuf),
    Edited(PathBuf),
}

/// What is there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The configuration file with the entry.
    pub(super) config: PathBuf,
    /// The daemon's state directory that the entry names.
    pub(super) state_dir: PathBuf,
    /// The plugin's directory.
    pub(super) files: PathBuf,
    /// Whether the files are those of this pointsman.
    pub(super) current: bool,
    /// What makes runs known, if that was asked for.
    pub(super) runs: Option<PathBuf>,
}

/// What `tui.json` was before us and after us.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    config: String,
    before: Option<String>,
    after: String,
}

impl Installation {
    /// In the configuration directory `home`, which need not exist.
    pub(super) fn new(home: PathBuf) -> Self {
        Self { home }
    }

    /// Puts the plugin there, for the daemon that uses `state_dir`; with `runs` also for runs, which otherwise stay as
    /// they were chosen before. What is there already stays untouched.
    pub(super) fn install(&self, state_dir: &str, runs: bool) -> Result<Vec<Step>, PluginError> {
        let config = self.config();
        let before = read(&config)?;
        let edited =
            tui_config::with(before.as_deref().unwrap_or_default(), Entry { file: &entry(), state_dir })
                .map_err(|source| PluginError::Config { path: config.clone(), source })?;
        if edited.is_some() {
            check(&config)?;
        }
        let entry = self.runs();
        let runs = runs || entry.is_there();
        if runs {
            check(entry.path())?;
        }
        let mut steps = Vec::new();
        let directory = self.directory();
        fs::create_dir_all(&directory)
            .map_err(|source| PluginError::Unwritable { path: directory.clone(), source })?;
        for file in FILES {
            let path = directory.join(file.name);
            if read(&path)?.as_deref() != Some(file.text) {
                replace(&path, file.text)?;
                steps.push(Step::Wrote(path));
            }
        }
        if let Some(after) = edited {
            let note = self.note_for(&config, before, &after);
            self.write(&note)?;
            replace(&config, &after)?;
            steps.push(Step::Edited(config));
        }
        if runs {
            steps.extend(entry.put(&directory, state_dir)?);
        }
        Ok(steps)
    }

    /// Undoes what was done for runs, and nothing else.
    pub(super) fn uninstall_runs(&self) -> Result<Vec<Step>, PluginError> {
        Ok(self.runs().remove()?.into_iter().collect())
    }

    /// Undoes what [`Self::install`] did, and nothing else.
    pub(super) fn uninstall(&self) -> Result<Vec<Step>, PluginError> {
        // First: it imports what goes next.
        let mut steps = self.uninstall_runs()?;
        let note = self.note();
        for config in self.configs() {
            let Some(text) = read(&config)? else { continue };
            steps.extend(self.restore(config, &text, note.as_ref())?);
        }
        let directory = self.directory();
        for name in FILES.iter().map(|file| file.name).chain([NOTE]) {
            let path = directory.join(name);
            steps.extend(removed(&path, fs::remove_file(&path))?);
        }
        // Whatever else somebody has put there keeps it.
        if fs::read_dir(&directory).is_ok_and(|mut entries| entries.next().is_none()) {
            removed(&directory, fs::remove_dir(&directory))?;
        }
        Ok(steps)
    }

    /// What is installed, if anything is.
    pub(super) fn find(&self) -> Result<Option<Found>, PluginError> {
        for config in self.configs() {
            let Some(text) = read(&config)? else { continue };
            let named = tui_config::installed(&text, &entry())
                .map_err(|source| PluginError::Config { path: config.clone(), source })?;
            if let Some(state_dir) = named {
                let files = self.directory();
                let current = FILES.iter().all(|file| {
                    fs::read_to_string(files.join(file.name)).is_ok_and(|text| text == file.text)
                });
                let runs = self.runs();
                let current = current && (!runs.is_there() || runs.is_current(&files, &state_dir));
                let runs = runs.is_there().then(|| runs.path().to_owned());
                return Ok(Some(Found { config, state_dir: state_dir.into(), files, current, runs }));
            }
        }
        Ok(None)
    }

    fn restore(&self, config: PathBuf, text: &str, note: Option<&Note>) -> Result<Option<Step>, PluginError> {
        let note = note.filter(|note| self.home.join(&note.config) == config);
        let restored = match note {
            Some(note) if note.after == text => Some(note.before.clone()),
            _ => {
                let had_list =
                    note.is_none_or(|note| note.before.as_deref().is_some_and(tui_config::has_list));
                let without = tui_config::without(text, &entry(), had_list)
                    .map_err(|source| PluginError::Config { path: config.clone(), source })?;
                let made_by_us = note.is_some_and(|note| note.before.is_none());
                without.map(|rest| (!made_by_us || !tui_config::is_empty(&rest)).then_some(rest))
            }
        };
        match restored {
            None => Ok(None),
            Some(Some(before)) => replace(&config, &before).map(|()| Some(Step::Edited(config))),
            Some(None) => removed(&config, fs::remove_file(&config)),
        }
    }

    fn directory(&self) -> PathBuf {
        self.home.join(DIRECTORY)
    }

    fn runs(&self) -> RunsEntry {
        RunsEntry::in_configuration(&self.home)
    }

    fn configs(&self) -> impl Iterator<Item = PathBuf> {
        CONFIGS.iter().map(|name| self.home.join(name))
    }

    /// The file that has the entry or gets it.
    fn config(&self) -> PathBuf {
        let has_entry = |path: &PathBuf| {
            let text = fs::read_to_string(path).unwrap_or_default();
            tui_config::installed(&text, &entry()).is_ok_and(|found| found.is_some())
        };
        let there = |path: &PathBuf| path.exists() || path.is_symlink();
        let first = self.home.join(CONFIGS[0]);
        self.configs().find(has_entry).or_else(|| self.configs().find(there)).unwrap_or(first)
    }

    /// What to remember of an edit. A second one in a row keeps what was there before the first.
    fn note_for(&self, config: &Path, before: Option<String>, after: &str) -> Note {
        let name = config.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let earlier = self.note().filter(|note| note.config == name && Some(&note.after) == before.as_ref());
        let before = earlier.map_or(before, |note| note.before);
        Note { config: name, before, after: after.to_owned() }
    }

    fn note(&self) -> Option<Note> {
        serde_json::from_str(&fs::read_to_string(self.directory().join(NOTE)).ok()?).ok()
    }

    fn write(&self, note: &Note) -> Result<(), PluginError> {
        let path = self.directory().join(NOTE);
        let text = serde_json::to_string_pretty(note)
            .map_err(|error| PluginError::Unwritable { path: path.clone(), source: error.into() })?;
        replace(&path, &text)
    }
}

/// The plugin's first file, as `tui.json` names it.
fn entry() -> String {
    format!("./{DIRECTORY}/{ENTRY}")
}

fn removed(path: &Path, outcome: io::Result<()>) -> Result<Option<Step>, PluginError> {
    match outcome {
        Ok(()) => Ok(Some(Step::Removed(path.to_owned()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PluginError::Unwritable { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests;
