//! `/sessions` and `/sessions/ids`: every session there is, and who owns it.
//!
//! A page is found by one walk over all sessions that keeps the best `limit` of them: nothing is sorted as a whole and
//! no index is kept up to date for the sake of a list. The cursor is the last session's place in the order, not a
//! count, so that sessions which change while somebody pages appear once or, having moved up, not again.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    convert::Infallible,
    sync::Arc,
};

use axum::{
    body::Body,
    extract::State,
    http::Uri,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, header};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::{
    Answer, Api, aside,
    error::Fault,
    heirs::{self, Place},
    json,
    query::{limit, query},
    view,
    wire::SessionPage,
};
use crate::{
    domain::{
        directory::same_directory,
        ids::{ServerKey, SessionId, StoreKey},
    },
    proxy::route::RouteError,
    registry::{Registry, servers::Snapshot, sessions::glance::Glance},
};

/// How many sessions a page has when nothing is said: a screenful of a list that scrolls.
const USUAL: usize = 100;

/// How many sessions a page has at most: some 300 KiB of JSON.
const MOST: usize = 1000;

/// How many ids are written at once: some 32 KiB.
const IDS_AT_ONCE: usize = 1000;

/// What a list of sessions may be asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// How many, 1 to 1000; 100 where nothing is said.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// The `next` of the page before.
    cursor: Option<String>,
    /// Only sessions of this directory.
    directory: Option<String>,
    /// Only sessions that this server owns or serves: its id, `host:port`, or port.
    server: Option<String>,
    /// Only sessions whose title contains this, in whatever case.
    search: Option<String>,
}

/// A session's place in the order of the list: the greater comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Rank(u64, SessionId, u32);

impl Rank {
    fn of(glance: &Glance<'_>) -> Self {
        Self(glance.updated_ms(), glance.id.clone(), glance.store().0)
    }

    fn cursor(&self) -> Result<String, Fault> {
        let text = serde_json::to_vec(self).map_err(|error| Fault::Internal { what: error.to_string() })?;
        Ok(URL_SAFE_NO_PAD.encode(text))
    }

    fn parse(cursor: &str) -> Result<Self, Fault> {
        let text = URL_SAFE_NO_PAD.decode(cursor).ok();
        text.and_then(|text| serde_json::from_slice(&text).ok()).ok_or_else(|| Fault::BadQuery {
            message: format!("cursor must be the next of an earlier page, which {cursor:?} is not"),
        })
    }
}

/// What a session must be to stand in the list.
struct Filter {
    after: Option<Rank>,
    directory: Option<String>,
    search: Option<String>,
    server: Option<(ServerKey, HashMap<Place, ServerKey>)>,
}

impl Filter {
    fn admits(&self, glance: &Glance<'_>, servers: &Snapshot) -> bool {
        self.server.as_ref().is_none_or(|(wanted, heirs)| {
            let own = heirs::own_owner(glance, servers).map(|owner| owner.server);
            let inherited = || heirs.get(&(glance.id.clone(), glance.store())).copied();
            let server = if heirs::may_inherit(glance, servers) { inherited().or(own) } else { own };
            server == Some(*wanted)
        }) && self.directory.as_ref().is_none_or(|wanted| same_directory(&glance.directory(), wanted))
            && self.search.as_ref().is_none_or(|wanted| glance.title().to_lowercase().contains(wanted))
    }
}

