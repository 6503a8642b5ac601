//! What each operation of the agent's HTTP interface is about: the table that routing rests on.
//!
//! Every one of the 188 operations of 1.18.33's `/doc` has its line here; what has none concerns the whole process
//! ([`Subject::Anything`]). Matching cuts the raw path at its slashes and allocates nothing; ids stay as the client
//! wrote them.

use http::Method;

use super::lists::List;

/// What a request is about, as far as its method and path tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'p> {
    /// One session, named in the path.
    Session {
        /// The session's id, unchecked.
        id: &'p str,
        /// What is wanted of it.
        act: Act,
    },
    /// A new session. Its body may name a parent, or the id it is to have.
    NewSession,
    /// A session that the body names.
    NamedInBody,
    /// A permission or question request, or an attempt to connect an integration.
    Request {
        /// Its id, unchecked.
        id: &'p str,
        /// The session it was raised for, if the path tells.
        session: Option<&'p str>,
    },
    /// A terminal.
    Terminal {
        /// Its id, unchecked.
        id: &'p str,
    },
    /// A new terminal.
    NewTerminal,
    /// A workspace.
    Workspace {
        /// Its id, unchecked.
        id: &'p str,
    },
    /// A list that every server has a part of.
    List(List),
    /// A stream of events.
    Stream(Stream),
    /// A step of something that one process must see from its first step to its last.
    Flow {
        /// What is being connected: the provider, integration or MCP server.
        name: &'p str,
        /// Whether this is the first step.
        step: Step,
    },
    /// Somebody's screen.
    Screen,
    /// The end of running turns: disposal of an instance or of all, or an upgrade.
    Disposal,
    /// Credentials and configuration, written once for all servers of a store.
    Settings,
    /// A directory, if the request names one.
    Directory,
    /// Nothing in particular.
    Anything,
}

/// What is wanted of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The agent is to work: message, command, shell and their like.
    Turn,
    /// A new session is to be made of it.
    Fork,
    /// It is to be deleted.
    Delete,
    /// Anything else.
    Other,
}

/// Where a step stands in its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It begins the flow: any suitable server.
    First,
    /// It continues the flow: the server of the first step.
    Later,
}

/// A stream of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// `/event`: one directory's.
    Directory,
    /// `/global/event`: all of a process.
    Global,
    /// `/api/event`: the second shape.
    Api,
}

/// More segments than the longest operation has.
const SEGMENTS: usize = 9;

/// What `method` on `path` (without its query) is about.
pub fn subject<'p>(method: &Method, path: &'p str) -> Subject<'p> {
    let mut segments = [""; SEGMENTS];
    let mut count = 0;
    for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
        if count == SEGMENTS {
            return Subject::Anything;
        }
        segments[count] = segment;
        count += 1;
    }
    match &segments[..count] {
        ["api", rest @ ..] => second_interface(method, rest),
        segments => first_interface(method, segments),
    }
}

#[expect(clippy::match_same_arms, reason = "a table: each group of operations has its own lines")]
fn first_interface<'p>(method: &Method, segments: &[&'p str]) -> Subject<'p> {
    let reads = *method == Method::GET;
    match segments {
        ["session"] if reads => Subject::List(List::Sessions),
        ["session"] if *method == Method::POST => Subject::NewSession,
        ["session"] => Subject::Directory,
        ["session", "status"] if reads => Subject::List(List::SessionStatus),
        ["session", id] => {
            Subject::Session { id, act: if *method == Method::DELETE { Act::Delete } else { Act::Other } }
        }
        ["session", id, "message" | "prompt_async" | "command" | "shell" | "summarize" | "init"]
            if *method == Method::POST =>
        {
            Subject::Session { id, act: Act::Turn }
        }
        ["session", id, "fork"] => Subject::Session { id, act: Act::Fork },
        ["session", session, "permissions", id] => Subject::Request { id, session: Some(session) },
        ["session", id, ..] => Subject::Session { id, act: Act::Other },
        ["experimental", "session"] => Subject::List(List::ExperimentalSessions),
        ["experimental", "session", id, "background"] => Subject::Session { id, act: Act::Turn },
        ["experimental", "session", id, ..] => Subject::Session { id, act: Act::Other },

        ["permission"] if reads => Subject::List(List::Permissions),
        ["question"] if reads => Subject::List(List::Questions),
        ["permission" | "question", id, ..] => Subject::Request { id, session: None },

        ["pty"] if reads => Subject::List(List::Terminals),
        ["pty"] if *method == Method::POST => Subject::NewTerminal,
        ["pty"] | ["pty", "shells"] => Subject::Directory,
        ["pty", id, ..] => Subject::Terminal { id },

        ["project"] if reads => Subject::List(List::Projects),
        ["event"] if reads => Subject::Stream(Stream::Directory),
        ["global", "event"] if reads => Subject::Stream(Stream::Global),

        ["tui", "select-session"] | ["sync", ..] => Subject::NamedInBody,
        ["experimental", "control-plane", "move-session"] | ["experimental", "workspace", "warp"] => {
            Subject::NamedInBody
        }
        ["tui", ..] => Subject::Screen,
        ["experimental", "workspace", "adapter" | "sync-list" | "status"] => Subject::Directory,
        ["experimental", "workspace", id] => Subject::Workspace { id },

        ["instance" | "global", "dispose"] | ["global", "upgrade"] => Subject::Disposal,

        ["provider", name, "oauth", "authorize"] => Subject::Flow { name, step: Step::First },
        ["provider", name, "oauth", "callback"] => Subject::Flow { name, step: Step::Later },
        ["mcp", name, "auth"] if *method == Method::POST => Subject::Flow { name, step: Step::First },
        ["mcp", name, "auth", "callback" | "authenticate"] => Subject::Flow { name, step: Step::Later },

        ["auth", _] => Subject::Settings,
        ["config"] | ["global", "config"] if !reads => Subject::Settings,
        ["experimental", "console", "switch"] => Subject::Settings,

        [
            "config" | "experimental" | "find" | "file" | "path" | "vcs" | "command" | "agent" | "skill"
            | "lsp" | "formatter" | "mcp" | "provider" | "project",
            ..,
        ] => Subject::Directory,
        _ => Subject::Anything,
    }
}

