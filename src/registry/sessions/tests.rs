//! What the table of sessions promises, through the registry where a promise needs both.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::registry::{
    Registry,
    server::{Server, tests::server},
    stores::StoreIdentity,
};

mod standing;

const STORE: StoreKey = StoreKey(7);

fn id(text: &str) -> SessionId {
    SessionId::try_new(text).unwrap()
}

fn row(session: &str, updated_ms: u64) -> SessionRow {
    SessionRow {
        id: id(session),
        directory: "/work".into(),
        title: format!("as of {updated_ms}").into(),
        project: "global".into(),
        parent: None,
        created_ms: 0,
        updated_ms,
    }
}

/// A registry with the servers `a` on port 4096, `b` on 4097 and so on, in one store.
fn registry(names: &[&str]) -> (Registry, Vec<Arc<Server>>) {
    let registry = Registry::new(None);
    let ports = 4096..;
    let arrive = |(name, port): (&&str, u16)| registry.arrive(|key| server(key, name, port, STORE)).unwrap();
    let servers = names.iter().zip(ports).map(arrive).collect();
    (registry, servers)
}

fn owner(registry: &Registry, session: &str) -> Option<(ServerKey, Evidence)> {
    match registry.find(&id(session)) {
        Found::In(_, owner) => owner.map(|owner| (owner.server, owner.evidence)),
        Found::Unknown | Found::InSeveral(_) => None,
    }
}

#[test]
fn being_listed_is_no_claim_and_the_choice_stays_once_made() {
    let (registry, servers) = registry(&["a", "b"]);
    registry.sessions.row(STORE, &row("ses_1", 1), 1);
    assert_eq!(registry.find(&id("ses_1")), Found::In(STORE, None));
    let chosen = registry.choose(STORE, &id("ses_1")).unwrap();
    assert_eq!(chosen, Owner { server: servers[0].key, evidence: Evidence::Chosen });
    // Another that would suit as well changes nothing.
    registry.arrive(|key| server(key, "z", 80, STORE));
    assert_eq!(owner(&registry, "ses_1"), Some((servers[0].key, Evidence::Chosen)));
}

#[test]
fn an_older_row_changes_nothing_but_the_round() {
    let (registry, _) = registry(&["a"]);
    assert!(registry.sessions.row(STORE, &row("ses_1", 20), 1));
    assert!(!registry.sessions.row(STORE, &row("ses_1", 10), 2));
    let known = &registry.sessions.describe(&id("ses_1"), &registry.servers.now())[0];
    assert_eq!(&*known.row.title, "as of 20");
    assert!(registry.sessions.missing_since(STORE, 2).is_empty());
    assert_eq!(registry.sessions.missing_since(STORE, 3), [id("ses_1")]);
}

#[test]
fn a_row_is_still_listed_only_if_all_of_it_is_known_and_told() {
    let (registry, _) = registry(&["a"]);
    let sessions = &registry.sessions;
    let known = row("ses_1", 5);
    sessions.row(STORE, &known, 1);
    assert!(!sessions.still_listed(STORE, &known, 2), "nobody was told of it");
    sessions.announce(STORE, &known.id);
    assert_eq!(sessions.missing_since(STORE, 2), std::slice::from_ref(&known.id));
    let news = [
        row("ses_1", 6),
        row("ses_1", 4),
        SessionRow { directory: "/elsewhere".into(), ..known.clone() },
        SessionRow { project: "other".into(), ..known.clone() },
        SessionRow { title: "another".into(), ..known.clone() },
        SessionRow { parent: Some(id("ses_0")), ..known.clone() },
        row("ses_2", 5),
    ];
    for row in news {
        assert!(!sessions.still_listed(STORE, &row, 2), "{row:?}");
    }
    assert!(!sessions.still_listed(StoreKey(8), &known, 2), "another store's");
    assert_eq!(sessions.missing_since(STORE, 2), std::slice::from_ref(&known.id), "nothing was noted");
    assert!(sessions.still_listed(STORE, &known, 2));
    assert_eq!(sessions.missing_since(STORE, 2), []);
}

