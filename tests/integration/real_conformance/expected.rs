//! Who must answer each operation, written down from what servers do, not from the table that routing rests on.

/// Who must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// All servers, each with its own rows.
    MergedOverServers,
    /// Any server, with the rows of the store: no session twice, each with its owner.
    MergedOverStores,
    /// The owner of the session in the path.
    Session,
    /// The same, and the answer is a stream.
    SessionStream,
    /// The owner of the session in the body.
    SessionInBody,
    /// The server of the directory, which then owns the new session.
    NewSession,
    /// The server that raised it.
    Raised(Raise),
    /// The same, over a WebSocket.
    Socket(Raise),
    /// The server of the directory, which then has the new terminal.
    NewTerminal,
    /// The server of the directory; without one, the server that everything unnamed goes to.
    Directory,
    /// The same, and one server alone: it writes for all.
    Settings,
    /// The server that everything unnamed goes to.
    Default,
    /// The server of the directory.
    FlowBegins,
    /// The server on which the flow began.
    FlowGoesOn,
    /// Nobody, unless a server is named: it would act on somebody's screen.
    Screen,
    /// Nobody: it would end everybody's turns.
    Disposal,
    /// All servers, in one stream.
    Stream,
}

/// What one server has and no other knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Raise {
    Permission,
    Question,
    Terminal,
    SecondPermission,
    SecondQuestion,
    SecondTerminal,
    Attempt,
}

