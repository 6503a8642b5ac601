//! The merged list, written.

use std::{ops::Range, str, sync::Arc};

use serde::Serialize;

use super::{
    super::annotate::put_with_owner_port,
    cursor::{Anchored, Direction},
    gather::Heard,
    page::Page,
    plan::Question,
    read::{Content, PageCursors, SessionDetails, Status, raised_for},
    weave::{Order, Row, weave},
};
use crate::{
    domain::{
        ask::{Ask, Interface},
        ids::{SessionId, StoreKey},
        ownership::Witness,
        session::SessionRow,
    },
    opencode::lists,
    registry::{Registry, asked::Origin, servers::Snapshot, sessions::Found},
};

/// The parts of a list, ready to become one.
pub(super) struct List<'a> {
    pub(super) registry: &'a Registry,
    pub(super) servers: &'a Snapshot,
    pub(super) questions: &'a [Question],
    pub(super) heard: &'a [Heard],
}

/// Takes the rows out of all parts and tells each which it came from.
pub(super) fn take_rows(heard: &mut [Heard]) -> Vec<Vec<Row>> {
    let taken = heard.iter_mut().enumerate().map(|(source, heard)| match &mut heard.part.content {
        Content::Rows { rows, .. } => {
            for row in rows.iter_mut() {
                row.source = source;
            }
            std::mem::take(rows)
        }
        Content::Statuses(_) => Vec::new(),
    });
    taken.collect()
}

