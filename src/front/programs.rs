//! Which program is behind a connection, and which directories it works in without naming them.
//!
//! `opencode attach` without `--dir` names no directory on its stream and opens sessions of any. Its stream and its
//! requests come over several connections, so what ties them together is the process at their other end. Where that
//! cannot be known (another machine, a system that does not tell), a program works in what it names, and no more.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use http::{HeaderMap, header::USER_AGENT};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::{events::opened::Opened, machine::Machine};

/// One run of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Program {
    pid: u32,
    started: u64,
}

/// The two ends of a connection, and the program at the other one once somebody has asked for it.
#[derive(Debug)]
pub struct Ends {
    /// Ours; `None` if it could not be told.
    pub local: Option<SocketAddr>,
    /// The client's.
    pub peer: SocketAddr,
    program: OnceCell<Option<Program>>,
}

impl Ends {
    /// Of a connection that was just accepted.
    pub fn new(local: Option<SocketAddr>, peer: SocketAddr) -> Self {
        Self { local, peer, program: OnceCell::new() }
    }
}

/// What the programs that are still running have opened.
pub struct Programs {
    machine: Arc<dyn Machine>,
    opened: Mutex<HashMap<Program, Opened>>,
}

impl Programs {
    /// None so far.
    pub fn new(machine: Arc<dyn Machine>) -> Self {
        Self { machine, opened: Mutex::default() }
    }

    /// What the program that sent a request has opened. `None` if it is not known which one that is, or if it is no
    /// agent's.
    pub async fn behind(&self, ends: &Ends, headers: &HeaderMap) -> Option<Opened> {
        // Looking takes milliseconds, so only those are looked for that say they are agents. The look decides.
        if !calls_itself_an_agent(headers) || !ends.peer.ip().to_canonical().is_loopback() {
            return None;
        }
        let program = (*ends.program.get_or_init(|| self.look(ends)).await)?;
        let mut opened = self.opened.lock();
        if !opened.contains_key(&program) {
            opened.retain(|program, _| self.machine.alive(program.pid, program.started));
        }
        Some(opened.entry(program).or_default().clone())
    }

    async fn look(&self, ends: &Ends) -> Option<Program> {
        let (local, peer) = (ends.local?, ends.peer);
        let machine = Arc::clone(&self.machine);
        let found = tokio::task::spawn_blocking(move || machine.peer_agent(local, peer)).await;
        found.ok().flatten().map(|process| Program { pid: process.pid, started: process.started })
    }
}

fn calls_itself_an_agent(headers: &HeaderMap) -> bool {
    headers.get(USER_AGENT).is_some_and(|name| is_agents(name.as_bytes()))
}

/// Whether a `User-Agent` is an agent's.
pub fn is_agents(name: &[u8]) -> bool {
    name.starts_with(b"opencode/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Process, scripted::Scripted};

    fn agent(pid: u32) -> Process {
        Process {
            pid,
            parent: None,
            started: 1,
            uid: Some(1000),
            name: "opencode".into(),
            args: vec!["/usr/bin/opencode".into(), "attach".into()],
            cwd: None,
            store: None,
        }
    }

    fn ends(port: u16) -> Ends {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Ends::new(Some(at(4747)), at(port))
    }

    fn named(name: &str) -> HeaderMap {
        HeaderMap::from_iter([(USER_AGENT, name.parse().unwrap())])
    }

    #[tokio::test]
    async fn what_one_connection_opens_counts_on_all_of_the_same_process_and_on_no_other() {
        let machine = Arc::new(Scripted::default());
        for (pid, ports) in [(1, [51, 52]), (2, [53, 54])] {
            machine.start(agent(pid));
            for port in ports {
                machine.call_from(ends(port).peer, pid);
            }
        }
        let programs = Programs::new(machine.clone());
        let headers = named("opencode/1.18.33");
        programs.behind(&ends(51), &headers).await.unwrap().add("/two");
        assert!(programs.behind(&ends(52), &headers).await.unwrap().contains("/two"));
        assert!(!programs.behind(&ends(53), &headers).await.unwrap().contains("/two"));
        assert_eq!(programs.behind(&ends(55), &headers).await, None, "nobody's");
        assert_eq!(programs.behind(&ends(51), &named("curl/8")).await, None);
    }

    #[tokio::test]
    async fn programs_that_have_ended_are_forgotten() {
        let machine = Arc::new(Scripted::default());
        let programs = Programs::new(machine.clone());
        for pid in 1..=3 {
            machine.start(agent(pid));
            machine.call_from(ends(50).peer, pid);
            programs.behind(&ends(50), &named("opencode/1.18.33")).await.unwrap();
            machine.end(pid);
        }
        assert_eq!(programs.opened.lock().len(), 1);
    }
}
