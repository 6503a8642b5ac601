//! The lists of which every server has a part.

/// A list that is merged over all servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum List {
    /// `/session`
    Sessions,
    /// `/session/status`
    SessionStatus,
    /// `/experimental/session`
    ExperimentalSessions,
    /// `/permission`
    Permissions,
    /// `/question`
    Questions,
    /// `/pty`
    Terminals,
    /// `/project`
    Projects,
    /// `/api/session`
    ApiSessions,
    /// `/api/session/active`
    ActiveSessions,
    /// `/api/permission/request`
    ApiPermissions,
    /// `/api/question/request`
    ApiQuestions,
    /// `/api/pty`
    ApiTerminals,
}
