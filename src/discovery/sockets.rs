//! The listening sockets seen at the last look, and what differs at this one.

use std::collections::HashMap;

use crate::machine::{Listener, SocketId};

/// See the module. Knows sockets of other programs as well, so that nobody looks twice whose they are.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    known: HashMap<SocketId, Known>,
    looks: u64,
}

#[derive(Debug)]
struct Known {
    listener: Listener,
    seen_at: u64,
}

/// What differs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// Never seen before.
    pub(super) appeared: Vec<Listener>,
    /// Not seen at this look, for the first time. The system may leave one out by mistake.
    pub(super) missed: Vec<Listener>,
    /// Gone: missed twice, or another socket has its address or number.
    pub(super) vanished: Vec<Listener>,
}

impl Sockets {
    /// Takes in what is there now.
    pub(super) fn look(&mut self, now: impl IntoIterator<Item = Listener>) -> Difference {
        self.looks += 1;
        let mut difference = Difference::default();
        let mut seen = 0;
        for listener in now {
            seen += 1;
            match self.known.get_mut(&listener.socket) {
                Some(known) if known.listener.address == listener.address => known.seen_at = self.looks,
                _ => {
                    let known = Known { listener, seen_at: self.looks };
                    let before = self.known.insert(listener.socket, known);
                    difference.vanished.extend(before.map(|known| known.listener));
                    difference.appeared.push(listener);
                }
            }
        }
        if seen < self.known.len() {
            self.miss(&mut difference);
        }
        difference
    }

    fn miss(&mut self, difference: &mut Difference) {
        let looks = self.looks;
        let replaced = |listener: &Listener| {
            difference.appeared.iter().any(|appeared| appeared.address == listener.address)
        };
        let gone = self.known.extract_if(|_, known| {
            known.seen_at + 1 < looks || known.seen_at < looks && replaced(&known.listener)
        });
        let gone: Vec<Listener> = gone.map(|(_, known)| known.listener).collect();
        difference.vanished.extend(gone);
        let missed = self.known.values().filter(|known| known.seen_at < looks);
        difference.missed.extend(missed.map(|known| known.listener));
    }

    /// Forgets a socket, so that it appears anew if it is still there.
    pub(super) fn forget(&mut self, socket: SocketId) {
        self.known.remove(&socket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(socket: u64, port: u16) -> Listener {
        Listener { address: ([127, 0, 0, 1], port).into(), socket: SocketId(socket), uid: None }
    }

    #[test]
    fn what_is_known_appears_once() {
        let mut sockets = Sockets::default();
        let both = [listener(1, 1), listener(2, 2)];
        assert_eq!(sockets.look(both).appeared, both);
        assert_eq!(sockets.look(both), Difference::default());
    }

    #[test]
    fn a_socket_has_gone_when_it_was_missed_twice() {
        let mut sockets = Sockets::default();
        sockets.look([listener(1, 1), listener(2, 2)]);
        let missed = sockets.look([listener(2, 2)]);
        assert_eq!((missed.missed, missed.vanished), (vec![listener(1, 1)], vec![]));
        assert_eq!(sockets.look([listener(2, 2), listener(1, 1)]), Difference::default());
        sockets.look([listener(2, 2)]);
        assert_eq!(sockets.look([listener(2, 2)]).vanished, [listener(1, 1)]);
    }

    #[test]
    fn a_socket_has_gone_at_once_when_another_has_its_address_or_its_number() {
        let mut sockets = Sockets::default();
        sockets.look([listener(1, 1), listener(2, 2)]);
        let address = sockets.look([listener(3, 1), listener(2, 2)]);
        assert_eq!((address.vanished, address.appeared), (vec![listener(1, 1)], vec![listener(3, 1)]));
        let number = sockets.look([listener(3, 4), listener(2, 2)]);
        assert_eq!((number.vanished, number.appeared), (vec![listener(3, 1)], vec![listener(3, 4)]));
    }

    #[test]
    fn a_forgotten_socket_appears_anew() {
        let mut sockets = Sockets::default();
        sockets.look([listener(1, 1)]);
        sockets.forget(SocketId(1));
        assert_eq!(sockets.look([listener(1, 1)]).appeared, [listener(1, 1)]);
    }
}
