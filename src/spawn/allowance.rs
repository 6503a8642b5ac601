//! Where servers may be started: in the configured directories and below, by their real paths.

use std::path::{Path, PathBuf};

use tokio::fs::{canonicalize, metadata};

use super::SpawnError;

/// See the module.
#[derive(Debug)]
pub(super) struct Allowance(Vec<PathBuf>);

impl Allowance {
    pub(super) fn new(directories: Vec<PathBuf>) -> Self {
        Self(directories)
    }

    /// The real path of `directory`, if a server may be started there. Looked up anew each time: what a link leads to
    /// may have changed.
    pub(super) async fn admit(&self, directory: &str) -> Result<PathBuf, SpawnError> {
        let refused =
            |why: &str| SpawnError::NoDirectory { directory: directory.to_owned(), why: why.into() };
        if !Path::new(directory).is_absolute() {
            return Err(refused("it is no absolute path"));
        }
        let real = canonicalize(directory).await.map_err(|error| refused(&error.to_string()))?;
        if !metadata(&real).await.is_ok_and(|found| found.is_dir()) {
            return Err(refused("it is a file"));
        }
        if real.to_str().is_none() {
            return Err(refused("its name is no text"));
        }
        for allowed in &self.0 {
            // By whole components: `/a/bc` does not lie in `/a/b`.
            if real.starts_with(canonicalize(allowed).await.as_ref().unwrap_or(allowed)) {
                return Ok(real);
            }
        }
        Err(SpawnError::NotAllowed { directory: real.display().to_string() })
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_really_lies_in_an_allowed_directory_is_admitted() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().canonicalize().unwrap();
        for name in ["work/shop", "workshop", "secret"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::fs::write(root.join("work/file"), "").unwrap();
        std::os::unix::fs::symlink(root.join("secret"), root.join("work/way-out")).unwrap();
        std::os::unix::fs::symlink(root.join("work/shop"), root.join("way-in")).unwrap();
        let allowance = Allowance::new(vec![root.join("work")]);
        let admit = async |name: &str| allowance.admit(&root.join(name).display().to_string()).await;
        assert_eq!(admit("work").await, Ok(root.join("work")));
        assert_eq!(admit("work/shop/").await, Ok(root.join("work/shop")));
        assert_eq!(admit("way-in").await, Ok(root.join("work/shop")));
        for outside in ["workshop", "secret", "work/way-out", "work/shop/../../secret", ""] {
            assert!(matches!(admit(outside).await, Err(SpawnError::NotAllowed { .. })), "{outside}");
        }
        for none in ["work/none", "work/file"] {
            assert!(matches!(admit(none).await, Err(SpawnError::NoDirectory { .. })), "{none}");
        }
        assert!(matches!(allowance.admit("work").await, Err(SpawnError::NoDirectory { .. })));
    }
}
