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

impl List {
    /// Every list.
    pub const ALL: [Self; 12] = [
        Self::Sessions,
        Self::SessionStatus,
        Self::ExperimentalSessions,
        Self::Permissions,
        Self::Questions,
        Self::Terminals,
        Self::Projects,
        Self::ApiSessions,
        Self::ActiveSessions,
        Self::ApiPermissions,
        Self::ApiQuestions,
        Self::ApiTerminals,
    ];

    /// Its path.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Sessions => "/session",
            Self::SessionStatus => "/session/status",
            Self::ExperimentalSessions => "/experimental/session",
            Self::Permissions => "/permission",
            Self::Questions => "/question",
            Self::Terminals => "/pty",
            Self::Projects => "/project",
            Self::ApiSessions => "/api/session",
            Self::ActiveSessions => "/api/session/active",
            Self::ApiPermissions => "/api/permission/request",
            Self::ApiQuestions => "/api/question/request",
            Self::ApiTerminals => "/api/pty",
        }
    }

    /// How many rows a page has when the client names no limit; `None` for a list that has no pages.
    pub const fn page(self) -> Option<usize> {
        match self {
            Self::Sessions | Self::ExperimentalSessions => Some(100),
            Self::ApiSessions => Some(50),
            _ => None,
        }
    }
}
