//! What a subscriber of our own stream, `/events`, wants to hear of.
//!
//! The turns of the sessions it names, and whatever happens to sessions and servers as such: so that a client which
//! shows one session in full can list all of them.

use std::sync::Arc;

use thiserror::Error;

use crate::{
    domain::{
        directory::same_directory,
        ids::{InvalidSessionId, SessionId},
    },
    events::log::{DELETED, Event},
};

/// How many names of one sort a filter may have. Each is compared with each event.
const MOST: usize = 100;

/// See the module. Of each sort: whatever is named, or everything if nothing is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Filter {
    sessions: Vec<SessionId>,
    directories: Vec<Arc<str>>,
    servers: Vec<Arc<str>>,
    types: Vec<Pattern>,
    /// Whether events of a lifecycle come whatever else is named.
    lifecycle: bool,
}

impl Default for Filter {
    fn default() -> Self {
        Self { sessions: vec![], directories: vec![], servers: vec![], types: vec![], lifecycle: true }
    }
}

/// Why a filter cannot be had.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum InvalidFilter {
    /// Not the id of any session.
    #[error(transparent)]
    Session(#[from] InvalidSessionId),
    /// Not the name of any type.
    #[error(
        "{0:?} names no type of event; write one such as session.idle, or the beginning of some such as session.*"
    )]
    Type(String),
    /// Neither yes nor no.
    #[error("lifecycle is true or false, not {0:?}")]
    Lifecycle(String),
    /// More than is compared.
    #[error("at most {MOST} sessions, directories, servers or types can be named")]
    TooMany,
}

/// A type, or the beginning of some.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Pattern {
    Is(Box<str>),
    BeginsWith(Box<str>),
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let name = text.strip_suffix('*').unwrap_or(text);
        let shaped = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        match (shaped && !text.is_empty(), name.len() < text.len()) {
            (false, _) => None,
            (true, true) => Some(Self::BeginsWith(name.into())),
            (true, false) => Some(Self::Is(name.into())),
        }
    }

    fn matches(&self, kind: &str) -> bool {
        match self {
            Self::Is(name) => **name == *kind,
            Self::BeginsWith(name) => kind.starts_with(&**name),
        }
    }

    /// Whether types that begin like this are named as such, and not only among all.
    fn names(&self, family: &str) -> bool {
        match self {
            Self::Is(name) | Self::BeginsWith(name) => name.starts_with(family),
        }
    }
}

impl Filter {
    /// Takes in one parameter of a query, or some names of it separated by commas. Others are passed over: they may
    /// be meant for somebody else.
    pub fn add(&mut self, key: &str, value: &str) -> Result<(), InvalidFilter> {
        let names = || value.split(',').map(str::trim).filter(|name| !name.is_empty());
        match key {
            "session" => {
                for name in names() {
                    self.sessions.push(SessionId::try_new(name)?);
                }
            }
            // A comma may stand in a path, so that several are given one by one.
            "directory" if !value.is_empty() => self.directories.push(value.into()),
            "type" => {
                for name in names() {
                    let pattern = Pattern::parse(name).ok_or_else(|| InvalidFilter::Type(name.to_owned()))?;
                    self.types.push(pattern);
                }
            }
            "lifecycle" => {
                self.lifecycle = match value {
                    "true" => true,
                    "false" => false,
                    other => return Err(InvalidFilter::Lifecycle(other.to_owned())),
                }
            }
            _ => {}
        }
        let most = [self.sessions.len(), self.directories.len(), self.types.len()];
        if most.into_iter().any(|count| count > MOST) { Err(InvalidFilter::TooMany) } else { Ok(()) }
    }

    /// Adds a server by its id.
    pub fn add_server(&mut self, id: Arc<str>) -> Result<(), InvalidFilter> {
        self.servers.push(id);
        if self.servers.len() > MOST { Err(InvalidFilter::TooMany) } else { Ok(()) }
    }

