//! The directories in which a client program works without naming them: those of the sessions it has opened.
//!
//! A terminal that is attached without a directory names none on its stream, and shows a session of any project all
//! the same. What that project's agent asks is then its own business.

use std::{
    collections::VecDeque,
    hash::{Hash, Hasher},
    ptr,
    sync::Arc,
};

use parking_lot::RwLock;

use crate::domain::directory::same_directory;

/// How many are kept; the one that was added first falls out.
const MOST: usize = 64;

/// Cheap to clone; all clones are those of one program, and only they are equal.
#[derive(Clone, Debug, Default)]
pub struct Opened(Arc<RwLock<VecDeque<Box<str>>>>);

impl Opened {
    /// The program has opened a session of `directory`. From here on its streams carry what calls for attention there.
    pub fn add(&self, directory: &str) {
        if directory.is_empty() || self.contains(directory) {
            return;
        }
        let mut directories = self.0.write();
        if directories.len() == MOST {
            directories.pop_front();
        }
        directories.push_back(directory.into());
    }

    /// Whether it has opened a session of `directory`.
    pub fn contains(&self, directory: &str) -> bool {
        self.0.read().iter().any(|known| same_directory(known, directory))
    }
}

impl PartialEq for Opened {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Opened {}

impl Hash for Opened {
    fn hash<H: Hasher>(&self, state: &mut H) {
        ptr::hash(Arc::as_ptr(&self.0), state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_falls_out_when_there_are_too_many() {
        let opened = Opened::default();
        for n in 0..=MOST {
            opened.add(&format!("/{n}"));
            opened.add(&format!("/{n}/"));
        }
        opened.add("");
        assert!(!opened.contains("/0") && !opened.contains(""));
        assert!((1..=MOST).all(|n| opened.contains(&format!("/{n}"))));
    }

    #[test]
    fn only_clones_are_equal() {
        let opened = Opened::default();
        assert_eq!(opened, opened.clone());
        assert_ne!(opened, Opened::default());
    }
}
