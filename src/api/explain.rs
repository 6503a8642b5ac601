//! Why a session's requests go where they go, in sentences that need no manual.

use jiff::tz::TimeZone;

use super::moment::clock;
use crate::{
    domain::{evidence::Evidence, ids::SessionId, ownership::Owner},
    registry::{server::Server, servers::Snapshot, sessions::Known},
};

/// How many servers are named before the rest is only counted.
const NAMED: usize = 3;

/// Two sentences or so each.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Explanation {
    /// Why it is so.
    pub(super) reason: String,
    /// What would change it.
    pub(super) until: String,
}

/// Explains the owner of `known`, with its times as a clock in `zone` shows them at `now_ms`. `suspected` are the
/// processes that seem to write it although nobody hears them.
pub(super) fn explain(
    known: &Known,
    servers: &Snapshot,
    suspected: &[u32],
    now_ms: u64,
    zone: &TimeZone,
) -> Explanation {
    if !suspected.is_empty() {
        return unheard(known, servers, suspected);
    }
    let owner = known.owner.and_then(|owner| Some((owner, servers.get(owner.server)?)));
    let Some((Owner { server: key, evidence }, server)) = owner else { return unclaimed(known, servers) };
    let at_ms = known.claims.held_since(key, evidence);
    let at = at_ms.map_or_else(|| "an unknown time".to_owned(), |ms| clock(ms, now_ms, zone));
    let because = because(evidence, &at, known, servers);
    let reason = if evidence.owns() {
        format!("{} owns this session: {because}.", server.address)
    } else {
        format!("{} serves this session, without owning it: {because}.", server.address)
    };
    Explanation { reason, until: until(evidence, server, known) }
}

fn because(evidence: Evidence, at: &str, known: &Known, servers: &Snapshot) -> String {
    match evidence {
        Evidence::Pinned => format!("somebody pinned it there (at {at})"),
        Evidence::Busy => format!("it is working on it now (busy since {at})"),
        Evidence::Viewing => format!("its terminal shows the session (since {at})"),
        Evidence::Emitted => format!("it made the session or ran its latest turn (last heard of at {at})"),
        Evidence::Inherited => format!(
            "this is the session of a sub-agent, and that server owns {}, the session which started it",
            parent(known)
        ),
        Evidence::Succeeded => format!(
            "it was started in place of the server that owned it, with the same directory and address (at {at})"
        ),
        Evidence::Routed => format!("the last turn that was sent through pointsman went there (at {at})"),
        Evidence::StartedWith => {
            format!("it was started with this session on its command line (seen at {at})")
        }
        Evidence::Chosen => {
            let count = servers.of_store(known.store).count();
            let among = if count == 1 {
                "it is the only one that reads the session's store".to_owned()
            } else {
                format!("it was chosen among the {count} that read the session's store")
            };
            format!("no server is known to have worked on it, and {among} (at {at})")
        }
        Evidence::Listed => "it lists the session, and nothing speaks for another server".to_owned(),
    }
}

fn until(evidence: Evidence, server: &Server, known: &Known) -> String {
    match evidence {
        Evidence::Pinned => {
            format!(
                "It stays there until DELETE /sessions/{}/owner, or until that server ends.",
                known.row.id
            )
        }
        Evidence::Busy => {
            "It stays there until that server says that the turn has ended; then the next claim decides."
                .to_owned()
        }
        Evidence::Viewing => {
            "It stays there until that terminal shows something else; then the next claim decides.".to_owned()
        }
        Evidence::Emitted | Evidence::Succeeded | Evidence::Routed => format!(
            "It stays there until another server works on it or shows it on its screen, or until {} ends.",
            server.address
        ),
        Evidence::Inherited => {
            format!("It follows {} until some server works on it by itself.", parent(known))
        }
        Evidence::StartedWith | Evidence::Chosen | Evidence::Listed => {
            "The first server that works on it, or that a turn is sent to, will own it.".to_owned()
        }
    }
}

fn parent(known: &Known) -> &str {
    known.row.parent.as_ref().map_or("another session", SessionId::as_str)
}