/// Operations by class.
pub type Expected = &'static [(Class, &'static [&'static str])];

pub const EXPECTED: Expected = &[
    (
        Class::MergedOverServers,
        &[
            "GET /session/status",
            "GET /permission",
            "GET /question",
            "GET /pty",
            "GET /api/session/active",
            "GET /api/permission/request",
            "GET /api/question/request",
            "GET /api/pty",
        ],
    ),
    (
        Class::MergedOverStores,
        &["GET /session", "GET /experimental/session", "GET /api/session", "GET /project"],
    ),
    (
        Class::Session,
        &[
            "GET /session/{sessionID}",
            "PATCH /session/{sessionID}",
            "DELETE /session/{sessionID}",
            "GET /session/{sessionID}/children",
            "GET /session/{sessionID}/todo",
            "GET /session/{sessionID}/diff",
            "GET /session/{sessionID}/message",
            "POST /session/{sessionID}/message",
            "GET /session/{sessionID}/message/{messageID}",
            "DELETE /session/{sessionID}/message/{messageID}",
            "PATCH /session/{sessionID}/message/{messageID}/part/{partID}",
            "DELETE /session/{sessionID}/message/{messageID}/part/{partID}",
            "POST /session/{sessionID}/prompt_async",
            "POST /session/{sessionID}/command",
            "POST /session/{sessionID}/shell",
            "POST /session/{sessionID}/init",
            "POST /session/{sessionID}/summarize",
            "POST /session/{sessionID}/fork",
            "POST /session/{sessionID}/abort",
            "POST /session/{sessionID}/revert",
            "POST /session/{sessionID}/unrevert",
            "POST /session/{sessionID}/share",
            "DELETE /session/{sessionID}/share",
            "POST /experimental/session/{sessionID}/background",
            "GET /api/session/{sessionID}",
            "GET /api/session/{sessionID}/context",
            "GET /api/session/{sessionID}/history",
            "GET /api/session/{sessionID}/message",
            "GET /api/session/{sessionID}/message/{messageID}",
            "GET /api/session/{sessionID}/permission",
            "POST /api/session/{sessionID}/permission",
            "GET /api/session/{sessionID}/question",
            "POST /api/session/{sessionID}/prompt",
            "POST /api/session/{sessionID}/agent",
            "POST /api/session/{sessionID}/model",
            "POST /api/session/{sessionID}/compact",
            "POST /api/session/{sessionID}/wait",
            "POST /api/session/{sessionID}/interrupt",
            "POST /api/session/{sessionID}/revert/stage",
            "POST /api/session/{sessionID}/revert/clear",
            "POST /api/session/{sessionID}/revert/commit",
        ],
    ),
    (Class::SessionStream, &["GET /api/session/{sessionID}/event"]),
    (
        Class::SessionInBody,
        &[
            "POST /sync/history",
            "POST /sync/replay",
            "POST /sync/steal",
            "POST /tui/select-session",
            "POST /experimental/control-plane/move-session",
            "POST /experimental/workspace/warp",
        ],
    ),
    (Class::NewSession, &["POST /session", "POST /api/session"]),
    (
        Class::Raised(Raise::Permission),
        &["POST /permission/{requestID}/reply", "POST /session/{sessionID}/permissions/{permissionID}"],
    ),
    (
        Class::Raised(Raise::Question),
        &["POST /question/{requestID}/reply", "POST /question/{requestID}/reject"],
    ),
    (
        Class::Raised(Raise::SecondPermission),
        &[
            "GET /api/session/{sessionID}/permission/{requestID}",
            "POST /api/session/{sessionID}/permission/{requestID}/reply",
        ],
    ),
    (
        Class::Raised(Raise::SecondQuestion),
        &[
            "POST /api/session/{sessionID}/question/{requestID}/reply",
            "POST /api/session/{sessionID}/question/{requestID}/reject",
        ],
    ),
    (
        Class::Raised(Raise::Terminal),
        &["GET /pty/{ptyID}", "PUT /pty/{ptyID}", "DELETE /pty/{ptyID}", "POST /pty/{ptyID}/connect-token"],
    ),
    (
        Class::Raised(Raise::SecondTerminal),
        &[
            "GET /api/pty/{ptyID}",
            "PUT /api/pty/{ptyID}",
            "DELETE /api/pty/{ptyID}",
            "POST /api/pty/{ptyID}/connect-token",
        ],
    ),
    (
        Class::Raised(Raise::Attempt),
        &[
            "GET /api/integration/attempt/{attemptID}",
            "DELETE /api/integration/attempt/{attemptID}",
            "POST /api/integration/attempt/{attemptID}/complete",
        ],
    ),
    (Class::Socket(Raise::Terminal), &["GET /pty/{ptyID}/connect"]),
    (Class::Socket(Raise::SecondTerminal), &["GET /api/pty/{ptyID}/connect"]),
    (Class::NewTerminal, &["POST /pty", "POST /api/pty"]),
    (
        Class::Directory,
        &[
            "GET /path",
            "GET /agent",
            "GET /command",
            "GET /skill",
            "GET /config",
            "GET /config/providers",
            "GET /provider",
            "GET /provider/auth",
            "GET /lsp",
            "GET /formatter",
            "GET /file",
            "GET /file/content",
            "GET /file/status",
            "GET /find",
            "GET /find/file",
            "GET /find/symbol",
            "GET /vcs",
            "GET /vcs/diff",
            "GET /vcs/diff/raw",
            "GET /vcs/status",
            "POST /vcs/apply",
            "GET /pty/shells",
            "GET /project/current",
            "GET /project/{projectID}/directories",
            "PATCH /project/{projectID}",
            "POST /project/git/init",
            "GET /mcp",
            "POST /mcp",
            "POST /mcp/{name}/connect",
            "POST /mcp/{name}/disconnect",
            "DELETE /mcp/{name}/auth",
            "POST /sync/start",
            "GET /experimental/capabilities",
            "GET /experimental/console",
            "GET /experimental/console/orgs",
            "GET /experimental/resource",
            "GET /experimental/tool",
            "GET /experimental/tool/ids",
            "POST /experimental/project/{projectID}/copy",
            "DELETE /experimental/project/{projectID}/copy",
            "POST /experimental/project/{projectID}/copy/generate-name",
            "POST /experimental/project/{projectID}/copy/refresh",
            // Workspaces stand in the store: any server that has it can delete one, and its fellows see it gone.
            "GET /experimental/workspace",
            "POST /experimental/workspace",
            "DELETE /experimental/workspace/{id}",
            "GET /experimental/workspace/adapter",
            "GET /experimental/workspace/status",
            "POST /experimental/workspace/sync-list",
            "GET /experimental/worktree",
            "POST /experimental/worktree",
            "DELETE /experimental/worktree",
            "POST /experimental/worktree/reset",
            "GET /api/agent",
            "GET /api/command",
            "GET /api/skill",
            "GET /api/location",
            "GET /api/model",
            "GET /api/provider",
            "GET /api/provider/{providerID}",
            "GET /api/reference",
            "GET /api/integration",
            "GET /api/integration/{integrationID}",
            "GET /api/fs/find",
            "GET /api/fs/list",
            "GET /api/fs/read/*",
        ],
    ),
    (
        Class::Settings,
        &[
            "PUT /auth/{providerID}",
            "DELETE /auth/{providerID}",
            "PATCH /config",
            "PATCH /global/config",
            "POST /experimental/console/switch",
            "POST /api/integration/{integrationID}/connect/key",
            "PATCH /api/credential/{credentialID}",
            "DELETE /api/credential/{credentialID}",
        ],
    ),
    (
        Class::Default,
        &[
            "GET /global/config",
            "GET /global/health",
            "GET /api/health",
            "POST /log",
            "GET /api/permission/saved",
            "DELETE /api/permission/saved/{id}",
        ],
    ),
    (
        Class::FlowBegins,
        &[
            "POST /provider/{providerID}/oauth/authorize",
            "POST /mcp/{name}/auth",
            "POST /api/integration/{integrationID}/connect/oauth",
        ],
    ),
    (
        Class::FlowGoesOn,
        &[
            "POST /provider/{providerID}/oauth/callback",
            "POST /mcp/{name}/auth/callback",
            "POST /mcp/{name}/auth/authenticate",
        ],
    ),
    (
        Class::Screen,
        &[
            "POST /tui/append-prompt",
            "POST /tui/clear-prompt",
            "POST /tui/submit-prompt",
            "POST /tui/execute-command",
            "POST /tui/open-help",
            "POST /tui/open-models",
            "POST /tui/open-sessions",
            "POST /tui/open-themes",
            "POST /tui/publish",
            "POST /tui/show-toast",
            "GET /tui/control/next",
            "POST /tui/control/response",
        ],
    ),
    (Class::Disposal, &["POST /instance/dispose", "POST /global/dispose", "POST /global/upgrade"]),
    (Class::Stream, &["GET /event", "GET /global/event", "GET /api/event"]),
];
