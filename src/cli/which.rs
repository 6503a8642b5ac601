//! `pointsman which`: who owns a session, and why.

use jiff::tz::TimeZone;

use super::{
    WhichArgs,
    client::{CliError, Client, print, print_json},
    moment::{age, clock, now_ms},
    table::{Width, plain, screen_width, table},
};
use crate::{
    api::wire::{ClaimView, SessionDetail},
    config::Environment,
    domain::{evidence::Evidence, kind::Kind},
};

/// How many servers are shown that merely list the session.
const LISTING: usize = 5;

/// How wide a sentence gets where the screen does not say.
const LINE: usize = 100;

/// Where the facts begin, behind their names.
const INDENT: usize = 12;

/// Prints one session with its owner, the reason, and every claim.
pub async fn run(args: &WhichArgs, environment: &Environment) -> Result<(), CliError> {
    let client = Client::new(&args.client.daemon, environment)?;
    let answer = client.get(&["sessions", &args.session], &[]).await?;
    if args.client.json {
        return print_json(&answer);
    }
    let detail: SessionDetail = client.read(&answer)?;
    print(&render(&detail, now_ms(), &TimeZone::system(), screen_width()))
}

fn render(detail: &SessionDetail, now_ms: u64, zone: &TimeZone, width: Option<u16>) -> String {
    let session = &detail.session;
    let line = width.map_or(LINE, |width| usize::from(width).clamp(40, LINE));
    let mut text = format!("{}  {}\n\n", session.id, plain(&session.title));
    let mut fact = |name: &str, value: &str| {
        let lines = wrap(&plain(value), line - INDENT);
        for (place, part) in lines.iter().enumerate() {
            let name = if place == 0 { name } else { "" };
            text.push_str(format!("  {name:<10}{part}").trim_end());
            text.push('\n');
        }
    };
    fact("directory", &session.directory);
    if let Some(parent) = &detail.parent {
        fact("parent", parent.as_str());
    }
    fact("owner", &owner(detail));
    fact("why", &detail.reason);
    fact("until", &detail.until);
    fact("status", session.status.as_str());
    fact("updated", &moment(session.updated, now_ms, zone));

    text.push_str("\nClaims, from strong to weak:\n");
    text.push_str(&claims(&detail.claims, now_ms, zone, width));
    text
}

fn owner(detail: &SessionDetail) -> String {
    let claim =
        detail.claims.iter().find(|claim| claim.server.is_some() && claim.server == detail.session.owner);
    let Some(claim) = claim else {
        return match detail.suspected.as_slice() {
            [] => "none".to_owned(),
            pids => {
                let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
                format!("none that can be reached (suspected: pid {})", pids.join(" or "))
            }
        };
    };
    let address = claim.address.as_deref().unwrap_or("?");
    let kind = claim.kind.map_or("a process", kind);
    match claim.pid {
        Some(pid) => format!("{address} ({kind}, pid {pid})"),
        None => format!("{address} ({kind})"),
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Serve => "opencode serve",
        Kind::Web => "opencode web",
        Kind::Tui => "a terminal",
        Kind::Run => "opencode run",
        Kind::Acp => "an editor's agent",
        Kind::Attach => "an attached terminal",
        Kind::Other => "an OpenCode process",
    }
}

fn claims(claims: &[ClaimView], now_ms: u64, zone: &TimeZone, width: Option<u16>) -> String {
    let listing = |claim: &ClaimView| claim.evidence == Evidence::Listed && !claim.gone;
    let hidden = claims.iter().filter(|claim| listing(claim)).count().saturating_sub(LISTING);
    let mut listed = 0;
    let shown = claims.iter().filter(|claim| {
        listed += usize::from(listing(claim));
        !listing(claim) || listed <= LISTING
    });
    let rows = shown.map(|claim| {
        let since = claim.since.map_or_else(|| "-".to_owned(), |since| moment(since, now_ms, zone));
        let server = claim.address.clone().unwrap_or_else(|| "gone".to_owned());
        let meaning =
            if claim.gone { "counts for nothing: the server has ended" } else { meaning(claim.evidence) };
        [format!("  {}", claim.evidence), server, since, meaning.to_owned()]
    });
    let header = [
        ("  EVIDENCE", Width::Whole),
        ("SERVER", Width::Whole),
        ("SINCE", Width::Whole),
        ("MEANING", Width::Cut),
    ];
    let text = table(header, rows, width);
    if hidden > 0 { format!("{text}\n  … and {hidden} more that list it") } else { text }
}

