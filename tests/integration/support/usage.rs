//! What a process takes of its machine, and what it says of itself.

use super::daemon::Daemon;

impl Daemon {
    /// Bytes resident now.
    pub fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The same without the program itself, of which more is resident the more of it has run.
    pub fn resident_data(&self) -> u64 {
        self.status("RssAnon:")
    }

    /// The most bytes that ever were.
    pub fn resident_at_most(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the kernel tells it");
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kilobytes << 10
    }

    /// The value of one line of `/metrics`, named with its labels; 0 if there is none.
    pub async fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics").await.text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().expect("a number"))
    }
}
