//! The agent's `tui.json`, edited as text: one entry of its list of plugins comes or goes, and everything else stays
//! as it is written, comments included.
//!
//! Pure. An entry is ours if it loads the file that is ours, whatever its options.

use jsonc_parser::{
    ParseOptions,
    cst::{CstInputValue, CstNode, CstObject, CstRootNode},
};
use thiserror::Error;

const PLUGINS: &str = "plugin";

/// Why a file cannot be edited.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not JSON with comments.
    #[error("it is not valid JSON: {0}")]
    Broken(String),
    /// It is something else than an object.
    #[error("it holds no object")]
    NoObject,
    /// Its list of plugins is no list.
    #[error("its \"{PLUGINS}\" is no list")]
    NoList,
}

/// The entry as it should be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    /// The file to load, relative to the configuration.
    pub(super) file: &'a str,
    /// Where the daemon keeps its registration file.
    pub(super) state_dir: &'a str,
}

/// `text` with the entry, or `None` if it is there already, as it should be. An empty text is an empty configuration.
pub(super) fn with(text: &str, entry: Entry<'_>) -> Result<Option<String>, Unreadable> {
    let root = parse(text)?;
    let object = root.object_value_or_create().ok_or(Unreadable::NoObject)?;
    let plugins = match object.get(PLUGINS) {
        Some(_) => object.array_value(PLUGINS).ok_or(Unreadable::NoList)?,
        None => object.array_value_or_set(PLUGINS),
    };
    let mut ours = plugins.elements().into_iter().filter(|element| loads(element, entry.file));
    match ours.next() {
        Some(first) if state_dir(&first).as_deref() == Some(entry.state_dir) && ours.next().is_none() => {
            return Ok(None);
        }
        Some(first) => {
            for surplus in plugins.elements().into_iter().filter(|element| loads(element, entry.file)).skip(1)
            {
                surplus.remove();
            }
            replace(&first, entry.value());
        }
        None => {
            plugins.append(entry.value());
        }
    }
    Ok(Some(root.to_string()))
}

/// `text` without any entry that loads `file`, or `None` if there is none. `keep_list` leaves an empty list behind.
pub(super) fn without(text: &str, file: &str, keep_list: bool) -> Result<Option<String>, Unreadable> {
    let root = parse(text)?;
    let Some(object) = root.object_value() else { return Ok(None) };
    let Some(plugins) = object.array_value(PLUGINS) else { return Ok(None) };
    let ours: Vec<CstNode> = plugins.elements().into_iter().filter(|element| loads(element, file)).collect();
    if ours.is_empty() {
        return Ok(None);
    }
    for element in ours {
        element.remove();
    }
    if plugins.elements().is_empty()
        && !keep_list
        && let Some(property) = object.get(PLUGINS)
    {
        property.remove();
    }
    Ok(Some(root.to_string()))
}

/// The state directory that the entry for `file` names, if there is an entry.
pub(super) fn installed(text: &str, file: &str) -> Result<Option<String>, Unreadable> {
    let root = parse(text)?;
    let plugins = root.object_value().and_then(|object| object.array_value(PLUGINS));
    let ours =
        plugins.and_then(|plugins| plugins.elements().into_iter().find(|element| loads(element, file)));
    Ok(ours.map(|element| state_dir(&element).unwrap_or_default()))
}

/// Whether `text` has a list of plugins, be it empty.
pub(super) fn has_list(text: &str) -> bool {
    parse(text).ok().and_then(|root| root.object_value()).is_some_and(|object| object.get(PLUGINS).is_some())
}

/// Whether nothing is left in `text` but an empty object.
pub(super) fn is_empty(text: &str) -> bool {
    text.chars().filter(|character| !character.is_whitespace()).eq("{}".chars())
}

impl Entry<'_> {
    fn value(self) -> CstInputValue {
        let options = vec![("stateDir".to_owned(), self.state_dir.into())];
        CstInputValue::Array(vec![self.file.into(), CstInputValue::Object(options)])
    }
}

fn parse(text: &str) -> Result<CstRootNode, Unreadable> {
    CstRootNode::parse(text, &ParseOptions::default()).map_err(|error| Unreadable::Broken(error.to_string()))
}

