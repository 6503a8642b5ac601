//! Walking pages: each row once, in order, however the rows are spread.

use proptest::prelude::*;
use serde_json::Value;

use super::town::{Session, Town, session};
use crate::{domain::ids::StoreKey, opencode::lists::List, proxy::merge::Merged};

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(future)
}

fn ids(merged: &Merged) -> Vec<String> {
    let body: Value = serde_json::from_slice(&merged.body).unwrap();
    let rows = if body.is_array() { &body } else { &body["data"] };
    rows.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

fn cursor(merged: &Merged, direction: &str) -> Option<String> {
    let body: Value = serde_json::from_slice(&merged.body).unwrap();
    body["cursor"][direction].as_str().map(str::to_owned)
}

/// Several stores, two servers on each.
fn town(stores: &[Vec<Session>]) -> Town {
    let town = Town::new();
    for (number, sessions) in stores.iter().enumerate() {
        let number = u16::try_from(number).unwrap();
        town.server(4000 + 2 * number, number.into(), "/a");
        town.server(4001 + 2 * number, number.into(), "/b");
        town.put(number.into(), sessions.clone());
    }
    town
}

/// Every page of `/experimental/session`, with something happening after each.
async fn walk(town: &Town, limit: usize, mut between: impl FnMut(usize)) -> Vec<String> {
    let mut seen = Vec::new();
    let mut query = format!("limit={limit}");
    for page in 0..500 {
        let merged = town.get(List::ExperimentalSessions, &query).await.unwrap();
        let rows = ids(&merged);
        assert!(rows.len() <= limit);
        seen.extend(rows);
        let Some(next) = merged.headers.get("x-next-cursor") else { return seen };
        query = format!("limit={limit}&cursor={}", next.to_str().unwrap());
        between(page);
    }
    panic!("the walk does not end");
}

/// Every page of `/api/session` from `query` on in one direction.
async fn walk_api(
    town: &Town,
    limit: usize,
    mut query: String,
    direction: &str,
    mut between: impl FnMut(usize),
) -> (Vec<Vec<String>>, Option<String>) {
    let (mut pages, mut last) = (Vec::new(), None);
    for page in 0..500 {
        let merged = town.get(List::ApiSessions, &format!("limit={limit}&{query}")).await.unwrap();
        let rows = ids(&merged);
        assert!(rows.len() <= limit);
        let Some(next) = cursor(&merged, direction) else { return (pages, last) };
        pages.push(rows);
        last = cursor(&merged, if direction == "next" { "previous" } else { "next" });
        query = format!("cursor={next}");
        between(page);
    }
    panic!("the walk does not end");
}

fn stores() -> impl Strategy<Value = Vec<Vec<Session>>> {
    prop::collection::vec((0u32..3, 0i64..8, 0i64..8), 0..40).prop_map(|rows| {
        let mut stores = vec![Vec::new(); 3];
        for (number, (store, created, updated)) in (0..).zip(rows) {
            stores[store as usize].push(session(number, "/a", 100 + created, 200 + updated));
        }
        stores
    })
}

fn sorted(stores: &[Vec<Session>], key: impl Fn(&Session) -> i64) -> Vec<String> {
    let mut all: Vec<&Session> = stores.iter().flatten().collect();
    all.sort_by(|a, b| (key(b), &b.id).cmp(&(key(a), &a.id)));
    all.into_iter().map(|session| session.id.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn pages_by_change_hold_every_row_once_even_where_many_share_a_millisecond(
        stores in stores(), limit in 1usize..12,
    ) {
        let town = town(&stores);
        let seen = run(walk(&town, limit, |_| {}));
        prop_assert_eq!(seen, sorted(&stores, |session| session.updated));
    }

    #[test]
    fn pages_by_change_miss_no_row_that_stayed_as_it_was(stores in stores(), limit in 1usize..12) {
        let town = town(&stores);
        let seen = run(walk(&town, limit, |page| {
            let number = 1000 + u32::try_from(page).unwrap();
            town.put(1, [session(number, "/a", 900, 900 + i64::from(number))]);
        }));
        prop_assert_eq!(seen, sorted(&stores, |session| session.updated));
    }

    #[test]
    fn pages_by_creation_hold_every_row_once_forward_and_back(
        stores in stores(), limit in 1usize..12, ascending in any::<bool>(),
    ) {
        let town = town(&stores);
        let mut all = sorted(&stores, |session| session.created);
        if ascending {
            all.reverse();
        }
        let order = if ascending { "order=asc" } else { "order=desc" };
        let (pages, back) = run(walk_api(&town, limit, order.into(), "next", |_| {}));
        prop_assert_eq!(pages.concat(), all.clone());
        if let Some(back) = back {
            let last = pages.last().map_or(0, Vec::len);
            let (mut pages, _) = run(walk_api(&town, limit, format!("cursor={back}"), "previous", |_| {}));
            pages.reverse();
            prop_assert_eq!(pages.concat(), all[..all.len() - last].to_vec());
        }
    }

    #[test]
    fn pages_by_creation_stay_stable_while_sessions_come_change_and_go(
        stores in stores(), limit in 1usize..6, going in any::<prop::sample::Index>(),
    ) {
        let town = town(&stores);
        let mut all = sorted(&stores, |session| session.created);
        let gone = (!all.is_empty()).then(|| going.get(&all).clone());
        let (pages, _) = run(walk_api(&town, limit, "order=desc".into(), "next", |page| {
            let number = 1000 + u32::try_from(page).unwrap();
            town.put(2, [session(number, "/a", 900, 900)]);
            let mut stores = town.stores.lock();
            for sessions in stores.values_mut() {
                sessions.retain(|session| Some(&session.id) != gone.as_ref());
                for session in sessions.iter_mut() {
                    session.updated += 1000;
                }
            }
        }));
        let mut seen = pages.concat();
        seen.retain(|id| Some(id) != gone.as_ref());
        all.retain(|id| Some(id) != gone.as_ref());
        prop_assert_eq!(seen, all);
    }
}

#[tokio::test]
async fn a_page_over_one_store_is_what_one_of_its_servers_says() {
    let sessions: Vec<_> = (0..7).map(|n| session(n, "/a", 100 + i64::from(n), 200 + i64::from(n))).collect();
    let merged = town(std::slice::from_ref(&sessions));
    let page = merged.get(List::ExperimentalSessions, "limit=3").await.unwrap();
    assert_eq!(page.headers["x-next-cursor"], "204");
    let page = merged.get(List::ExperimentalSessions, "limit=7").await.unwrap();
    assert!(!page.headers.contains_key("x-next-cursor"));
}

#[tokio::test]
async fn of_one_id_in_two_stores_the_row_that_changed_last_is_shown() {
    let town = town(&[vec![session(1, "/a", 5, 10)], vec![session(1, "/b", 5, 20)]]);
    for list in [List::Sessions, List::ExperimentalSessions, List::ApiSessions] {
        let merged = town.get(list, "").await.unwrap();
        assert_eq!(ids(&merged).len(), 1, "{list:?}");
        assert!(str::from_utf8(&merged.body).unwrap().contains("\"updated\":20"), "{list:?}");
    }
}

#[tokio::test]
async fn the_default_pages_are_the_servers() {
    let many = |from: u32| (from..from + 80).map(|n| session(n, "/a", n.into(), n.into())).collect();
    let town = town(&[many(0), many(100)]);
    for (list, rows) in [(List::Sessions, 100), (List::ExperimentalSessions, 100), (List::ApiSessions, 50)] {
        assert_eq!(ids(&town.get(list, "").await.unwrap()).len(), rows, "{list:?}");
        assert_eq!(ids(&town.get(list, "limit=3").await.unwrap()).len(), 3, "{list:?}");
        assert_eq!(ids(&town.get(list, "limit=999999999").await.unwrap()).len(), 160, "{list:?}");
        assert_eq!(ids(&town.get(list, "limit=1e9").await.unwrap()).len(), 160, "{list:?}");
    }
    assert_eq!(&town.get(List::Sessions, "limit=0").await.unwrap().body[..], b"[]");
    assert_eq!(ids(&town.get(List::Sessions, "limit=-1").await.unwrap()).len(), 160);
    let refused = town.get(List::Sessions, "limit=1.5").await.unwrap();
    assert_eq!((refused.status.as_u16(), &refused.body[..]), (500, &b"{\"name\":\"UnknownError\"}"[..]));
    let refused = town.get(List::ApiSessions, "limit=0").await.unwrap();
    assert_eq!(
        (refused.status.as_u16(), &refused.body[..]),
        (400, &b"{\"_tag\":\"InvalidRequestError\"}"[..])
    );
    let refused = town.get(List::ApiSessions, "cursor=1795262597827").await.unwrap();
    let invalid = br#"{"_tag":"InvalidCursorError","message":"Invalid cursor"}"#;
    assert_eq!((refused.status.as_u16(), &refused.body[..]), (400, &invalid[..]));
    assert!(!refused.headers.contains_key("x-pointsman-partial"));
}

#[tokio::test]
async fn a_cursor_of_another_list_counts_as_that_lists_servers_count_it() {
    let town = town(&[vec![session(1, "/a", 5, 10)], vec![session(2, "/b", 5, 20)]]);
    assert_eq!(town.stores.lock()[&StoreKey(0)].len(), 1);
    for cursor in ["eyJhbmNob3IiOnt9fQ", "0", "", "-0", "abc"] {
        let merged = town.get(List::ExperimentalSessions, &format!("cursor={cursor}")).await.unwrap();
        assert_eq!(ids(&merged).len(), 2, "{cursor}");
    }
    assert_eq!(ids(&town.get(List::ExperimentalSessions, "cursor=-5").await.unwrap()).len(), 0);
}
