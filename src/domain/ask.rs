//! What agents ask people for: leave to do something, or an answer.

/// What an agent asks a person for, and in which interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ask {
    /// What it asks for.
    pub kind: AskKind,
    /// The interface whose turns ask so, and whose clients answer.
    pub interface: Interface,
}

impl Ask {
    /// What is asked for under an id of this form, in `interface`; `None` for ids of anything else.
    pub fn of(id: &str, interface: Interface) -> Option<Self> {
        let kind = match id.get(..4)? {
            "per_" => AskKind::Permission,
            "que_" => AskKind::Question,
            _ => return None,
        };
        Some(Self { kind, interface })
    }
}

/// `OpenCode` has two interfaces side by side, each with turns, permissions and questions of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interface {
    /// `/session/…`, `/permission`, `/question`.
    First,
    /// `/api/…`.
    Second,
}

/// What an agent asks a person for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AskKind {
    /// Leave to do something.
    Permission,
    /// A choice or a piece of knowledge.
    Question,
}

impl AskKind {
    /// Its name, as in `PermissionNotFoundError`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Permission => "Permission",
            Self::Question => "Question",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stands_in_the_id() {
        let of = |id| Ask::of(id, Interface::Second).map(|ask| ask.kind);
        assert_eq!(of("per_1"), Some(AskKind::Permission));
        assert_eq!(of("que_1"), Some(AskKind::Question));
        for id in ["pty_1", "per", "", "é"] {
            assert_eq!(of(id), None, "{id}");
        }
    }
}
