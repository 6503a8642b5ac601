//! Choosing a server when no evidence names one: for a session that is only listed, for a directory, for anything.
//!
//! Every choice is a total order over what is known of the servers, never over what happened last: two requests in a
//! row must get one answer. Who asks keeps the choice (as a `chosen` claim, or a sticky directory).

use std::{cmp::Reverse, sync::Arc};

use super::{
    directory::{contains, same_directory, trimmed},
    ids::ServerKey,
    kind::Kind,
};

/// What a choice looks at.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The server.
    pub server: ServerKey,
    /// How it was started.
    pub kind: Kind,
    /// The directory it was started in; `None` until it is known.
    pub directory: Option<Arc<str>>,
    /// Whether it is reached through a plugin's listener instead of a port of its own.
    pub plugin: bool,
    /// Whether it was named as the default in the configuration.
    pub preferred: bool,
    /// Whether it answers: a server that is up, and not silent or locked.
    pub answering: bool,
    /// When its process started, in milliseconds since 1970; `None` if that cannot be known.
    pub started_ms: Option<u64>,
    /// The port it is reached at.
    pub port: u16,
    /// Host and port.
    pub authority: Arc<str>,
}

/// How well a server suits by what it is: the lesser, the better.
fn suitability(candidate: &Candidate) -> (bool, bool, u8) {
    let kind = match (candidate.kind, candidate.plugin) {
        (_, true) => 3,
        (Kind::Serve | Kind::Web, false) => 0,
        (Kind::Other | Kind::Acp, false) => 1,
        (Kind::Tui | Kind::Run | Kind::Attach, false) => 2,
    };
    (!candidate.answering, !candidate.preferred, kind)
}

/// What decides in the end: the lowest port, then the rest of the address. The key, which depends on who was met
/// first, only where one address stands twice.
fn place(candidate: &Candidate) -> (u16, Arc<str>, ServerKey) {
    (candidate.port, Arc::clone(&candidate.authority), candidate.server)
}

/// `run` ends by itself and `attach` serves nobody: neither is ever chosen for new work.
fn takes_work(candidate: &Candidate) -> bool {
    !matches!(candidate.kind, Kind::Run | Kind::Attach)
}

/// How much of `directory` the server's own directory covers: the length of the match, greatest when equal.
fn coverage(candidate: &Candidate, directory: &str) -> usize {
    let Some(own) = candidate.directory.as_deref() else { return 0 };
    if same_directory(own, directory) {
        return usize::MAX;
    }
    // A terminal in a parent directory is somebody's screen, not a server for everything below.
    if candidate.kind == Kind::Tui || !contains(own, directory) { 0 } else { trimmed(own).len() }
}

/// Whether a plugin's listener would be asked for another directory than its own: that makes its terminal open it.
fn out_of_place(candidate: &Candidate, directory: Option<&str>) -> bool {
    candidate.plugin
        && directory.is_none_or(|directory| {
            candidate.directory.as_deref().is_none_or(|own| !same_directory(own, directory))
        })
}

/// The candidates for what a plugin's listener does badly: it cannot switch protocols, and a web page in somebody's
/// terminal is nobody's wish. All of them where there is no other.
pub fn with_a_port(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    if candidates.iter().any(is_better_than_a_plugin) {
        candidates.retain(|candidate| !candidate.plugin);
    }
    candidates
}

/// Whether a candidate is to get what a plugin's listener should not.
fn is_better_than_a_plugin(candidate: &Candidate) -> bool {
    !candidate.plugin && candidate.answering && takes_work(candidate)
}

/// Whether `candidate`, chosen before, is still right for `directory` (`None`: for what names none): a plugin's listener
/// that was chosen for want of anything better gives way to what came.
pub fn still_suits(candidate: &Candidate, directory: Option<&str>, others: &[Candidate]) -> bool {
    candidate.answering && !(out_of_place(candidate, directory) && others.iter().any(is_better_than_a_plugin))
}

