//! A process that was started, by us or by an earlier run of ours.

use std::{sync::Arc, time::Duration};

use tokio::{
    process::Child,
    time::{Instant, sleep},
};

use crate::machine::Machine;

/// How long one has to end in order. OpenCode takes a tenth of a second.
const DEADLINE: Duration = Duration::from_secs(4);

/// How often it is looked whether it has ended.
const PAUSE: Duration = Duration::from_millis(20);

/// See the module. Where a script was started that starts the program, both.
pub(super) struct Spawned {
    machine: Arc<dyn Machine>,
    child: Option<Child>,
    /// Pid and time of start, of each once.
    known: Vec<(u32, u64)>,
}

#[derive(Clone, Copy, Debug)]
enum Force {
    InOrder,
    Kill,
}

impl Spawned {
    pub(super) fn new(machine: Arc<dyn Machine>, child: Option<Child>, known: Option<(u32, u64)>) -> Self {
        Self { machine, child, known: known.into_iter().collect() }
    }

    /// The process that was started.
    pub(super) fn pid(&self) -> Option<u32> {
        self.known.first().map(|(pid, _)| *pid)
    }

    /// This one belongs to it too.
    pub(super) fn add(&mut self, process: (u32, u64)) {
        if !self.known.contains(&process) {
            self.known.push(process);
        }
    }

    /// How it ended, if it has, and all of it.
    pub(super) fn ended(&mut self) -> Option<String> {
        let how = match self.child.as_mut().map(Child::try_wait) {
            Some(Ok(None)) => return None,
            Some(Ok(Some(status))) => status.to_string(),
            // Nobody tells how a process ended that an earlier run started.
            Some(Err(_)) | None => "it ended".to_owned(),
        };
        let lives = self.known.iter().any(|(pid, started)| self.machine.alive(*pid, *started));
        (!lives).then_some(how)
    }

    /// Waits until it has ended, and tells how.
    pub(super) async fn end_of_it(&mut self) -> String {
        loop {
            if let Some(how) = self.ended() {
                return how;
            }
            sleep(PAUSE).await;
        }
    }

    /// Ends it: in order, and after a deadline by force.
    pub(super) async fn end(mut self) {
        self.signal(Force::InOrder);
        if self.ends_within(DEADLINE).await {
            return;
        }
        tracing::warn!(pid = self.pid(), "a started server did not end in time and is killed");
        self.signal(Force::Kill);
        // What does not even go then, waits in the kernel; nobody can do more.
        self.ends_within(DEADLINE).await;
    }

    async fn ends_within(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        while self.ended().is_none() {
            if Instant::now() > deadline {
                return false;
            }
            sleep(PAUSE).await;
        }
        true
    }

    #[cfg(unix)]
    fn signal(&mut self, force: Force) {
        use rustix::process::{Pid, Signal, kill_process};
        let signal = match force {
            Force::InOrder => Signal::TERM,
            Force::Kill => Signal::KILL,
        };
        let living = self.known.iter().filter(|(pid, started)| self.machine.alive(*pid, *started));
        // The id of a child is nobody else's before it was waited for.
        let child = self.child.as_ref().and_then(Child::id);
        let mut pids: Vec<u32> = living.map(|(pid, _)| *pid).chain(child).collect();
        pids.sort_unstable();
        pids.dedup();
        for pid in pids.into_iter().filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            // Gone already is as good.
            let _ = kill_process(pid, signal);
        }
    }

    /// There is no orderly way here.
    #[cfg(not(unix))]
    fn signal(&mut self, _: Force) {
        if let Some(child) = &mut self.child {
            let _ = child.start_kill();
        }
    }
}
