//! `pointsman sessions`: every session, and the server that owns it.

use std::path::{Path, absolute};

use serde_json::{Value, json};

use super::{
    SessionsArgs,
    client::{CliError, Client, print, print_json},
    moment::{age, now_ms},
    table::{Width, screen_width, table},
};
use crate::{
    api::wire::{SessionPage, SessionView},
    config::Environment,
};

/// How many sessions the daemon gives at once.
const PAGE: u32 = 1000;

/// Prints the sessions asked for, the latest updated first.
pub async fn run(args: &SessionsArgs, environment: &Environment) -> Result<(), CliError> {
    let client = Client::new(&args.client.daemon, environment)?;
    let directory = args.directory.as_deref().map(whole);
    let mut rows: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    let mut wanted = args.limit;
    loop {
        let limit = wanted.min(PAGE).to_string();
        let named = [
            ("limit", Some(limit.as_str())),
            ("cursor", cursor.as_deref()),
            ("directory", directory.as_deref()),
            ("server", args.server.as_deref()),
            ("search", args.search.as_deref()),
        ];
        let query: Vec<(&str, &str)> =
            named.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let answer = client.get(&["sessions"], &query).await?;
        let page: SessionPage = client.read(&answer)?;
        wanted = wanted.saturating_sub(limit.parse().unwrap_or(PAGE));
        if let Some(Value::Array(sessions)) = answer.get("sessions") {
            rows.extend(sessions.iter().cloned());
        }
        cursor = page.next;
        if wanted == 0 || cursor.is_none() {
            break;
        }
    }
    if args.client.json {
        return print_json(&json!({ "sessions": rows, "next": cursor }));
    }
    let sessions: Vec<SessionView> = client.read(&Value::Array(rows))?;
    print(&render(&sessions, cursor.is_some(), now_ms(), screen_width()))
}

/// A directory as the daemon knows it: whole. One that was typed whole is taken as it is.
pub(super) fn whole(directory: &str) -> String {
    let path = Path::new(directory);
    if path.is_absolute() {
        return directory.to_owned();
    }
    let found = path.canonicalize().or_else(|_| absolute(path));
    found.map_or_else(|_| directory.to_owned(), |path| path.display().to_string())
}

fn render(sessions: &[SessionView], more: bool, now_ms: u64, width: Option<u16>) -> String {
    if sessions.is_empty() {
        return "No session is like that.".to_owned();
    }
    let header = [
        ("SESSION", Width::Whole),
        ("OWNER", Width::Whole),
        ("EVIDENCE", Width::Whole),
        ("STATUS", Width::Whole),
        ("UPDATED", Width::Whole),
        ("TITLE", Width::Cut),
        ("DIRECTORY", Width::Cut),
    ];
    let rows = sessions.iter().map(|session| {
        [
            session.id.to_string(),
            session.owner_port.map_or_else(|| "-".to_owned(), |port| format!(":{port}")),
            session.evidence.to_string(),
            session.status.as_str().to_owned(),
            age(session.updated, now_ms),
            session.title.clone(),
            session.directory.clone(),
        ]
    });
    let mut text = table(header, rows, width);
    if more {
        text.push_str("\n\nThere are more: --limit, --directory, --server and --search choose.");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_793_620_991_000;

    fn some() -> Vec<SessionView> {
        let sessions = json!([
            { "id": "ses_e021c7fa2ffe8VGOoFNM8lM5q9", "title": "Fix the parser", "directory": "/home/ann/shop",
              "ownerPort": 4302, "owner": "4242-81723", "evidence": "busy", "status": "busy", "updated": NOW - 1000 },
            { "id": "ses_1", "title": "Old", "directory": "/home/ann/blog", "ownerPort": null, "owner": null,
              "evidence": "listed", "status": "idle", "updated": NOW - 90_000_000 },
        ]);
        serde_json::from_value(sessions).unwrap()
    }

    #[test]
    fn sessions_stand_in_a_table() {
        let expected = "\
SESSION                         OWNER  EVIDENCE  STATUS  UPDATED    TITLE           DIRECTORY
ses_e021c7fa2ffe8VGOoFNM8lM5q9  :4302  busy      busy    just now   Fix the parser  /home/ann/shop
ses_1                           -      listed    idle    1 day ago  Old             /home/ann/blog

There are more: --limit, --directory, --server and --search choose.";
        assert_eq!(render(&some(), true, NOW, None), expected);
    }

    #[test]
    fn no_session_is_a_sentence() {
        assert_eq!(render(&[], false, NOW, None), "No session is like that.");
    }

    #[test]
    fn a_directory_typed_whole_is_taken_as_it_is() {
        assert_eq!(whole("/a/../b/"), "/a/../b/");
        assert!(whole(".").starts_with('/'));
    }
}
