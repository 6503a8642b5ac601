//! Several sorted lists as one, each row once.

use std::{cmp::Ordering, collections::BinaryHeap, collections::HashMap, ops::Range};

use foldhash::fast::RandomState;
use smallvec::SmallVec;

/// A row's id. The agent's have 30 bytes and are kept in place.
pub(super) type RowId = SmallVec<[u8; 32]>;

/// One element of a server's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Its id.
    pub(super) id: RowId,
    /// What the list is sorted by.
    pub(super) time: i64,
    /// When it last changed: among rows with the same id the newest counts.
    pub(super) updated: i64,
    /// Which answer it came in.
    pub(super) source: usize,
    /// Where it stands in that answer's body.
    pub(super) span: Range<usize>,
}

/// How a list is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Greater times first, then greater ids.
    Descending,
    /// Lesser times first, then lesser ids.
    Ascending,
    /// By id alone, lesser first. Ids of requests and terminals grow with time.
    Ids,
}

impl Order {
    fn compare(self, a: &Row, b: &Row) -> Ordering {
        match self {
            Self::Descending => (b.time, &b.id).cmp(&(a.time, &a.id)),
            Self::Ascending => (a.time, &a.id).cmp(&(b.time, &b.id)),
            Self::Ids => a.id.cmp(&b.id),
        }
    }

    /// Whether `a` may stand before `b`. Within one time servers keep an order of their own.
    fn allows(self, a: &Row, b: &Row) -> bool {
        match self {
            Self::Descending => a.time >= b.time,
            Self::Ascending => a.time <= b.time,
            Self::Ids => true,
        }
    }

    fn reversed(self) -> Self {
        match self {
            Self::Descending => Self::Ascending,
            Self::Ascending => Self::Descending,
            Self::Ids => Self::Ids,
        }
    }
}

/// The first `most` rows of all `lists` together, and whether any is left over.
///
/// A list that is in order is taken in its own order, so that one list alone comes out as it went in. Of rows with one
/// id the newest stays, at the place of the first.
pub(super) fn weave(lists: Vec<Vec<Row>>, order: Order, most: usize) -> (Vec<Row>, bool) {
    let mut heads = BinaryHeap::with_capacity(lists.len());
    for mut list in lists {
        if !list.is_sorted_by(|a, b| order.allows(a, b)) {
            list.sort_by(|a, b| order.compare(a, b));
        }
        let mut rest = list.into_iter();
        if let Some(row) = rest.next() {
            heads.push(Head { row, rest, order });
        }
    }
    let mut woven: Vec<Row> = Vec::new();
    let mut places: HashMap<RowId, usize, RandomState> = HashMap::default();
    while let Some(Head { row, mut rest, .. }) = heads.pop() {
        if let Some(row) = rest.next() {
            heads.push(Head { row, rest, order });
        }
        match places.get(&row.id) {
            Some(&place) => {
                if row.updated > woven[place].updated {
                    woven[place] = row;
                }
            }
            None if woven.len() == most => return (woven, true),
            None => {
                places.insert(row.id.clone(), woven.len());
                woven.push(row);
            }
        }
    }
    (woven, false)
}

/// Like [`weave`], for the last `most` rows.
pub(super) fn weave_back(mut lists: Vec<Vec<Row>>, order: Order, most: usize) -> (Vec<Row>, bool) {
    for list in &mut lists {
        list.reverse();
    }
    let (mut woven, left) = weave(lists, order.reversed(), most);
    woven.reverse();
    (woven, left)
}

struct Head {
    row: Row,
    rest: std::vec::IntoIter<Row>,
    order: Order,
}

impl Ord for Head {
    // The heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        self.order.compare(&other.row, &self.row).then_with(|| other.row.source.cmp(&self.row.source))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(id: u8, time: i64, source: usize) -> Row {
        Row { id: RowId::from_slice(&[id]), time, updated: time, source, span: 0..0 }
    }

    fn sorted(mut rows: Vec<Row>, order: Order) -> Vec<Row> {
        rows.sort_by(|a, b| order.compare(a, b));
        rows
    }

    fn any_order() -> impl Strategy<Value = Order> {
        prop::sample::select(vec![Order::Descending, Order::Ascending, Order::Ids])
    }

    #[test]
    fn of_two_rows_with_one_id_the_newer_stays() {
        let mut newer = row(1, 5, 1);
        newer.updated = 9;
        let (woven, _) = weave(vec![vec![row(1, 5, 0)], vec![newer.clone()]], Order::Descending, 1);
        assert_eq!(woven, [newer]);
    }

    #[test]
    fn a_list_alone_keeps_its_own_order_within_one_time() {
        let rows = vec![row(2, 5, 0), row(3, 5, 0), row(1, 5, 0), row(9, 4, 0)];
        assert_eq!(weave(vec![rows.clone()], Order::Descending, 9).0, rows);
    }

    proptest! {
        #[test]
        fn however_rows_are_spread_and_shared_they_come_out_once_and_in_order(
            rows in prop::collection::btree_map(any::<u8>(), (0i64..6, prop::collection::vec(0usize..4, 1..4)), 0..40),
            most in 0usize..50,
            order in any_order(),
            back in any::<bool>(),
        ) {
            let mut lists = vec![Vec::new(); 4];
            let mut all = Vec::new();
            for (id, (time, holders)) in rows {
                all.push(row(id, time, 0));
                for holder in holders {
                    if lists[holder].last().is_none_or(|last: &Row| last.id[0] != id) {
                        lists[holder].push(row(id, time, holder));
                    }
                }
            }
            let lists = lists.into_iter().map(|list| sorted(list, order)).collect();
            let all = sorted(all, order);
            let keys = |rows: &[Row]| rows.iter().map(|row| (row.id.clone(), row.time)).collect::<Vec<_>>();
            let (woven, left) = if back { weave_back(lists, order, most) } else { weave(lists, order, most) };
            let expected = if back { &all[all.len().saturating_sub(most)..] } else { &all[..most.min(all.len())] };
            if !(back && order == Order::Ids) {
                prop_assert_eq!(keys(&woven), keys(expected));
            }
            prop_assert_eq!(left, all.len() > most);
        }
    }
}