/// The server for a session that nobody claims, of those that share its store: own directory first, longest match
/// first; alive when the session was last updated; made to serve; lowest port.
pub fn for_session(candidates: &[Candidate], directory: Option<&str>, updated_ms: u64) -> Option<ServerKey> {
    let order = |candidate: &&Candidate| {
        let coverage = directory.map_or(0, |directory| coverage(candidate, directory));
        let alive_then = candidate.started_ms.is_some_and(|started_ms| started_ms <= updated_ms);
        let away = out_of_place(candidate, directory);
        (!candidate.answering, away, Reverse(coverage), !alive_then, suitability(candidate), place(candidate))
    };
    candidates
        .iter()
        .filter(|candidate| takes_work(candidate))
        .min_by_key(order)
        .map(|candidate| candidate.server)
}

/// The server for a directory: its own first, then one that has it open already, then one that lies above it. `None`
/// if none of these exists: then the default serves it, as it serves everything.
pub fn for_directory(
    candidates: &[Candidate],
    directory: &str,
    open: impl Fn(ServerKey) -> bool,
) -> Option<ServerKey> {
    let nearness = |candidate: &Candidate| match coverage(candidate, directory) {
        usize::MAX => usize::MAX,
        _ if candidate.plugin => 0,
        _ if open(candidate.server) => usize::MAX - 1,
        coverage => coverage,
    };
    candidates
        .iter()
        .filter(|candidate| takes_work(candidate) && nearness(candidate) > 0)
        .min_by_key(|candidate| {
            let nearness = Reverse(nearness(candidate));
            (!candidate.answering, nearness, suitability(candidate), place(candidate))
        })
        .map(|candidate| candidate.server)
}

/// Whether one that answers and takes work has the directory in use: as its own, or open already.
pub fn in_use(candidates: &[Candidate], directory: &str, open: impl Fn(ServerKey) -> bool) -> bool {
    let has_it = |candidate: &Candidate| {
        coverage(candidate, directory) == usize::MAX || !candidate.plugin && open(candidate.server)
    };
    candidates.iter().any(|candidate| candidate.answering && takes_work(candidate) && has_it(candidate))
}