impl List<'_> {
    /// A page of sessions, and the header for the next.
    pub(super) fn sessions(
        &self,
        list: lists::List,
        rows: Vec<Vec<Row>>,
        page: &Page,
        owner_port: bool,
    ) -> (Vec<u8>, Option<String>) {
        let cut = page.cut(rows);
        let mut body = Vec::with_capacity(64 + cut.rows.iter().map(|row| row.span.len() + 32).sum::<usize>());
        if list == lists::List::ApiSessions {
            body.extend_from_slice(b"{\"data\":");
        }
        put_array(&mut body, &cut.rows, |body, row| {
            let element = self.bytes(row.source, &row.span);
            match self.learn(row).filter(|_| owner_port) {
                Some(port) => put_with_owner_port(body, element, port),
                None => body.extend_from_slice(element),
            }
        });
        if list == lists::List::ApiSessions {
            body.extend_from_slice(b",\"cursor\":");
            put_json(&mut body, &self.cursors(&cut.rows));
            body.push(b'}');
        }
        (body, cut.next)
    }

    /// All projects, in the order in which they were made.
    pub(super) fn projects(&self, rows: Vec<Vec<Row>>) -> Vec<u8> {
        let (rows, _) = weave(rows, Order::Ascending, usize::MAX);
        let mut body = Vec::new();
        put_array(&mut body, &rows, |body, row| body.extend_from_slice(self.bytes(row.source, &row.span)));
        body
    }

    /// All permissions, questions or terminals, with the first part's location around them where there is one.
    pub(super) fn raised(&self, rows: Vec<Vec<Row>>, interface: Interface) -> Vec<u8> {
        let located = interface == Interface::Second;
        let (rows, _) = weave(rows, Order::Ids, usize::MAX);
        let mut body = Vec::new();
        if located {
            body.push(b'{');
            if let Some(location) = self.location() {
                body.extend_from_slice(b"\"location\":");
                body.extend_from_slice(location);
                body.push(b',');
            }
            body.extend_from_slice(b"\"data\":");
        }
        put_array(&mut body, &rows, |body, row| {
            let element = self.bytes(row.source, &row.span);
            let heard = &self.heard[row.source];
            if let (Ok(id), Ok(element)) = (str::from_utf8(&row.id), str::from_utf8(element)) {
                let named = self.questions[heard.question].directory.clone();
                self.registry.asked.raised(
                    id,
                    Origin {
                        server: heard.server.key,
                        session: raised_for(element),
                        directory: named.or_else(|| heard.server.directory.clone()),
                        ask: Ask::of(id, interface),
                    },
                );
            }
            body.extend_from_slice(element);
        });
        if located {
            body.push(b'}');
        }
        body
    }

    /// What every session is doing.
    pub(super) fn statuses(&self) -> Vec<u8> {
        let mut statuses: Vec<(usize, &Status)> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for (source, heard) in self.heard.iter().enumerate() {
            let Content::Statuses(part) = &heard.part.content else { continue };
            for status in part {
                let place = *places.entry(&status.session).or_insert(statuses.len());
                match statuses.get_mut(place) {
                    None => statuses.push((source, status)),
                    Some(known) => {
                        if self.says_more(source, status, known) {
                            *known = (source, status);
                        }
                    }
                }
            }
        }
        let mut body = vec![b'{'];
        for (at, (source, status)) in statuses.iter().enumerate() {
            if at > 0 {
                body.push(b',');
            }
            put_json(&mut body, &status.session);
            body.push(b':');
            body.extend_from_slice(self.bytes(*source, &status.span));
        }
        body.push(b'}');
        body
    }

    /// What every active session is doing, as the second interface says it.
    pub(super) fn active(&self) -> Vec<u8> {
        let mut body = b"{\"data\":".to_vec();
        body.append(&mut self.statuses());
        body.push(b'}');
        body
    }

    /// Of two servers that speak of one session the busier is right: a turn runs in one process and the other knows
    /// nothing of it. When both are as busy, the owner is.
    fn says_more(&self, source: usize, status: &Status, known: &(usize, &Status)) -> bool {
        if status.busy != known.1.busy {
            return status.busy > known.1.busy;
        }
        let server = &self.heard[source].server;
        let owner = self.registry.sessions.owner_in(&status.session, server.store, self.servers);
        owner.is_some_and(|owner| owner.server == server.key)
    }

    fn bytes(&self, source: usize, span: &Range<usize>) -> &[u8] {
        &self.heard[source].part.body[span.clone()]
    }

    fn location(&self) -> Option<&[u8]> {
        self.heard.iter().enumerate().find_map(|(source, heard)| match &heard.part.content {
            Content::Rows { location: Some(location), .. } => Some(self.bytes(source, location)),
            _ => None,
        })
    }

    /// The cursors of a page that holds `rows`: those of the only part, else for the same filter around these rows.
    fn cursors(&self, rows: &[Row]) -> PageCursors {
        let mut parts = self.heard.iter().filter_map(|heard| match &heard.part.content {
            Content::Rows { cursor, .. } => cursor.as_ref(),
            Content::Statuses(_) => None,
        });
        if let [_] = self.heard {
            return parts.next().cloned().unwrap_or_default();
        }
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return PageCursors::default() };
        let Some(like) = parts.find_map(|part| Anchored::read(part.next.as_deref()?)) else {
            return PageCursors::default();
        };
        let around = |row: &Row, direction| {
            let id = str::from_utf8(&row.id).unwrap_or_default();
            Some(like.at(id, row.time, direction))
        };
        PageCursors { previous: around(first, Direction::Previous), next: around(last, Direction::Next) }
    }

    /// Makes a session known that the registry has never seen, and tells the port of the server that it belongs to:
    /// its owner by any evidence, or the only server there is for its store.
    fn learn(&self, row: &Row) -> Option<u16> {
        let session = SessionId::try_new(str::from_utf8(&row.id).ok()?).ok()?;
        let store = self.heard[row.source].server.store;
        let owner = match self.registry.sessions.find(&session, self.servers) {
            Found::Unknown => {
                self.make_known(&session, store, row);
                None
            }
            Found::In(known, owner) if known == store => owner,
            Found::In(..) | Found::InSeveral(_) => {
                self.registry.sessions.owner_in(&session, store, self.servers)
            }
        };
        let only = || {
            let mut sharing = self.servers.of_store(store);
            sharing.next().filter(|_| sharing.next().is_none()).map(|server| server.key)
        };
        let key = owner.map(|owner| owner.server).filter(|key| self.servers.lives(*key)).or_else(only)?;
        self.servers.get(key).map(|server| server.address.port)
    }

    fn make_known(&self, session: &SessionId, store: StoreKey, row: &Row) {
        let element = str::from_utf8(self.bytes(row.source, &row.span)).ok();
        let Some(details) = element.and_then(SessionDetails::read) else { return };
        let (created_ms, updated_ms) = details.times();
        let row = SessionRow {
            id: session.clone(),
            directory: details.directory().into(),
            title: Arc::from(&*details.title),
            project: Arc::from(&*details.project),
            parent: details.parent.clone(),
            created_ms,
            updated_ms,
        };
        // Round 0: what a client happened to list proves nothing about what is missing.
        self.registry.sessions.row(store, &row, 0);
    }
}

fn put_array(body: &mut Vec<u8>, rows: &[Row], mut put: impl FnMut(&mut Vec<u8>, &Row)) {
    body.push(b'[');
    for (at, row) in rows.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        put(body, row);
    }
    body.push(b']');
}

/// Writing strings into memory cannot fail.
fn put_json(body: &mut Vec<u8>, value: &impl Serialize) {
    let _ = serde_json::to_writer(body, value);
}