fn unclaimed(known: &Known, servers: &Snapshot) -> Explanation {
    let readers = readers(known, servers);
    let reason = match readers.len() {
        0 => {
            "No server owns this session, and no running server reads the store that it stands in.".to_owned()
        }
        1 => format!(
            "No server owns this session: none is known to have worked on it. {} reads its store and can serve it.",
            readers[0]
        ),
        count => format!(
            "No server owns this session: none is known to have worked on it. {count} servers read its store and \
             can serve it: {}.",
            named(&readers)
        ),
    };
    let until = if readers.is_empty() {
        "It can be used once a server of the same user runs; any directory will do."
    } else {
        "The first request for it chooses one of them; the first that works on it will own it."
    };
    Explanation { reason, until: until.to_owned() }
}

fn unheard(known: &Known, servers: &Snapshot, suspected: &[u32]) -> Explanation {
    let pids: Vec<String> = suspected.iter().map(u32::to_string).collect();
    let readers = readers(known, servers);
    let reading = match readers.as_slice() {
        [] => "and no running server can show it".to_owned(),
        readers => format!("though {} can show it", named(readers)),
    };
    Explanation {
        reason: format!(
            "No server that can be reached owns this session: it goes on although none of them works on it. A \
             terminal that opens no port seems to run it (pid {}), {reading}.",
            pids.join(" or ")
        ),
        until:
            "Start that terminal with --port 0, and it can be reached. Any server that works on the session \
                will own it."
                .to_owned(),
    }
}

fn readers(known: &Known, servers: &Snapshot) -> Vec<String> {
    servers.of_store(known.store).map(|server| server.address.to_string()).collect()
}

fn named(servers: &[String]) -> String {
    match servers.len().checked_sub(NAMED) {
        None | Some(0) => servers.join(", "),
        Some(more) => format!("{} and {more} more", servers[..NAMED].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tests::town::{SESSION, Town, id};

    /// 2026-11-02 12:03:11 UTC.
    const NOON: u64 = 1_793_620_991_000;

    fn explained(town: &Town, suspected: &[u32]) -> Explanation {
        let servers = town.registry.servers.now();
        let known = town.registry.sessions.describe(&id(SESSION), &servers).remove(0);
        explain(&known, &servers, suspected, NOON + 5000, &TimeZone::UTC)
    }

    #[test]
    fn each_evidence_is_told_as_what_happened() {
        for (evidence, told) in [
            (Evidence::Pinned, "owns this session: somebody pinned it there (at 12:03:11)."),
            (Evidence::Busy, "owns this session: it is working on it now (busy since 12:03:11)."),
            (Evidence::Viewing, "owns this session: its terminal shows the session (since 12:03:11)."),
            (
                Evidence::Emitted,
                "owns this session: it made the session or ran its latest turn (last heard of at 12:03:11).",
            ),
            (
                Evidence::Routed,
                "owns this session: the last turn that was sent through pointsman went there (at 12:03:11).",
            ),
            (
                Evidence::StartedWith,
                "serves this session, without owning it: it was started with this session on its command line \
                 (seen at 12:03:11).",
            ),
            (
                Evidence::Chosen,
                "serves this session, without owning it: no server is known to have worked on it, and it was \
                 chosen among the 2 that read the session's store (at 12:03:11).",
            ),
        ] {
            let town = Town::new(2);
            town.list(SESSION, "Fix the parser", 5);
            town.claim_at(0, SESSION, evidence, NOON);
            assert_eq!(explained(&town, &[]).reason, format!("127.0.0.1:4301 {told}"));
        }
    }

    #[test]
    fn a_session_that_nobody_claims_is_told_with_those_that_can_serve_it() {
        let town = Town::new(5);
        town.list(SESSION, "Fix the parser", 5);
        assert_eq!(
            explained(&town, &[]).reason,
            "No server owns this session: none is known to have worked on it. 5 servers read its store and can \
             serve it: 127.0.0.1:4301, 127.0.0.1:4302, 127.0.0.1:4303 and 2 more."
        );
    }

    #[test]
    fn a_writer_that_nobody_hears_is_named_by_its_pid() {
        let town = Town::new(1);
        town.list(SESSION, "Fix the parser", 5);
        let told = explained(&town, &[77]);
        assert!(told.reason.contains("seems to run it (pid 77), though 127.0.0.1:4301 can show it."));
        assert!(told.until.contains("--port 0"));
    }
}