/// The server for requests that name nothing: the configured default, else one made to serve.
pub fn by_default(candidates: &[Candidate]) -> Option<ServerKey> {
    candidates
        .iter()
        .filter(|candidate| takes_work(candidate))
        .min_by_key(|candidate| (suitability(candidate), place(candidate)))
        .map(|candidate| candidate.server)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(key: u32, kind: Kind, directory: &str) -> Candidate {
        Candidate {
            server: ServerKey(key),
            kind,
            directory: Some(directory.into()),
            plugin: false,
            preferred: false,
            answering: true,
            started_ms: Some(100),
            port: 4000 + u16::try_from(key).unwrap(),
            authority: format!("127.0.0.1:{}", 4000 + key).into(),
        }
    }

    #[test]
    fn the_own_directory_comes_first_then_the_longest_that_contains_it() {
        let all =
            [server(1, Kind::Serve, "/a"), server(2, Kind::Serve, "/a/b"), server(3, Kind::Tui, "/a/b/c")];
        assert_eq!(for_session(&all, Some("/a/b/c/"), 0), Some(ServerKey(3)));
        assert_eq!(for_session(&all, Some("/a/b/x"), 0), Some(ServerKey(2)));
        assert_eq!(for_session(&all, Some("/a/bb"), 0), Some(ServerKey(1)));
    }

    #[test]
    fn a_terminal_is_not_chosen_for_living_in_a_parent_directory() {
        let all = [server(1, Kind::Tui, "/a"), server(2, Kind::Serve, "/z")];
        assert_eq!(for_directory(&all, "/a/b", |_| false), None);
        assert_eq!(for_directory(&all, "/a", |_| false), Some(ServerKey(1)));
    }

    #[test]
    fn a_server_that_has_the_directory_open_comes_before_one_that_merely_lies_above_it() {
        let all = [server(1, Kind::Serve, "/a"), server(2, Kind::Serve, "/z"), server(3, Kind::Tui, "/a/b")];
        assert_eq!(for_directory(&all[..2], "/a/b", |key| key == ServerKey(2)), Some(ServerKey(2)));
        assert_eq!(for_directory(&all, "/a/b", |key| key == ServerKey(2)), Some(ServerKey(3)));
    }

    #[test]
    fn a_server_that_lived_when_the_session_was_updated_comes_before_a_younger_one() {
        let mut all = [server(1, Kind::Serve, "/a"), server(2, Kind::Serve, "/a")];
        all[0].started_ms = Some(900);
        assert_eq!(for_session(&all, Some("/a"), 500), Some(ServerKey(2)));
        assert_eq!(for_session(&all, Some("/a"), 950), Some(ServerKey(1)));
    }

    #[test]
    fn the_choice_does_not_depend_on_the_order_of_the_servers() {
        let mut all =
            vec![server(3, Kind::Tui, "/a"), server(2, Kind::Web, "/a"), server(1, Kind::Web, "/a")];
        let first = for_session(&all, Some("/a"), 500);
        all.reverse();
        assert_eq!(for_session(&all, Some("/a"), 500), first);
        assert_eq!(first, Some(ServerKey(1)));
    }

    #[test]
    fn between_equal_ports_the_host_decides_whoever_was_met_first() {
        let on = |key, host: &str| Candidate {
            port: 4096,
            authority: format!("{host}:4096").into(),
            ..server(key, Kind::Serve, "/a")
        };
        assert_eq!(for_session(&[on(1, "b"), on(2, "a")], Some("/a"), 0), Some(ServerKey(2)));
        assert_eq!(for_directory(&[on(1, "a"), on(2, "b")], "/a", |_| false), Some(ServerKey(1)));
        assert_eq!(by_default(&[on(1, "b"), on(2, "a")]), Some(ServerKey(2)));
    }

    fn listener(key: u32, directory: &str) -> Candidate {
        Candidate { plugin: true, ..server(key, Kind::Tui, directory) }
    }

    #[test]
    fn a_plugins_listener_gets_its_own_directory_and_no_other_while_somebody_else_lives() {
        let all = [listener(1, "/a"), server(2, Kind::Serve, "/z")];
        assert_eq!(for_session(&all, Some("/a"), 0), Some(ServerKey(1)));
        assert_eq!(for_directory(&all, "/a", |_| false), Some(ServerKey(1)));
        let mut young = all.clone();
        young[1].started_ms = Some(900);
        for directory in [Some("/b"), Some("/a/b"), None] {
            assert_eq!(for_session(&young, directory, 500), Some(ServerKey(2)), "{directory:?}");
        }
        assert_eq!(for_directory(&all, "/b", |_| true), Some(ServerKey(2)), "it has it open");
        assert_eq!(for_directory(&all[..1], "/b", |_| true), None, "then the default");
        assert_eq!(by_default(&all), Some(ServerKey(2)));
        assert_eq!(
            (by_default(&all[..1]), for_session(&all[..1], None, 0)),
            (Some(ServerKey(1)), Some(ServerKey(1)))
        );
    }

    #[test]
    fn what_a_plugins_listener_does_badly_goes_to_one_with_a_port_if_there_is_one() {
        let all = [listener(1, "/a"), server(2, Kind::Tui, "/z")];
        let keys = |candidates: &[Candidate]| {
            with_a_port(candidates.to_vec()).iter().map(|left| left.server.0).collect::<Vec<_>>()
        };
        assert_eq!((keys(&all), keys(&all[..1])), (vec![2], vec![1]));
        let run = [listener(1, "/a"), server(2, Kind::Run, "/z")];
        assert_eq!(keys(&run), [1, 2], "one that only runs a prompt is nobody");
    }

    #[test]
    fn a_plugins_listener_chosen_for_want_of_better_gives_way_to_what_comes() {
        let (plugin, later) = (listener(1, "/a"), [server(2, Kind::Serve, "/z")]);
        assert!(still_suits(&plugin, None, &[]));
        assert!(!still_suits(&plugin, None, &later));
        assert!(!still_suits(&plugin, Some("/b"), &later));
        assert!(still_suits(&plugin, Some("/a/"), &later), "it is its own");
        assert!(still_suits(&later[0], None, std::slice::from_ref(&plugin)));
    }

    #[test]
    fn one_that_runs_a_single_prompt_is_never_chosen_and_a_silent_one_last() {
        let mut silent = server(1, Kind::Serve, "/a");
        silent.answering = false;
        assert_eq!(by_default(&[server(2, Kind::Run, "/a")]), None);
        assert_eq!(by_default(&[silent.clone(), server(3, Kind::Tui, "/b")]), Some(ServerKey(3)));
        assert_eq!(by_default(&[silent]), Some(ServerKey(1)));
    }
}
