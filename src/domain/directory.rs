//! Directories as servers name them.
//!
//! Compared as text, but for a slash at the end. Links are not followed, since servers do not follow them either: they
//! keep an instance for each spelling.

/// Whether two texts name one directory.
pub fn same_directory(one: &str, other: &str) -> bool {
    trimmed(one) == trimmed(other)
}

/// A directory without the slash at its end, unless that is all there is.
pub fn trimmed(directory: &str) -> &str {
    match directory.trim_end_matches('/') {
        "" if !directory.is_empty() => "/",
        trimmed => trimmed,
    }
}

/// Whether a directory is named from the root on, be it one of Windows.
pub fn is_whole(directory: &str) -> bool {
    let mut drive = directory.chars();
    let on_drive =
        drive.next().is_some_and(|letter| letter.is_ascii_alphabetic()) && drive.next() == Some(':');
    directory.starts_with(['/', '\\']) || on_drive
}

/// Whether `inner` lies below `outer`.
pub fn contains(outer: &str, inner: &str) -> bool {
    let outer = trimmed(outer);
    outer == "/" || inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_at_the_end_makes_no_other_directory() {
        assert!(same_directory("/a/b", "/a/b/"));
        assert!(same_directory("/", "//"));
        assert!(!same_directory("/a/b", "/a"));
        assert!(!same_directory("/a/b", "/A/b"));
        assert!(!same_directory("", "/"));
    }

    #[test]
    fn a_whole_name_begins_at_a_root() {
        for whole in ["/", "/a/b", "C:\\a", "c:/a", "\\\\box\\share"] {
            assert!(is_whole(whole), "{whole}");
        }
        for part in ["", "a", "~", "~/a", "./a", "../a", "%ZZ", ":/a"] {
            assert!(!is_whole(part), "{part}");
        }
    }

    #[test]
    fn what_merely_begins_alike_does_not_lie_below() {
        assert!(contains("/a", "/a/b") && contains("/", "/a"));
        assert!(!contains("/a", "/ab") && !contains("/a", "/a"));
    }
}
