//! Files in the state directory, for their owner alone (0600).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::PathBuf,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{access, remove_if_there};

/// Where files are kept for as long as the [`StateDir`](super::StateDir) it came from is open. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shelf(PathBuf);

impl Shelf {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Writes `what` as JSON into the file `name`. Whoever reads it sees the old file or the new one, never a half.
    pub fn put(&self, name: &str, what: &impl Serialize) -> io::Result<()> {
        let new = self.0.join(format!("{name}.new"));
        remove_if_there(&new)?;
        let mut file = private().write(true).create_new(true).open(&new)?;
        serde_json::to_writer(&mut file, what)?;
        file.write_all(b"\n")?;
        drop(file);
        fs::rename(new, self.0.join(name))
    }

    /// What stands in the file `name`; `None` if it is not there or says something else.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.0.join(name)).ok()?).ok()
    }

    /// An empty file `name`, in place of the one before, to be written to from its end.
    pub fn begin(&self, name: &str) -> io::Result<File> {
        self.remove(name)?;
        private().append(true).create_new(true).open(self.0.join(name))
    }

    /// The file `name` as text, empty if it is not there.
    pub fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.0.join(name)).unwrap_or_default()).into_owned()
    }

    /// Takes the file `name` away, if it is there.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        remove_if_there(&self.0.join(name))
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    access::private(&mut options);
    options
}