#[test]
fn a_store_stands_as_it_did_while_its_list_shows_what_is_known() {
    let (registry, servers) = registry(&["a"]);
    let sessions = &registry.sessions;
    sessions.row(STORE, &row("ses_1", 5), 1);
    sessions.announce(STORE, &id("ses_1"));
    let before = sessions.standing(STORE);
    assert_eq!(before.listed(), 1);
    assert!(sessions.still_listed(STORE, &row("ses_1", 5), 2));
    registry.claim(&servers[0], &id("ses_1"), Evidence::Emitted);
    sessions.row(StoreKey(8), &row("ses_1", 6), 1);
    assert_eq!(sessions.standing(STORE), before);
    sessions.row(STORE, &row("ses_2", 5), 0);
    assert_ne!(sessions.standing(STORE), before);
}

#[test]
fn one_id_in_two_stores_is_two_sessions() {
    let (registry, servers) = registry(&["a"]);
    let other = registry.arrive(|key| server(key, "other", 5000, StoreKey(8))).unwrap();
    registry.claim(&servers[0], &id("ses_1"), Evidence::Emitted);
    registry.claim(&other, &id("ses_1"), Evidence::Emitted);
    assert_eq!(registry.find(&id("ses_1")), Found::InSeveral(vec![STORE, StoreKey(8)]));
    registry.delete(STORE, &id("ses_1"));
    assert_eq!(owner(&registry, "ses_1"), Some((other.key, Evidence::Emitted)));
}

#[test]
fn a_server_that_has_gone_owns_nothing_and_claims_nothing() {
    let (registry, servers) = registry(&["a", "b"]);
    registry.claim(&servers[0], &id("ses_1"), Evidence::Routed);
    registry.claim(&servers[1], &id("ses_1"), Evidence::Emitted);
    let (_, news) = registry.depart(servers[1].key).unwrap();
    assert_eq!(news.moves.len(), 1);
    assert_eq!(owner(&registry, "ses_1"), Some((servers[0].key, Evidence::Routed)));
    // What its stream still carried arrives late.
    registry.claim(&servers[1], &id("ses_2"), Evidence::Busy);
    assert_eq!(registry.find(&id("ses_2")), Found::Unknown);
}

#[test]
fn an_idle_from_elsewhere_is_foreign_while_a_server_is_busy_and_only_then() {
    let (registry, servers) = registry(&["a", "b"]);
    registry.claim(&servers[0], &id("ses_1"), Evidence::Busy);
    assert!(registry.idle(&servers[1], &id("ses_1")).is_none());
    assert_eq!(owner(&registry, "ses_1"), Some((servers[0].key, Evidence::Busy)));
    assert!(registry.idle(&servers[0], &id("ses_1")).is_some());
    assert!(registry.idle(&servers[1], &id("ses_1")).is_some());
}

#[test]
fn a_turn_that_wrote_nothing_still_tells_where_the_session_was_run_last() {
    let (registry, servers) = registry(&["a", "b"]);
    registry.claim_at(&servers[0], &id("ses_1"), Evidence::Emitted, 1);
    registry.clock.not_before(registry.clock.now_ms() + 1000);
    registry.claim(&servers[1], &id("ses_1"), Evidence::Busy);
    registry.idle(&servers[1], &id("ses_1"));
    assert_eq!(owner(&registry, "ses_1"), Some((servers[1].key, Evidence::Emitted)));
}

#[test]
fn output_that_arrives_late_does_not_look_newer_than_it_is() {
    let (registry, servers) = registry(&["a", "b"]);
    let now_ms = registry.clock.now_ms();
    registry.claim_at(&servers[1], &id("ses_1"), Evidence::Emitted, now_ms);
    registry.claim_at(&servers[0], &id("ses_1"), Evidence::Emitted, now_ms - 500);
    assert_eq!(owner(&registry, "ses_1"), Some((servers[1].key, Evidence::Emitted)));
    // A clock that is an hour behind, or ahead, cannot be believed: arrival counts.
    for unbelievable in [now_ms - 3_600_000, now_ms + 3_600_000] {
        let later = registry.clock.not_before(registry.clock.now_ms() + 10);
        registry.claim_at(&servers[0], &id("ses_2"), Evidence::Emitted, later);
        registry.clock.not_before(later + 10);
        registry.claim_at(&servers[1], &id("ses_2"), Evidence::Emitted, unbelievable);
        assert_eq!(owner(&registry, "ses_2"), Some((servers[1].key, Evidence::Emitted)));
    }
}

