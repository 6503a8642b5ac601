//! Directories and projects as small numbers: a million sessions live in a few hundred directories.

use std::{collections::HashMap, sync::Arc};

use parking_lot::RwLock;

/// The number of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Name(u32);

/// All names seen. They are never forgotten: what exists on a disk bounds them.
#[derive(Debug)]
pub struct Names(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    numbers: HashMap<Arc<str>, Name>,
    texts: Vec<Arc<str>>,
}

impl Default for Names {
    fn default() -> Self {
        let names = Self(RwLock::default());
        names.number("");
        names
    }
}

impl Names {
    /// The name of nothing: an empty text.
    pub const NONE: Name = Name(0);

    /// The number of `text`.
    pub fn number(&self, text: &str) -> Name {
        if let Some(&name) = self.0.read().numbers.get(text) {
            return name;
        }
        let mut known = self.0.write();
        if let Some(&name) = known.numbers.get(text) {
            return name;
        }
        let text: Arc<str> = text.into();
        let name = Name(u32::try_from(known.texts.len()).unwrap_or(u32::MAX));
        known.texts.push(Arc::clone(&text));
        known.numbers.insert(text, name);
        name
    }

    /// The text of a number given here.
    pub fn text(&self, name: Name) -> Arc<str> {
        self.0.read().texts.get(name.0 as usize).cloned().unwrap_or_default()
    }
}
