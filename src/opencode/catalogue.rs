//! What a server has to offer (providers, models, agents, commands, skills): which requests read it, and which may
//! change it.
//!
//! The reads are a list: only these are known to say the same until something changes. The changes are told by their
//! contrary, so that an operation of a newer version is taken for a change until it is known to be none.

use http::Method;

/// What a request has to do with the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// It reads a part of it.
    Read,
    /// It may change it.
    Change,
    /// Nothing.
    None,
}

/// What `method` on `path` (without its query) has to do with the catalogue.
pub fn concern(method: &Method, path: &str) -> Concern {
    if *method == Method::GET {
        return if is_read(path) { Concern::Read } else { Concern::None };
    }
    if *method == Method::HEAD || *method == Method::OPTIONS || leaves_it(path) {
        return Concern::None;
    }
    Concern::Change
}

fn is_read(path: &str) -> bool {
    matches!(
        path,
        "/provider"
            | "/config/providers"
            | "/agent"
            | "/command"
            | "/skill"
            | "/api/provider"
            | "/api/model"
            | "/api/agent"
            | "/api/command"
            | "/api/skill"
    )
}

/// Whether a write is known to leave the catalogue as it is: work on sessions, answers to what the agent asks,
/// terminals, screens, logs. A turn may edit the files that agents and commands are read from, but servers read
/// those again only when their instance has been disposed, which they tell.
fn leaves_it(path: &str) -> bool {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_prefix("api/").unwrap_or(path);
    let path = path.strip_prefix("experimental/").unwrap_or(path);
    let first = path.split('/').next().unwrap_or_default();
    matches!(first, "session" | "permission" | "question" | "pty" | "tui" | "sync" | "log" | "worktree")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_get_of_the_whole_path_reads_the_catalogue() {
        for path in ["/provider", "/config/providers", "/api/model", "/agent", "/api/command", "/skill"] {
            assert_eq!(concern(&Method::GET, path), Concern::Read, "{path}");
            assert_eq!(concern(&Method::HEAD, path), Concern::None, "{path}");
        }
        for path in ["/provider/", "/provider/auth", "/config", "/api/models", "/mcp", "/session", "/"] {
            assert_eq!(concern(&Method::GET, path), Concern::None, "{path}");
        }
    }

    #[test]
    fn configuration_credentials_flows_and_disposals_change_it() {
        for (method, path) in [
            (Method::PATCH, "/config"),
            (Method::PATCH, "/global/config"),
            (Method::PUT, "/auth/groq"),
            (Method::DELETE, "/auth/groq"),
            (Method::POST, "/provider/x/oauth/callback"),
            (Method::POST, "/mcp"),
            (Method::POST, "/mcp/x/connect"),
            (Method::POST, "/mcp/x/disconnect"),
            (Method::DELETE, "/mcp/x/auth"),
            (Method::POST, "/api/integration/x/connect/key"),
            (Method::POST, "/api/integration/attempt/x/complete"),
            (Method::DELETE, "/api/credential/x"),
            (Method::POST, "/instance/dispose"),
            (Method::POST, "/global/dispose"),
            (Method::POST, "/experimental/console/switch"),
            (Method::POST, "/something/of/a/later/version"),
        ] {
            assert_eq!(concern(&method, path), Concern::Change, "{method} {path}");
        }
    }

    #[test]
    fn work_on_sessions_and_screens_leaves_it_as_it_is() {
        for path in [
            "/session",
            "/session/ses_1/message",
            "/api/session/ses_1/prompt",
            "/permission/per_1/reply",
            "/question/que_1/reject",
            "/api/pty",
            "/tui/append-prompt",
            "/log",
            "/experimental/session/ses_1/background",
            "/experimental/worktree",
        ] {
            assert_eq!(concern(&Method::POST, path), Concern::None, "{path}");
        }
    }
}
