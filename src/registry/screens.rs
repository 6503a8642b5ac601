//! What screens show: presence of people, and evidence of ownership where a screen is that of a server's own process
//! or attached to a server.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;

use super::{Move, News, Registry, View};
use crate::domain::{
    ids::{ServerKey, SessionId},
    kind::Kind,
    ownership::Owner,
};

/// A screen that shows a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screen {
    /// How its process was started: [`Kind::Attach`] for one without a server of its own.
    pub kind: Kind,
    /// Its process.
    pub pid: u32,
    /// The server whose screen it is, or that it is attached to; `None` for one attached to us, or to nobody we know.
    pub server: Option<ServerKey>,
    /// What it shows.
    pub session: SessionId,
    /// Since when, in milliseconds since 1970: the move there, or what the user last sent from it.
    pub since_ms: u64,
}

/// All screens that show a session, by their ids. There are as many as there are registrations at most.
#[derive(Debug, Default)]
pub struct Screens(Mutex<BTreeMap<Arc<str>, Screen>>);

impl Screens {
    /// The screens that show `session`, with their ids.
    pub fn viewers(&self, session: &SessionId) -> Vec<(Arc<str>, Screen)> {
        let screens = self.0.lock();
        let viewers = screens.iter().filter(|(_, screen)| screen.session == *session);
        viewers.map(|(id, screen)| (Arc::clone(id), screen.clone())).collect()
    }

    /// What the screen of the server's own process shows.
    pub fn of_server(&self, server: ServerKey) -> Option<SessionId> {
        let screens = self.0.lock();
        let own =
            screens.values().find(|screen| screen.server == Some(server) && screen.kind != Kind::Attach);
        own.map(|screen| screen.session.clone())
    }
}

/// When a session came to be on the newest screen of a server, if it is on one.
fn newest(screens: &BTreeMap<Arc<str>, Screen>, server: ServerKey, session: &SessionId) -> Option<u64> {
    let of_both =
        screens.values().filter(|screen| screen.server == Some(server) && screen.session == *session);
    of_both.map(|screen| screen.since_ms).max()
}

impl Registry {
    /// Screen `id` shows this now, or nothing. A report that says what is known already changes nothing.
    pub fn show(&self, id: &Arc<str>, now: Option<Screen>) -> News {
        // Held to the end, so that two screens of one server do not decide on half of what is known.
        let mut screens = self.screens.0.lock();
        let before = match &now {
            Some(screen) => screens.insert(Arc::clone(id), screen.clone()),
            None => screens.remove(id),
        };
        let mut news = News::default();
        if before == now {
            return news;
        }
        for screen in now.iter().chain(&before) {
            let Some(server) = screen.server else { continue };
            let since_ms = newest(&screens, server, &screen.session);
            news.add(self.view(server, &screen.session, since_ms));
        }
        let of_both = |screen: &Screen| (screen.session.clone(), screen.server);
        if before.as_ref().map(of_both) != now.as_ref().map(of_both) {
            let view = |screen: Screen, viewing| View {
                server: screen.server.and_then(|server| self.servers.id(server)),
                session: screen.session,
                viewer: Arc::clone(id),
                kind: screen.kind,
                viewing,
            };
            news.views.extend(before.map(|screen| view(screen, false)));
            news.views.extend(now.map(|screen| view(screen, true)));
        }
        news
    }

    fn view(&self, server: ServerKey, session: &SessionId, since_ms: Option<u64>) -> News {
        let snapshot = self.servers.now();
        let Some(server) = snapshot.get(server) else { return News::default() };
        if since_ms.is_some() {
            self.unseen.clear(session);
        }
        let effect = self.sessions.view(server.store, session, server.key, since_ms, &snapshot);
        self.news(session, server.key, effect)
    }