/// The interface below `/api`.
#[expect(clippy::match_same_arms, reason = "a table: each group of operations has its own lines")]
fn second_interface<'p>(method: &Method, segments: &[&'p str]) -> Subject<'p> {
    let reads = *method == Method::GET;
    match segments {
        ["session"] if reads => Subject::List(List::ApiSessions),
        ["session"] if *method == Method::POST => Subject::NewSession,
        ["session"] => Subject::Directory,
        ["session", "active"] if reads => Subject::List(List::ActiveSessions),
        ["session", id, "prompt" | "compact"] => Subject::Session { id, act: Act::Turn },
        ["session", session, "permission" | "question", id, ..] => {
            Subject::Request { id, session: Some(session) }
        }
        ["session", id, ..] => Subject::Session { id, act: Act::Other },

        ["permission", "request"] if reads => Subject::List(List::ApiPermissions),
        ["question", "request"] if reads => Subject::List(List::ApiQuestions),
        ["pty"] if reads => Subject::List(List::ApiTerminals),
        ["pty"] if *method == Method::POST => Subject::NewTerminal,
        ["pty"] => Subject::Directory,
        ["pty", id, ..] => Subject::Terminal { id },
        ["event"] if reads => Subject::Stream(Stream::Api),

        ["integration", "attempt", id, ..] => Subject::Request { id, session: None },
        ["integration", name, "connect", "oauth"] => Subject::Flow { name, step: Step::First },
        ["integration", _, "connect", "key"] => Subject::Settings,
        ["credential", _] => Subject::Settings,

        [
            "location" | "agent" | "model" | "provider" | "integration" | "fs" | "command" | "skill"
            | "reference",
            ..,
        ] => Subject::Directory,
        _ => Subject::Anything,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "shorter where it is called")]
    fn of(method: Method, path: &str) -> Subject<'_> {
        subject(&method, path)
    }

    #[test]
    fn the_list_and_the_status_of_all_sessions_are_no_session_ids() {
        assert_eq!(of(Method::GET, "/session"), Subject::List(List::Sessions));
        assert_eq!(of(Method::GET, "/session/status"), Subject::List(List::SessionStatus));
        assert_eq!(of(Method::GET, "/api/session/active"), Subject::List(List::ActiveSessions));
    }

    #[test]
    fn what_makes_the_agent_work_is_a_turn_and_reading_messages_is_not() {
        let turn = |path| of(Method::POST, path);
        for path in [
            "/session/ses_1/message",
            "/session/ses_1/prompt_async",
            "/session/ses_1/command",
            "/api/session/ses_1/prompt",
        ] {
            assert_eq!(turn(path), Subject::Session { id: "ses_1", act: Act::Turn }, "{path}");
        }
        let read = of(Method::GET, "/session/ses_1/message");
        assert_eq!(read, Subject::Session { id: "ses_1", act: Act::Other });
        let edit = of(Method::DELETE, "/session/ses_1/message/msg_1/part/prt_1");
        assert_eq!(edit, Subject::Session { id: "ses_1", act: Act::Other });
    }

    #[test]
    fn a_reply_is_about_its_request_whatever_session_stands_before_it() {
        assert_eq!(
            of(Method::POST, "/permission/per_1/reply"),
            Subject::Request { id: "per_1", session: None }
        );
        let old = of(Method::POST, "/session/ses_1/permissions/per_1");
        assert_eq!(old, Subject::Request { id: "per_1", session: Some("ses_1") });
        let new = of(Method::POST, "/api/session/ses_1/question/que_1/reply");
        assert_eq!(new, Subject::Request { id: "que_1", session: Some("ses_1") });
    }

    #[test]
    fn what_ends_running_turns_is_told_apart_from_everything_else() {
        for path in ["/instance/dispose", "/global/dispose", "/global/upgrade"] {
            assert_eq!(of(Method::POST, path), Subject::Disposal, "{path}");
        }
    }

    #[test]
    fn pages_assets_and_odd_paths_concern_nothing_in_particular() {
        for path in ["/", "", "//", "/assets/x.js", "/doc", "/a/b/c/d/e/f/g/h/i/j/k", "/session2"] {
            assert_eq!(of(Method::GET, path), Subject::Anything, "{path}");
        }
    }
}