#[test]
fn the_heir_of_the_last_owner_has_the_session_whichever_heir_came_first() {
    for last_first in [true, false] {
        let (registry, servers) = registry(&["a", "b"]);
        let now_ms = registry.clock.now_ms();
        registry.claim_at(&servers[0], &id("ses_1"), Evidence::Emitted, now_ms - 20);
        registry.claim_at(&servers[1], &id("ses_1"), Evidence::Emitted, now_ms - 10);
        let mut places = [("heir of a", 0), ("heir of b", 1)];
        if last_first {
            places.reverse();
        }
        let mut heirs = Vec::new();
        for (name, place) in places {
            registry.depart(servers[place].key);
            let port = servers[place].address.port;
            heirs.push(registry.arrive(|key| server(key, name, port, STORE)).unwrap());
        }
        let heir = heirs.iter().find(|heir| &*heir.id.0 == "heir of b").unwrap();
        assert_eq!(owner(&registry, "ses_1"), Some((heir.key, Evidence::Succeeded)));
    }
}

#[test]
fn a_sub_agents_session_follows_its_parent_through_generations_but_not_for_ever() {
    let (registry, servers) = registry(&["a"]);
    let child = |number: usize| SessionRow {
        parent: (number > 0).then(|| id(&format!("ses_{}", number - 1))),
        ..row(&format!("ses_{number}"), 1)
    };
    for number in 0..=GENERATIONS + 1 {
        registry.sessions.row(STORE, &child(number), 0);
    }
    registry.claim(&servers[0], &id("ses_0"), Evidence::Busy);
    let inherited = Some((servers[0].key, Evidence::Inherited));
    assert_eq!(owner(&registry, "ses_1"), inherited);
    assert_eq!(owner(&registry, &format!("ses_{GENERATIONS}")), inherited);
    assert_eq!(owner(&registry, &format!("ses_{}", GENERATIONS + 1)), None);
    // A list may lie: a session that is its own parent has no owner, and ends.
    registry.sessions.row(STORE, &SessionRow { parent: Some(id("ses_x")), ..row("ses_x", 1) }, 0);
    assert_eq!(owner(&registry, "ses_x"), None);
}

#[test]
fn what_was_known_under_a_provisional_store_moves_along_and_merges() {
    let (registry, servers) = registry(&["a"]);
    let provisional = StoreKey(99);
    let late = registry.arrive(|key| server(key, "late", 5000, provisional)).unwrap();
    registry.claim(&servers[0], &id("ses_1"), Evidence::Routed);
    registry.claim(&late, &id("ses_1"), Evidence::Emitted);
    registry.sessions.row(provisional, &row("ses_1", 5), 0);
    registry.claim(&late, &id("ses_2"), Evidence::Emitted);
    registry.place(late.key, STORE);
    for session in ["ses_1", "ses_2"] {
        assert_eq!(registry.find(&id(session)), Found::In(STORE, owner_by(late.key, Evidence::Emitted)));
    }
    let known = &registry.sessions.describe(&id("ses_1"), &registry.servers.now())[0];
    assert_eq!(&*known.row.title, "as of 5");
    // Who still holds the server as it was claims in the right store all the same.
    registry.claim(&late, &id("ses_3"), Evidence::Emitted);
    assert_eq!(registry.find(&id("ses_3")), Found::In(STORE, owner_by(late.key, Evidence::Emitted)));
    // And a list that was on its way fills the right one.
    registry.sessions.row(provisional, &row("ses_3", 6), 0);
    registry.sessions.row(provisional, &row("ses_4", 6), 0);
    assert_eq!(registry.find(&id("ses_3")), Found::In(STORE, owner_by(late.key, Evidence::Emitted)));
    assert_eq!(registry.find(&id("ses_4")), Found::In(STORE, None));
    assert!(registry.sessions.forget(provisional, &id("ses_4")));
}

