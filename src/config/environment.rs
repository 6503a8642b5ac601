//! What the process was started with: its variables and the user's base directories.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use etcetera::BaseStrategy as _;

/// Everything the configuration takes from its surroundings, read once, so that nothing else reads it later and a
/// test can say it.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    config_home: Option<PathBuf>,
    state_home: Option<PathBuf>,
    agent_config: Option<PathBuf>,
}

/// Where the agent is told to look for its configuration.
const AGENT_CONFIG: &str = "OPENCODE_CONFIG_DIR";

impl Environment {
    /// That of this process. The base directories are those of the XDG specification on Linux and macOS and of the
    /// user's profile on Windows; a user without a home directory has none.
    pub fn of_process() -> Self {
        let variables = std::env::vars_os().filter(|(name, _)| is_ours(name)).collect();
        let named = std::env::var_os(AGENT_CONFIG).filter(|named| !named.is_empty()).map(PathBuf::from);
        // The agent follows XDG on every system.
        let usual = || Some(etcetera::base_strategy::Xdg::new().ok()?.config_dir().join("opencode"));
        let agent_config = named.or_else(usual);
        let Ok(base) = etcetera::choose_base_strategy() else {
            return Self { variables, config_home: None, state_home: None, agent_config };
        };
        Self {
            agent_config,
            variables,
            config_home: Some(base.config_dir()),
            state_home: Some(base.state_dir().unwrap_or_else(|| base.data_dir())),
        }
    }

    /// An empty one whose base directories lie in `home`.
    pub fn in_home(home: &Path) -> Self {
        Self {
            variables: BTreeMap::new(),
            config_home: Some(home.join(".config")),
            state_home: Some(home.join(".local/state")),
            agent_config: Some(home.join(".config/opencode")),
        }
    }

    /// The same with one more variable.
    #[must_use]
    pub fn with(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// The value of `name`, if it is set. Only `POINTSMAN_*` is kept.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// All `POINTSMAN_*` variables, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.variables.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// Where the configuration file is looked for when none is named.
    pub fn default_config_file(&self) -> Option<PathBuf> {
        self.config_home.as_ref().map(|home| home.join("pointsman/pointsman.toml"))
    }

    /// Where the agent's own configuration is.
    pub fn agent_config_dir(&self) -> Option<&Path> {
        self.agent_config.as_deref()
    }

    /// Where the state directory is when none is named.
    pub fn default_state_dir(&self) -> Option<PathBuf> {
        self.state_home.as_ref().map(|home| home.join("pointsman"))
    }
}

fn is_ours(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(super::layer::PREFIX.as_bytes())
}