/// An entry is the file's name, or a list of that and its options.
fn loads(element: &CstNode, file: &str) -> bool {
    let name = match element.as_array() {
        Some(pair) => pair.elements().into_iter().next(),
        None => Some(element.clone()),
    };
    name.and_then(|name| name.as_string_lit()?.decoded_value().ok()).is_some_and(|name| name == file)
}

fn state_dir(element: &CstNode) -> Option<String> {
    let options: CstObject = element.as_array()?.elements().get(1)?.as_object()?;
    options.get("stateDir")?.value()?.as_string_lit()?.decoded_value().ok()
}

fn replace(element: &CstNode, value: CstInputValue) {
    if let Some(array) = element.as_array() {
        array.replace_with(value);
    } else if let Some(text) = element.as_string_lit() {
        text.replace_with(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "./pointsman/tui.js";
    const ENTRY: Entry<'static> = Entry { file: FILE, state_dir: "/home/ann/.local/state/pointsman" };

    const WRITTEN: &str = r#"{
  // My colours.
  "theme": "tokyonight", /* at night */
  "keybinds": { "leader": "ctrl+x" },
  "plugin": [
    "./clock.js", // tells the time
    ["./weather.js", { "city": "Oslo" }],
  ],
}
"#;

    #[test]
    fn an_entry_comes_and_goes_and_nothing_else_changes() {
        let with_it = with(WRITTEN, ENTRY).unwrap().unwrap();
        for line in WRITTEN.lines().filter(|line| !line.contains("Oslo")) {
            assert!(with_it.contains(line), "{line} is missing in {with_it}");
        }
        assert!(with_it.contains(r#"["./weather.js", { "city": "Oslo" }]"#), "{with_it}");
        assert_eq!(installed(&with_it, FILE), Ok(Some(ENTRY.state_dir.to_owned())));
        assert_eq!(with(&with_it, ENTRY), Ok(None));
        assert_eq!(without(&with_it, FILE, true).unwrap().unwrap(), WRITTEN);
    }

    #[test]
    fn a_list_that_was_not_there_goes_too() {
        for text in ["{}\n", "{\n  \"theme\": \"x\" // mine\n}\n", "{ \"theme\": \"x\" }"] {
            let with_it = with(text, ENTRY).unwrap().unwrap();
            assert_eq!(installed(&with_it, FILE), Ok(Some(ENTRY.state_dir.to_owned())), "{with_it}");
            let gone = without(&with_it, FILE, false).unwrap().unwrap();
            assert_eq!(installed(&gone, FILE), Ok(None));
            assert!(!has_list(&gone) && (text != "{}\n" || is_empty(&gone)), "{gone}");
        }
    }

    #[test]
    fn an_empty_file_is_an_empty_configuration() {
        let with_it = with("", ENTRY).unwrap().unwrap();
        assert_eq!(installed(&with_it, FILE), Ok(Some(ENTRY.state_dir.to_owned())), "{with_it}");
    }

    #[test]
    fn another_state_directory_replaces_the_first_and_doubles_become_one() {
        let elsewhere = Entry { state_dir: "/srv/pm", ..ENTRY };
        for text in [
            format!(r#"{{"plugin":["{FILE}"]}}"#),
            format!(r#"{{"plugin":[["{FILE}", {{"stateDir":"/old"}}], "x", "{FILE}"]}}"#),
            with("{}", ENTRY).unwrap().unwrap(),
        ] {
            let edited = with(&text, elsewhere).unwrap().unwrap();
            assert_eq!(installed(&edited, FILE), Ok(Some("/srv/pm".to_owned())), "{edited}");
            assert_eq!(edited.matches(FILE).count(), 1, "{edited}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        assert!(matches!(with("{ \"plugin\": [", ENTRY), Err(Unreadable::Broken(_))));
        assert!(matches!(without("{,}", FILE, true), Err(Unreadable::Broken(_))));
        assert_eq!(with("[]", ENTRY), Err(Unreadable::NoObject));
        assert_eq!(with(r#"{"plugin": "x"}"#, ENTRY), Err(Unreadable::NoList));
    }
}