fn meaning(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Pinned => "somebody gave the session to it",
        Evidence::Busy => "it says that it works on the session",
        Evidence::Viewing => "its screen shows the session",
        Evidence::Emitted => "it put out parts of a turn, or made the session",
        Evidence::Inherited => "it owns the session that started this one",
        Evidence::Succeeded => "it took the place of an owner that ended",
        Evidence::Routed => "a turn was sent to it",
        Evidence::StartedWith => "its command line names the session",
        Evidence::Chosen => "it was chosen, for want of evidence",
        Evidence::Listed => "it reads the store and could serve the session",
    }
}

fn moment(ms: u64, now_ms: u64, zone: &TimeZone) -> String {
    format!("{} ({})", clock(ms, now_ms, zone), age(ms, now_ms))
}

/// Breaks `text` between words into lines of at most `width` letters; a longer word has a line of its own.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: u64 = 1_793_620_991_000;

    fn claim(server: &str, evidence: &str, since: Option<u64>) -> Value {
        json!({ "server": server, "address": format!("127.0.0.1:{server}"), "pid": 4242, "kind": "tui",
            "evidence": evidence, "since": since, "gone": false })
    }

    fn detail(owner: Option<&str>, claims: &[Value], suspected: &[u32], reason: &str) -> SessionDetail {
        let detail = json!({
            "id": "ses_e021c7fa2ffe8VGOoFNM8lM5q9", "title": "Fix the parser", "directory": "/home/ann/shop",
            "ownerPort": null, "owner": owner, "evidence": "busy", "status": "busy", "updated": NOW - 1000,
            "project": "p", "parent": null, "store": "file:1:2", "claims": claims, "suspected": suspected,
            "unseenWriter": null, "reason": reason,
            "until": "It stays there until that server says that the turn has ended; then the next claim decides."
        });
        serde_json::from_value(detail).unwrap()
    }

    #[test]
    fn a_newcomer_reads_who_owns_a_session_and_why() {
        let gone = json!({ "server": null, "address": null, "pid": null, "kind": null, "evidence": "emitted",
            "since": NOW - 400_000_000, "gone": true });
        let claims = [
            claim("4302", "busy", Some(NOW - 200_000)),
            claim("4301", "routed", Some(NOW - 7_200_000)),
            claim("4303", "listed", None),
            gone,
        ];
        let reason = "127.0.0.1:4302 owns this session: it is working on it now (busy since 11:59:51).";
        let expected = "\
ses_e021c7fa2ffe8VGOoFNM8lM5q9  Fix the parser

  directory /home/ann/shop
  owner     127.0.0.1:4302 (a terminal, pid 4242)
  why       127.0.0.1:4302 owns this session: it is working on it now (busy since 11:59:51).
  until     It stays there until that server says that the turn has ended; then the next claim
            decides.
  status    busy
  updated   12:03:10 (just now)

Claims, from strong to weak:
  EVIDENCE  SERVER          SINCE                          MEANING
  busy      127.0.0.1:4302  11:59:51 (3 min ago)           it says that it works on the session
  routed    127.0.0.1:4301  10:03:11 (2 h ago)             a turn was sent to it
  listed    127.0.0.1:4303  -                              it reads the store and could serve the session
  emitted   gone            2026-10-28 20:56 (4 days ago)  counts for nothing: the server has ended";
        let shown = render(&detail(Some("4302"), &claims, &[], reason), NOW, &TimeZone::UTC, None);
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_session_without_an_owner_says_so_and_many_that_list_it_are_counted() {
        let claims: Vec<Value> = (4301..4309).map(|port| claim(&port.to_string(), "listed", None)).collect();
        let shown = render(&detail(None, &claims, &[], "No server owns it."), NOW, &TimeZone::UTC, Some(80));
        assert!(shown.contains("  owner     none\n"), "{shown}");
        assert!(shown.ends_with("  … and 3 more that list it"), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
        let suspected = render(&detail(None, &claims, &[77], "Nobody."), NOW, &TimeZone::UTC, None);
        assert!(suspected.contains("none that can be reached (suspected: pid 77)"), "{suspected}");
    }
}
