//! `pointsman servers`: what runs.

use serde_json::Value;

use super::{
    ClientArgs,
    client::{CliError, Client, print, print_json},
    moment::{age, now_ms},
    table::{Width, plain, screen_width, table},
};
use crate::{
    api::wire::{ServerState, ServerView},
    config::Environment,
};

/// Prints the servers that the daemon knows, and the agents that it cannot reach.
pub async fn run(args: &ClientArgs, environment: &Environment) -> Result<(), CliError> {
    let client = Client::new(&args.daemon, environment)?;
    // Programs may want the ids of the sessions, people have no use for a thousand of them.
    let with_sessions = if args.json { "true" } else { "false" };
    let query = [("unreachable", "true"), ("sessions", with_sessions)];
    let answer: Value = client.get(&["servers"], &query).await?;
    if args.json {
        return print_json(&answer);
    }
    let servers: Vec<ServerView> = client.read(&answer)?;
    print(&render(&servers, now_ms(), screen_width()))
}

fn render(servers: &[ServerView], now_ms: u64, width: Option<u16>) -> String {
    if servers.is_empty() {
        return "No OpenCode runs here, as far as can be seen. Start one with `opencode serve`, or `opencode --port 0` \
                for a terminal that can be reached."
            .to_owned();
    }
    let header = [
        ("ADDRESS", Width::Whole),
        ("KIND", Width::Whole),
        ("STATE", Width::Whole),
        ("PID", Width::Whole),
        ("VERSION", Width::Whole),
        ("SESSIONS", Width::Whole),
        ("SINCE", Width::Whole),
        ("DIRECTORY", Width::Cut),
        ("ID", Width::Cut),
    ];
    let dash = || "-".to_owned();
    let rows = servers.iter().map(|server| {
        [
            address(server),
            server.kind.to_string(),
            server.state.as_str().to_owned(),
            server.pid.map_or_else(dash, |pid| pid.to_string()),
            server.version.clone().unwrap_or_else(dash),
            if server.state == ServerState::Unreachable { dash() } else { server.session_count.to_string() },
            server.since.map_or_else(dash, |since| age(since, now_ms)),
            server.directory.clone().unwrap_or_else(dash),
            if server.state == ServerState::Unreachable { dash() } else { server.id.clone() },
        ]
    });
    let mut text = table(header, rows, width);
    let hints: Vec<String> = servers.iter().filter_map(hint).collect();
    if !hints.is_empty() {
        text.push_str("\n\n");
        text.push_str(&hints.join("\n"));
    }
    text
}

fn address(server: &ServerView) -> String {
    let url = server.url.as_deref().unwrap_or("-");
    url.strip_prefix("http://").unwrap_or(url).to_owned()
}

fn hint(server: &ServerView) -> Option<String> {
    match server.state {
        ServerState::Up => None,
        ServerState::Stalled => {
            Some(format!("{} has been silent for a while: it gets no new work.", address(server)))
        }
        ServerState::Locked => Some(format!(
            "{} wants a password: give it in the configuration, under [[server]].",
            address(server)
        )),
        ServerState::Unreachable => {
            let pid = server.pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
            Some(format!("pid {pid}: {}.", plain(server.hint.as_deref()?)))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_793_620_991_000;

    fn server(over: &Value) -> ServerView {
        let mut server = json!({
            "id": "4242-81723", "port": 4302, "pid": 4242, "directory": "/home/ann/shop", "directories": [],
            "worktree": null, "project": null, "version": "1.18.33", "url": "http://127.0.0.1:4302",
            "state": "up", "kind": "tui", "store": null, "sources": ["socket"], "since": NOW - 200_000,
            "sessionCount": 12
        });
        for (key, value) in over.as_object().unwrap() {
            server[key] = value.clone();
        }
        serde_json::from_value(server).unwrap()
    }

    fn some() -> Vec<ServerView> {
        vec![
            server(&json!({})),
            server(&json!({ "id": "url-1", "pid": null, "state": "locked", "kind": "serve", "version": null,
                "url": "http://10.0.0.7:4096", "directory": null, "sessionCount": 0 })),
            server(
                &json!({ "id": "unreachable-77-1", "url": null, "port": null, "pid": 77, "state": "unreachable",
                "since": null, "version": null, "sessionCount": 0,
                "hint": "this terminal opens no port; start it with `opencode --port 0` and it can be reached" }),
            ),
        ]
    }

    #[test]
    fn servers_stand_in_a_table_and_what_to_do_stands_below() {
        let expected = "\
ADDRESS         KIND   STATE        PID   VERSION  SESSIONS  SINCE      DIRECTORY       ID
127.0.0.1:4302  tui    up           4242  1.18.33  12        3 min ago  /home/ann/shop  4242-81723
10.0.0.7:4096   serve  locked       -     -        0         3 min ago  -               url-1
-               tui    unreachable  77    -        -         -          /home/ann/shop  -

10.0.0.7:4096 wants a password: give it in the configuration, under [[server]].
pid 77: this terminal opens no port; start it with `opencode --port 0` and it can be reached.";
        assert_eq!(render(&some(), NOW, None), expected);
    }

    #[test]
    fn no_line_of_the_table_is_wider_than_the_screen() {
        let text = render(&some(), NOW, Some(90));
        let table = text.split("\n\n").next().unwrap();
        assert!(table.lines().all(|line| line.chars().count() <= 90), "{table}");
        assert!(table.contains("127.0.0.1:4302"));
    }

    #[test]
    fn without_servers_it_says_how_to_start_one() {
        assert!(render(&[], NOW, None).contains("opencode serve"));
    }
}