    /// The same filter in the one order that equal filters have.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        self.sessions.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        self.sessions.dedup();
        self.directories.sort_unstable();
        self.directories.dedup();
        self.servers.sort_unstable();
        self.servers.dedup();
        self.types.sort_unstable();
        self.types.dedup();
        self
    }

    pub(super) fn admits(&self, event: &Event) -> bool {
        let kind = &*event.kind;
        if self.lifecycle && is_lifecycle(kind) {
            return true;
        }
        // Twins tell nothing new, and what moves a screen is for who asks for it by name.
        let on_request = ["sync", "tui."].into_iter().find(|family| kind.starts_with(family));
        if on_request.is_some_and(|family| !self.types.iter().any(|pattern| pattern.names(family))) {
            return false;
        }
        let of = |named: &[Arc<str>], one: Option<&str>, same: fn(&str, &str) -> bool| {
            named.is_empty() || one.is_some_and(|one| named.iter().any(|name| same(name, one)))
        };
        let session = |session: &SessionId| self.sessions.contains(session);
        (self.sessions.is_empty() || event.session.as_ref().is_some_and(session))
            && of(&self.directories, event.directory.as_deref(), same_directory)
            && of(&self.servers, event.server.as_deref(), |a, b| a == b)
            && (self.types.is_empty() || self.types.iter().any(|pattern| pattern.matches(kind)))
    }
}

/// Whether an event tells that a session or a server came, changed or went, and not what is done in it.
fn is_lifecycle(kind: &str) -> bool {
    matches!(kind, "session.created" | "session.updated" | DELETED) || kind.starts_with("pointsman.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::journal::tests::event;

    fn filter(pairs: &[(&str, &str)]) -> Filter {
        let mut filter = Filter::default();
        for (key, value) in pairs {
            match *key {
                "server" => filter.add_server((*value).into()).unwrap(),
                key => filter.add(key, value).unwrap(),
            }
        }
        filter.in_order()
    }

    #[test]
    fn each_sort_narrows_what_is_heard_of_turns() {
        let delta = event(1, Some("ses_a"), "message.part.delta", 0);
        for (named, admits) in [
            (vec![], true),
            (vec![("session", "ses_b, ses_a")], true),
            (vec![("session", "ses_b")], false),
            (vec![("directory", "/a \"b\"/ü/")], true),
            (vec![("directory", "/b")], false),
            (vec![("server", "srv_1")], true),
            (vec![("server", "srv_2")], false),
            (vec![("type", "message.*")], true),
            (vec![("type", "message.part.delta")], true),
            (vec![("type", "message.part")], false),
            (vec![("type", "session.*,*.delta")], false),
            (vec![("session", "ses_a"), ("type", "session.*")], false),
            (vec![("session", "ses_a"), ("lifecycle", "false")], true),
        ] {
            // A star stands at the end alone.
            if named.iter().any(|(_, value)| value.contains("*.")) {
                assert!(Filter::default().add(named[0].0, named[0].1).is_err());
                continue;
            }
            assert_eq!(filter(&named).admits(&delta), admits, "{named:?}");
        }
    }

    #[test]
    fn what_happens_to_sessions_and_servers_comes_whatever_is_named_unless_it_is_not_wanted() {
        for kind in ["session.created", "session.updated", "session.deleted", "pointsman.server.up"] {
            let event = event(1, Some("ses_a"), kind, 0);
            let named =
                [("session", "ses_b"), ("directory", "/b"), ("server", "srv_2"), ("type", "message.*")];
            assert!(filter(&named).admits(&event), "{kind}");
            assert!(!filter(&[&named[..], &[("lifecycle", "false")]].concat()).admits(&event), "{kind}");
            assert!(filter(&[("lifecycle", "false")]).admits(&event), "{kind}");
        }
        assert!(!filter(&[("session", "ses_b")]).admits(&event(1, Some("ses_a"), "session.status", 0)));
    }

    #[test]
    fn twins_and_what_moves_a_screen_come_on_request_alone() {
        for (kind, by_name) in
            [("sync", "sync"), ("tui.toast.show", "tui.*"), ("tui.toast.show", "tui.toast.*")]
        {
            let event = event(1, None, kind, 0);
            assert!(!filter(&[]).admits(&event));
            assert!(!filter(&[("type", "*")]).admits(&event));
            assert!(filter(&[("type", by_name)]).admits(&event), "{by_name}");
        }
    }

    #[test]
    fn equal_filters_are_one_however_they_were_written() {
        assert_eq!(
            filter(&[("session", "ses_a,ses_b"), ("type", "x")]),
            filter(&[("type", "x,x"), ("session", "ses_b"), ("session", "ses_a")])
        );
    }

    #[test]
    fn nonsense_is_told_as_such() {
        let mut filter = Filter::default();
        assert!(filter.add("session", "msg_1").is_err());
        assert!(filter.add("type", "a b").is_err());
        assert!(filter.add("lifecycle", "no").is_err());
        assert!(filter.add("type", &"x,".repeat(101)).is_err());
        assert!(Filter::default().add("auth_token", "x").is_ok());
    }
}
