//! Files in the state directory, for their owner alone (0600).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
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

    /// The last `most` bytes of the file `name` as text.
    pub fn tail(&self, name: &str, most: u64) -> io::Result<String> {
        let mut file = File::open(self.0.join(name))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Empties the file `name` if it has more than `most` bytes. Whoever writes to its end goes on at its beginning.
    pub fn bound(&self, name: &str, most: u64) -> io::Result<()> {
        let path = self.0.join(name);
        if fs::metadata(&path)?.len() > most {
            OpenOptions::new().write(true).open(path)?.set_len(0)?;
        }
        Ok(())
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