    /// A server has, or no longer has, the means to report its screen. Returns what moved by that.
    pub fn reports_screen(&self, server: ServerKey, reports: bool) -> News {
        if self.servers.get(server).is_none_or(|server| server.reports_screen == reports) {
            return News::default();
        }
        self.servers.change(server, |server| server.reports_screen = reports);
        let snapshot = self.servers.now();
        let id = |owner: Option<Owner>| self.servers.id(owner?.server);
        let moves = self.sessions.resettle(server, &snapshot).into_iter();
        let moves = moves.filter(|(_, _, from, _)| from.is_some_and(|owner| owner.evidence.owns())).map(
            |(session, _, from, to)| Move {
                session,
                from: id(from),
                to: id(to),
                evidence: to.map(|owner| owner.evidence),
            },
        );
        News { moves: moves.collect(), ..News::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{evidence::Evidence, ids::StoreKey},
        registry::{server::tests::server, sessions::Found},
    };

    const STORE: StoreKey = StoreKey(1);

    struct Town {
        registry: Registry,
        keys: Vec<ServerKey>,
    }

    impl Town {
        fn new() -> Self {
            let registry = Registry::new(None);
            let keys = ["srv_a", "srv_b"].into_iter().zip(4301..);
            let keys = keys
                .map(|(id, port)| registry.arrive(|key| server(key, id, port, STORE)).unwrap().key)
                .collect();
            let town = Self { registry, keys };
            for &key in &town.keys {
                town.registry.reports_screen(key, true);
            }
            town
        }

        fn show(&self, id: &str, server: Option<usize>, session: &str, since_ms: u64) -> News {
            let screen = Screen {
                kind: if server.is_some() { Kind::Tui } else { Kind::Attach },
                pid: 1,
                server: server.map(|place| self.keys[place]),
                session: ses(session),
                since_ms,
            };
            self.registry.show(&id.into(), Some(screen))
        }

        fn leave(&self, id: &str) -> News {
            self.registry.show(&id.into(), None)
        }

        /// The place of the session's owner among the servers.
        fn viewed(&self, session: &str) -> Option<usize> {
            match self.registry.find(&ses(session)) {
                Found::In(_, Some(Owner { server, evidence: Evidence::Viewing })) => {
                    self.keys.iter().position(|key| *key == server)
                }
                _ => None,
            }
        }
    }

    fn ses(text: &str) -> SessionId {
        SessionId::try_new(text).unwrap()
    }

    #[test]
    fn the_screen_that_moved_last_has_the_session_however_often_the_other_reports() {
        let town = Town::new();
        town.show("a", Some(0), "ses_1", 100);
        town.show("b", Some(1), "ses_1", 200);
        for _ in 0..100 {
            let news = town.show("a", Some(0), "ses_1", 100);
            assert!(news.moves.is_empty() && news.views.is_empty());
            assert_eq!(town.viewed("ses_1"), Some(1));
        }
        town.show("a", Some(0), "ses_1", 300);
        assert_eq!(town.viewed("ses_1"), Some(0), "the user sent from it");
    }

    #[test]
    fn a_view_reaches_back_as_far_as_the_screen_says() {
        let town = Town::new();
        let now_ms = town.registry.clock.now_ms();
        town.show("b", Some(1), "ses_1", now_ms - 1000);
        town.show("a", Some(0), "ses_1", now_ms - 3_600_000);
        assert_eq!(town.viewed("ses_1"), Some(1), "the one that came back is no newer for that");
    }

    #[test]
    fn of_two_screens_of_one_server_the_one_that_stays_counts_from_its_own_time() {
        let town = Town::new();
        town.show("a", Some(0), "ses_1", 100);
        town.show("b", Some(1), "ses_1", 200);
        town.show("attached", Some(0), "ses_1", 300);
        assert_eq!(town.viewed("ses_1"), Some(0));
        let news = town.leave("attached");
        assert_eq!(town.viewed("ses_1"), Some(1));
        assert_eq!(news.moves.len(), 1);
        town.leave("b");
        assert_eq!(town.viewed("ses_1"), Some(0));
        town.leave("a");
        assert_eq!(town.viewed("ses_1"), None);
    }

    #[test]
    fn a_screen_that_moves_leaves_one_session_and_enters_another_and_both_are_told() {
        let town = Town::new();
        town.show("a", Some(0), "ses_1", 100);
        let told = town.show("a", Some(0), "ses_2", 200).views;
        let told: Vec<_> = told.iter().map(|view| (view.session.as_str(), view.viewing)).collect();
        assert_eq!(told, [("ses_1", false), ("ses_2", true)]);
        assert_eq!((town.viewed("ses_1"), town.viewed("ses_2")), (None, Some(0)));
        assert_eq!(town.registry.screens.of_server(town.keys[0]), Some(ses("ses_2")));
    }

    #[test]
    fn a_screen_of_nobodys_server_is_presence_and_claims_nothing() {
        let town = Town::new();
        let news = town.show("far", None, "ses_1", 100);
        assert_eq!((news.views.len(), news.moves.len()), (1, 0));
        assert_eq!(town.registry.find(&ses("ses_1")), Found::Unknown);
        assert_eq!(town.registry.screens.viewers(&ses("ses_1")).len(), 1);
    }

    #[test]
    fn who_comes_to_report_its_screen_outdoes_other_screens_by_output_no_longer() {
        let town = Town::new();
        town.registry.reports_screen(town.keys[1], false);
        town.show("a", Some(0), "ses_1", 100);
        let blind = town.registry.servers.get(town.keys[1]).unwrap();
        town.registry.claim(&blind, &ses("ses_1"), Evidence::Emitted);
        assert_eq!(town.viewed("ses_1"), None, "it wrote later, and may show it");
        let news = town.registry.reports_screen(town.keys[1], true);
        assert_eq!((town.viewed("ses_1"), news.moves.len()), (Some(0), 1));
    }
}
