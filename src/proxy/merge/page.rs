//! The page that a client wants, what servers must be asked for it, and what of their rows it holds.

use super::{
    cursor::{Anchored, Changed, Direction},
    query::{self, Limit},
    weave::{Order, Row, weave, weave_back},
};
use crate::opencode::lists::List;

/// See the module.
#[derive(Debug)]
pub(super) struct Page {
    list: List,
    query: String,
    /// How many rows it may have.
    most: Option<usize>,
    /// Where it begins, on `/experimental/session`.
    after: Option<Changed>,
    order: Order,
    direction: Direction,
}

/// The rows of a page.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) rows: Vec<Row>,
    /// The header for the next page, on `/experimental/session`.
    pub(super) next: Option<String>,
}

impl Page {
    /// The page that `query` asks for.
    pub(super) fn new(list: List, query: &str) -> Self {
        let most = match query::limit(query) {
            Limit::Unnamed => list.page(),
            Limit::Rows(rows) => list.page().map(|_| rows),
            Limit::Other => None,
        };
        let cursor = query::value(query, "cursor");
        let mut page = Self {
            list,
            query: query.to_owned(),
            most,
            after: None,
            order: Order::Descending,
            direction: Direction::Next,
        };
        match list {
            List::ExperimentalSessions => {
                page.after = cursor.as_deref().and_then(Changed::read);
                page.widen();
            }
            List::ApiSessions => match cursor {
                // A cursor tells order and filter, whatever else the query says. One that we cannot read the servers
                // cannot either, and their answer is what counts.
                Some(cursor) => {
                    if let Some(anchored) = Anchored::read(&cursor) {
                        page.order = if anchored.ascending() { Order::Ascending } else { Order::Descending };
                        page.direction = anchored.anchor.direction;
                    }
                }
                None if query::value(query, "order").as_deref() == Some("asc") => {
                    page.order = Order::Ascending;
                }
                None => {}
            },
            _ => {}
        }
        page
    }

    /// What servers are asked.
    pub(super) fn query(&self) -> &str {
        &self.query
    }

    /// The rows of the page among those of all servers.
    pub(super) fn cut(&self, lists: Vec<Vec<Row>>) -> Cut {
        match (self.list, self.most) {
            (List::ExperimentalSessions, Some(most)) => self.cut_changed(lists, most),
            (_, most) => {
                let weave = if self.direction == Direction::Previous { weave_back } else { weave };
                let (rows, _) = weave(lists, self.order, most.unwrap_or(usize::MAX));
                Cut { rows, next: None }
            }
        }
    }

    /// Asks for one row more than fits, to see whether the next one is of the same millisecond, and from the cursor's
    /// own millisecond on for those rows of it that earlier pages have given.
    fn widen(&mut self) {
        let Some(most) = self.most else { return };
        let mut query = query::without(&self.query, &["limit"]);
        let given = self.after.map_or(0, |after| after.given);
        if let Some(after) = self.after {
            query = query::without(&query, &["cursor"]);
            push(&mut query, "cursor", &(after.time_ms + 1).to_string());
        }
        push(&mut query, "limit", &(most + given + 1).to_string());
        // A repeated parameter is refused by every server, and must be.
        let twice = |key| query::count(&self.query, key) > 1;
        if !twice("limit") && !twice("cursor") {
            self.query = query;
        }
    }

    fn cut_changed(&self, lists: Vec<Vec<Row>>, most: usize) -> Cut {
        let given = self.after.map_or(0, |after| after.given);
        let (mut rows, _) = weave(lists, Order::Descending, most + given + 1);
        let of = |rows: &[Row], time| rows.iter().filter(|row| row.time == time).count();
        if let Some(after) = self.after {
            let known = of(&rows, after.time_ms).min(after.given);
            rows.drain(..known);
        }
        let next = (rows.len() > most).then(|| {
            let (last, following) = (rows[most - 1].time, rows[most].time);
            let before = self.after.filter(|after| after.time_ms == last).map_or(0, |after| after.given);
            let given = if following == last { before + of(&rows[..most], last) } else { 0 };
            Changed { time_ms: last, given }.text()
        });
        rows.truncate(most);
        Cut { rows, next }
    }
}

fn push(query: &mut String, key: &str, value: &str) {
    if !query.is_empty() {
        query.push('&');
    }
    query.push_str(key);
    query.push('=');
    query.push_str(value);
}
