//! Whose process a connection on loopback comes from.
//!
//! An open port on 127.0.0.1 is open to every user of the machine, and who reaches a session runs commands as its
//! owner. So without a token only the daemon's own user is let in.

use super::Refusal;

/// What is known about the user at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerUser {
    /// The daemon's own, or root.
    Same,
    /// Another one.
    Other,
    /// Nobody's that could be found, though the system tells such things: the socket is closed already, or hides (one
    /// bound to a network device does not show under its addresses).
    Nobody,
    /// The system does not tell.
    Unknown,
}

impl PeerUser {
    /// Judges the owner of the peer's socket, as a kernel that tells gives it, against the daemon's own user.
    ///
    /// Root counts as the same: it reads any process's memory and any file already, and a refusal would protect
    /// nothing.
    pub fn of(peer: Option<u32>, own: u32) -> Self {
        match peer {
            None => Self::Nobody,
            Some(0) => Self::Same,
            Some(peer) if peer == own => Self::Same,
            Some(_) => Self::Other,
        }
    }
}

/// Decides for a connection that needs no token. `passwords_behind`: some server behind is closed with a password,
/// which this daemon would open for whoever comes in.
pub(super) fn check(user: PeerUser, user_check: bool, passwords_behind: bool) -> Result<(), Refusal> {
    match (user, user_check) {
        (PeerUser::Other, true) => Err(Refusal::OtherUser),
        (PeerUser::Nobody, true) => Err(Refusal::UserHidden),
        (PeerUser::Other | PeerUser::Nobody, false) | (PeerUser::Unknown, _) if passwords_behind => {
            Err(Refusal::UserUnknown)
        }
        (PeerUser::Same | PeerUser::Unknown, _) | (PeerUser::Other | PeerUser::Nobody, false) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_user_and_root_are_the_same_and_the_rest_is_not() {
        assert_eq!(PeerUser::of(Some(1000), 1000), PeerUser::Same);
        assert_eq!(PeerUser::of(Some(0), 1000), PeerUser::Same);
        assert_eq!(PeerUser::of(Some(1001), 1000), PeerUser::Other);
        assert_eq!(PeerUser::of(Some(1001), 0), PeerUser::Other);
        assert_eq!(PeerUser::of(None, 1000), PeerUser::Nobody);
    }

    #[test]
    fn another_user_is_refused_and_the_own_one_never_is() {
        for passwords in [false, true] {
            assert_eq!(check(PeerUser::Other, true, passwords), Err(Refusal::OtherUser));
            assert_eq!(check(PeerUser::Same, true, passwords), Ok(()));
            assert_eq!(check(PeerUser::Same, false, passwords), Ok(()));
        }
    }

    #[test]
    fn who_hides_from_a_system_that_tells_is_refused() {
        for passwords in [false, true] {
            assert_eq!(check(PeerUser::Nobody, true, passwords), Err(Refusal::UserHidden));
        }
        assert_eq!(check(PeerUser::Nobody, false, false), Ok(()));
    }

    #[test]
    fn an_unknown_user_passes_until_a_server_behind_has_a_password() {
        for (user, checked) in
            [(PeerUser::Unknown, true), (PeerUser::Unknown, false), (PeerUser::Other, false)]
        {
            assert_eq!(check(user, checked, false), Ok(()));
            assert_eq!(check(user, checked, true), Err(Refusal::UserUnknown));
        }
    }
}