/// Sessions, the latest updated first.
#[utoipa::path(
    get, path = "/sessions", tag = "sessions", params(Wanted),
    responses(
        (status = 200, description = "A page of sessions.", body = SessionPage),
        (status = 400, description = "A parameter says nothing sensible.", body = super::wire::ErrorView),
        (status = 404, description = "No server is called so.", body = super::wire::ErrorView),
    ),
)]
pub(super) async fn list(State(api): State<Api>, uri: Uri) -> Answer {
    let wanted: Wanted = query(&uri)?;
    let limit = limit(wanted.limit.as_deref(), USUAL, MOST)?;
    let after = wanted.cursor.as_deref().map(Rank::parse).transpose()?;
    let servers = Arc::clone(&api.registry.servers.now());
    let server = match wanted.server {
        Some(name) => match servers.by_name(&name) {
            Some(server) => Some(server.key),
            None => return Err(RouteError::UnknownServer { name }.into()),
        },
        None => None,
    };
    let page = aside(move || {
        let filter = Filter {
            after,
            directory: wanted.directory.filter(|directory| !directory.is_empty()),
            search: wanted.search.map(|search| search.to_lowercase()),
            server: server.map(|key| (key, heirs::all(&api.registry.sessions, &servers))),
        };
        let (ranks, more) = best(&api.registry, &servers, &filter, limit);
        let next = ranks.last().filter(|_| more).map(Rank::cursor).transpose()?;
        let known = ranks.iter().filter_map(|Rank(_, id, store)| {
            // One that was deleted a moment ago is missing from the page, which then is shorter.
            view::known(&api, id, StoreKey(*store), &servers)
        });
        let sessions = known.map(|known| view::session(&api, &known, &servers)).collect();
        Ok::<_, Fault>(SessionPage { sessions, next })
    });
    json(&page.await??)
}

/// The first `limit` sessions that `filter` admits, and whether there are more.
fn best(registry: &Registry, servers: &Snapshot, filter: &Filter, limit: usize) -> (Vec<Rank>, bool) {
    let mut best: BinaryHeap<Reverse<Rank>> = BinaryHeap::with_capacity(limit + 2);
    registry.sessions.glance(|glance| {
        // The cheap looks first: most sessions are older than the page.
        if best.len() > limit && best.peek().is_some_and(|Reverse(least)| least.0 > glance.updated_ms()) {
            return;
        }
        let rank = Rank::of(&glance);
        if filter.after.as_ref().is_some_and(|after| rank >= *after) || !filter.admits(&glance, servers) {
            return;
        }
        best.push(Reverse(rank));
        if best.len() > limit + 1 {
            best.pop();
        }
    });
    let mut ranks: Vec<Rank> = best.into_sorted_vec().into_iter().map(|Reverse(rank)| rank).collect();
    let more = ranks.len() > limit;
    ranks.truncate(limit);
    (ranks, more)
}

/// The ids of all sessions, in no particular order, as they come.
#[utoipa::path(
    get, path = "/sessions/ids", tag = "sessions",
    responses((status = 200, description = "Every id once.", body = Vec<String>)),
)]
pub(super) async fn ids(State(api): State<Api>) -> Result<Response, Fault> {
    let ids = aside(move || {
        let mut ids: Vec<SessionId> = Vec::with_capacity(api.registry.sessions.len());
        api.registry.sessions.glance(|glance| {
            // One in two stores is met twice in a row.
            if ids.last() != Some(glance.id) {
                ids.push(glance.id.clone());
            }
        });
        ids
    });
    let ids = ids.await?;
    let chunks = stream::iter(chunks(ids).map(Ok::<_, Infallible>));
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok((headers, Body::from_stream(chunks)).into_response())
}

/// The array piece by piece, each written when it is wanted.
fn chunks(ids: Vec<SessionId>) -> impl Iterator<Item = Bytes> + Send + 'static {
    let pieces = ids.len().div_ceil(IDS_AT_ONCE);
    let piece = move |number: usize| {
        let start = number * IDS_AT_ONCE;
        let mut text = String::with_capacity(IDS_AT_ONCE * 34);
        for (place, id) in ids.iter().enumerate().skip(start).take(IDS_AT_ONCE) {
            // An id holds nothing that JSON would have to escape.
            text.push_str(if place == 0 { "\"" } else { ",\"" });
            text.push_str(id.as_str());
            text.push('"');
        }
        Bytes::from(text)
    };
    let opening = std::iter::once(Bytes::from_static(b"["));
    opening.chain((0..pieces).map(piece)).chain(std::iter::once(Bytes::from_static(b"]")))
}
