//! Whoever trusts a standing misses nothing.

use super::*;

const PROVISIONAL: StoreKey = StoreKey(8);

fn titled((session, updated_ms, title): (u8, u64, u8)) -> SessionRow {
    SessionRow {
        id: SessionId::try_new(&format!("ses_{session}")).unwrap(),
        directory: "/work".into(),
        title: format!("title {title}").into(),
        project: "global".into(),
        parent: None,
        created_ms: 0,
        updated_ms,
    }
}

fn rows() -> impl Strategy<Value = (u8, u64, u8)> {
    (0_u8..4, 1_u64..3, 0_u8..2)
}

fn all_rows() -> impl Iterator<Item = SessionRow> {
    (0..4)
        .flat_map(|session| (1..3).flat_map(move |ms| (0..2).map(move |title| titled((session, ms, title)))))
}

#[derive(Clone, Debug)]
enum Step {
    Row { row: (u8, u64, u8), provisional: bool, round: u32 },
    Announce(u8),
    Listed { row: (u8, u64, u8), round: u32 },
    Forget(u8),
    Delete(u8),
    Claim(u8),
    Choose(u8),
    DropTitles,
    ServerGone,
    Rehome,
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (rows(), any::<bool>(), 0_u32..4)
            .prop_map(|(row, provisional, round)| Step::Row { row, provisional, round }),
        4 => (0_u8..4).prop_map(Step::Announce),
        2 => (rows(), 1_u32..4).prop_map(|(row, round)| Step::Listed { row, round }),
        1 => (0_u8..4).prop_map(Step::Forget),
        1 => (0_u8..4).prop_map(Step::Delete),
        1 => (0_u8..4).prop_map(Step::Claim),
        1 => (0_u8..4).prop_map(Step::Choose),
        1 => Just(Step::DropTitles),
        1 => Just(Step::ServerGone),
        1 => Just(Step::Rehome),
    ];
    prop::collection::vec(step, 0..most)
}

fn take(registry: &Registry, step: &Step) {
    let sessions = &registry.sessions;
    let id = |session| titled((session, 1, 0)).id;
    match *step {
        Step::Row { row: told, provisional, round } => {
            sessions.row(if provisional { PROVISIONAL } else { STORE }, &titled(told), round);
        }
        Step::Announce(session) => sessions.announce(STORE, &id(session)),
        Step::Listed { row: told, round } => drop(sessions.still_listed(STORE, &titled(told), round)),
        Step::Forget(session) => drop(sessions.forget(STORE, &id(session))),
        Step::Delete(session) => registry.delete(STORE, &id(session)),
        Step::Claim(session) => {
            if let Some(server) = registry.servers.now().iter().next() {
                registry.claim(server, &id(session), Evidence::Emitted);
            }
        }
        Step::Choose(session) => drop(registry.choose(STORE, &id(session))),
        Step::DropTitles => sessions.drop_old_titles(),
        Step::ServerGone => {
            let server = registry.servers.now().iter().next().map(|server| server.key);
            drop(server.and_then(|server| registry.depart(server)));
        }
        Step::Rehome => drop(sessions.rehome(PROVISIONAL, STORE, &registry.servers.now())),
    }
}

proptest! {
    #[test]
    fn while_a_store_stands_as_it_did_the_rows_that_were_known_are_known(
        before in steps(40),
        after in steps(4),
    ) {
        let registry = Registry::new(None).keeping_titles(2);
        registry.arrive(|key| server(key, "a", 4096, STORE)).unwrap();
        for step in before {
            take(&registry, &step);
        }
        let standing = registry.sessions.standing(STORE);
        let is_known = |row: &SessionRow| registry.sessions.still_listed(STORE, row, 0);
        let known: Vec<_> = all_rows().filter(is_known).collect();
        for step in after {
            take(&registry, &step);
            if registry.sessions.standing(STORE) == standing {
                prop_assert!(known.iter().all(is_known));
            }
        }
    }
}
