//! Agents that run although nobody can reach them, and what to do about it.

use super::{
    Api,
    wire::{ServerState, ServerView},
};
use crate::{discovery, domain::kind::Kind, machine::Process, registry::stores::StoreIdentity};

/// Walks over processes: milliseconds.
pub(super) fn unreachable(api: &Api) -> Vec<ServerView> {
    let processes = discovery::unreachable(api.machine.as_ref(), &api.registry);
    processes.iter().map(|process| view(api, process)).collect()
}

fn view(api: &Api, process: &Process) -> ServerView {
    let kind = process.invocation().kind;
    let directory = process.cwd.as_ref().map(|cwd| cwd.display().to_string());
    let store = process.store.as_ref().map(|file| {
        let identity = StoreIdentity::File { device: file.device, inode: file.inode };
        api.registry.stores.label(api.registry.stores.key(identity))
    });
    ServerView {
        id: format!("unreachable-{}-{}", process.pid, process.started),
        port: None,
        pid: Some(process.pid),
        directories: directory.iter().cloned().collect(),
        directory,
        worktree: None,
        project: None,
        version: None,
        url: None,
        state: ServerState::Unreachable,
        kind,
        store,
        sources: Vec::new(),
        since: None,
        session_count: 0,
        sessions: None,
        viewing: None,
        hint: Some(hint(kind).to_owned()),
    }
}

fn hint(kind: Kind) -> &'static str {
    match kind {
        Kind::Tui => {
            "this terminal opens no port; run `pointsman plugin install` once and start it again, or start it with `opencode --port 0`"
        }
        Kind::Serve | Kind::Web => {
            "it listens nowhere that can be seen from here: it may just be starting, or run in a container; name \
             its URL with --server"
        }
        Kind::Acp => "this editor's agent opens no port; start it with `opencode acp --port 0`",
        Kind::Run => "it works off one prompt and then ends",
        Kind::Attach | Kind::Other => "it owns no sessions",
    }
}
