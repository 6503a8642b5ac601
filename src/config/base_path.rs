//! The path under which everything is served, when that is not the root.

use std::fmt;

use super::Problem;

/// The first segments of what servers and the daemon itself answer. A prefix that began with one could not be told
/// from a path whose prefix a proxy in front has taken off already.
const TAKEN: &[&str] = &[
    // Servers'.
    "agent",
    "api",
    "assets",
    "auth",
    "command",
    "config",
    "doc",
    "event",
    "experimental",
    "file",
    "find",
    "formatter",
    "global",
    "instance",
    "log",
    "lsp",
    "mcp",
    "path",
    "permission",
    "project",
    "provider",
    "pty",
    "question",
    "server",
    "session",
    "skill",
    "sync",
    "tui",
    "vcs",
    // Ours.
    "events",
    "healthz",
    "metrics",
    "openapi.json",
    "readyz",
    "servers",
    "sessions",
];

/// One or more segments of letters, digits and `-._~`, each with a slash before it and none after: `/oc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasePath(Box<str>);

impl BasePath {
    /// Checks and keeps `text`; nothing written means the root, which is no base path.
    pub fn try_new(text: &str) -> Result<Option<Self>, Problem> {
        if text.is_empty() {
            return Ok(None);
        }
        let refused = || Problem::BasePath(text.to_owned());
        let segments = text.strip_prefix('/').ok_or_else(refused)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let sound = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(plain);
        if !segments.split('/').all(sound) {
            return Err(refused());
        }
        match segments.split('/').next() {
            Some(first) if TAKEN.contains(&first) => Err(Problem::TakenPath(first.to_owned())),
            _ => Ok(Some(Self(text.into()))),
        }
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BasePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_plain_segments_is_kept_and_nothing_is_none() {
        for text in ["/oc", "/code/oc", "/a-b_c.d~e/1"] {
            assert_eq!(BasePath::try_new(text).unwrap().unwrap().as_str(), text);
        }
        assert_eq!(BasePath::try_new("").unwrap(), None);
    }

    #[test]
    fn what_is_no_such_path_is_refused() {
        for text in [
            "oc", "/", "/oc/", "//oc", "/a//b", "/oc?x", "/oc#x", "/a b", "/%6Fc", "/ö", "/..", "/a/./b",
            "/\"><",
        ] {
            assert!(matches!(BasePath::try_new(text), Err(Problem::BasePath(_))), "{text:?}");
        }
    }

    #[test]
    fn what_begins_like_a_path_that_is_answered_is_refused() {
        for text in ["/session", "/api/oc", "/servers", "/assets"] {
            assert!(matches!(BasePath::try_new(text), Err(Problem::TakenPath(_))), "{text:?}");
        }
        assert!(BasePath::try_new("/sessionx").is_ok());
    }
}