#[test]
fn the_next_server_at_an_address_whose_store_became_known_has_a_store_of_its_own() {
    let registry = Registry::new(None);
    let own = || registry.stores.key(StoreIdentity::Own { authority: "127.0.0.1:4096".into() });
    let told = StoreIdentity::Told { host: "localhost".into(), home: "/home".into(), state: "/state".into() };
    let (first, real) = (own(), registry.stores.key(told));
    let a = registry.arrive(|key| server(key, "a", 4096, first)).unwrap();
    registry.place(a.key, real);
    let next = own();
    assert!(next != first && next != real);
    registry.sessions.row(next, &row("ses_1", 1), 0);
    assert_eq!(registry.find(&id("ses_1")), Found::In(next, None));
}

#[test]
fn a_second_busy_server_is_told_once() {
    let (registry, servers) = registry(&["a", "b"]);
    assert!(registry.claim(&servers[0], &id("ses_1"), Evidence::Busy).conflicts.is_empty());
    assert_eq!(registry.claim(&servers[1], &id("ses_1"), Evidence::Busy).conflicts.len(), 1);
    assert!(registry.claim(&servers[1], &id("ses_1"), Evidence::Emitted).conflicts.is_empty());
}

#[expect(clippy::unnecessary_wraps, reason = "what owners are compared with")]
fn owner_by(server: ServerKey, evidence: Evidence) -> Option<Owner> {
    Some(Owner { server, evidence })
}

proptest! {
    /// The owner kept in a record is the one that its claims give, whatever happened in whatever order.
    #[test]
    fn what_is_read_is_what_the_claims_give(
        steps in prop::collection::vec((0usize..4, 0usize..4, prop::sample::select(Evidence::ALL.to_vec()), 0u8..5), 0..40),
    ) {
        let (registry, servers) = registry(&["a", "b", "c", "d"]);
        let now_ms = registry.clock.now_ms();
        for (at_ms, (session, server, evidence, what)) in (now_ms - 1000..).zip(steps) {
            let (session, server) = (id(&format!("ses_{session}")), &servers[server]);
            match what {
                0 => drop(registry.retract(server, &session, evidence)),
                1 if registry.servers.now().len() > 2 => drop(registry.depart(server.key)),
                2 => drop(registry.idle(server, &session)),
                _ => drop(registry.claim_at(server, &session, evidence, at_ms)),
            }
        }
        let snapshot = registry.servers.now();
        for session in (0..4).map(|number| id(&format!("ses_{number}"))) {
            for known in registry.sessions.describe(&session, &snapshot) {
                let expected = resolve(&known.claims, None, &**snapshot);
                prop_assert_eq!(registry.find(&session), Found::In(STORE, expected));
            }
        }
    }
}

#[test]
fn the_titles_of_those_that_changed_last_are_kept_and_all_are_routed() {
    let registry = Registry::new(None).keeping_titles(8);
    for number in 0..16 {
        registry.sessions.row(STORE, &row(&format!("ses_{number}"), number), 1);
    }
    registry.sessions.drop_old_titles();
    assert_eq!(registry.sessions.titles(), (8, 8));
    // The next round of the list shows the old ones again.
    for number in 0..16 {
        registry.sessions.row(STORE, &row(&format!("ses_{number}"), number), 2);
    }
    assert_eq!(registry.sessions.titles(), (8, 8));
    let title = |session: &str| {
        registry.sessions.describe(&id(session), &registry.servers.now())[0].row.title.to_string()
    };
    assert_eq!((title("ses_7"), title("ses_8")), (String::new(), "as of 8".to_owned()));
    registry.sessions.row(STORE, &row("ses_7", 99), 2);
    assert_eq!(title("ses_7"), "as of 99");
    for number in 0..16 {
        assert_eq!(registry.find(&id(&format!("ses_{number}"))), Found::In(STORE, None));
        assert!(registry.sessions.forget(STORE, &id(&format!("ses_{number}"))));
    }
    assert_eq!(registry.sessions.titles(), (0, 8));
}
