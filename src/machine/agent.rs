//! Telling an `OpenCode` process by its name and command line, and reading what it was asked to do.
//!
//! Pure, and total: a command line is another program's text, so anything in it is possible and nothing in it is an
//! error. The reading follows `opencode --help` of 1.18 and the habits of its option parser.

use crate::domain::{ids::SessionId, kind::Kind};

/// Programs that run an agent which is a script; the system then shows their name. `MainThread` is what recent Node
/// calls its first thread.
const RUNTIMES: [&str; 7] = ["node", "nodejs", "bun", "bunx", "deno", "node-mainthread", "mainthread"];

/// Words between a runtime and the script it runs.
const RUNTIME_WORDS: [&str; 3] = ["run", "x", "exec"];

/// Options that are switches: the word after them is not theirs. Every other option takes the next word as its
/// value unless it starts with a dash, unknown ones included, as the agent's own parser does.
const SWITCHES: [&str; 17] = [
    "help",
    "h",
    "version",
    "v",
    "print-logs",
    "pure",
    "mdns",
    "continue",
    "c",
    "fork",
    "auto",
    "mini",
    "share",
    "thinking",
    "interactive",
    "i",
    "replay",
];

/// Options that take every following word up to the next dash.
const LISTS: [&str; 3] = ["cors", "file", "f"];

/// The commands other than the five that have a [`Kind`] of their own. A first word that is none of these names the
/// project of a screen.
const OTHER_COMMANDS: [&str; 18] = [
    "completion",
    "mcp",
    "debug",
    "providers",
    "auth",
    "agent",
    "upgrade",
    "uninstall",
    "models",
    "stats",
    "export",
    "import",
    "github",
    "pr",
    "session",
    "plugin",
    "plug",
    "db",
];

/// Whether a process of this name may be an agent at all: one cheap look before its command line is read.
pub fn may_be_agent(name: &str) -> bool {
    is_agent_file(name) || RUNTIMES.contains(&stem(name).as_str())
}

/// Whether the program itself is the agent, not a script or a runtime around it.
pub(super) fn is_program(args: &[String]) -> bool {
    args.first().is_some_and(|program| is_agent_file(program))
}

/// Whether a process is an `OpenCode`, by the name the system shows and its command line.
pub fn looks_like_agent(name: &str, args: &[String]) -> bool {
    is_agent_file(name) || position(args).is_some()
}

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The command; `run --attach` counts as [`Kind::Attach`], for it works on another process's server.
    pub kind: Kind,
    /// The session named by `-s` or `--session`.
    pub session: Option<SessionId>,
    /// The port asked for, 0 included; where it listens is for the socket to say.
    pub port: Option<u16>,
    /// The address asked for.
    pub hostname: Option<String>,
    /// The directory named, as written: a screen's project, `--dir` or `--cwd`. A relative one counts from where the
    /// process was started, which need not be its working directory now.
    pub directory: Option<String>,
}

impl Invocation {
    /// Reads `args`, the program first. What cannot be understood is left out.
    pub fn parse(args: &[String]) -> Self {
        // A shell script called `opencode` shows up as its shell with the script as the first word.
        let script = || args.get(1).is_some_and(|word| is_agent_file(word)).then_some(1);
        let at = position(args).or_else(script).unwrap_or(0);
        let rest = args.get(at + 1..).unwrap_or_default();
        let words = Words::read(rest);
        let kind = words.kind();
        let directory = match kind {
            Kind::Tui => words.plain.first().copied(),
            _ => words.value(&["dir"]).or_else(|| words.value(&["cwd"])),
        };
        Self {
            kind,
            session: words.value(&["session", "s"]).and_then(|text| SessionId::try_new(text).ok()),
            port: words.value(&["port"]).and_then(|text| text.parse().ok()),
            hostname: words.value(&["hostname"]).map(str::to_owned),
            directory: directory.map(str::to_owned),
        }
    }
}

/// A command line taken apart: options with their values, and the plain words in order.
#[derive(Default)]
struct Words<'a> {
    options: Vec<(&'a str, Option<&'a str>)>,
    plain: Vec<&'a str>,
}

impl<'a> Words<'a> {
    fn read(args: &'a [String]) -> Self {
        let mut words = Self::default();
        let mut rest = args.iter().map(String::as_str).peekable();
        while let Some(word) = rest.next() {
            if word == "--" {
                words.plain.extend(rest);
                break;
            }
            let Some((name, attached)) = option(word) else {
                words.plain.push(word);
                continue;
            };
            if attached.is_some() || SWITCHES.contains(&name) || name.starts_with("no-") {
                words.options.push((name, attached));
                // A switch may be followed by its truth value.
                if attached.is_none() {
                    rest.next_if(|next| matches!(*next, "true" | "false"));
                }
                continue;
            }
            words.options.push((name, rest.next_if(|next| !next.starts_with('-'))));
            if LISTS.contains(&name) {
                while rest.next_if(|next| !next.starts_with('-')).is_some() {}
            }
        }
        words
    }

    fn kind(&self) -> Kind {
        match self.plain.first().copied() {
            Some("serve") => Kind::Serve,
            Some("web") => Kind::Web,
            Some("run") if self.has("attach") => Kind::Attach,
            Some("run") => Kind::Run,
            Some("acp") => Kind::Acp,
            Some("attach") => Kind::Attach,
            Some(word) if OTHER_COMMANDS.contains(&word) => Kind::Other,
            _ if ["help", "h", "version", "v"].iter().any(|name| self.has(name)) => Kind::Other,
            _ => Kind::Tui,
        }
    }

    fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(option, _)| *option == name)
    }

    /// The last value given to any of `names`.
    fn value(&self, names: &[&str]) -> Option<&'a str> {
        self.options.iter().rev().find(|(option, _)| names.contains(option)).and_then(|(_, value)| *value)
    }
}

/// The name of an option and the value attached with `=`; `None` for a plain word. Of short switches written together
/// (`-cs`) the last one counts, for only that one can take a value.
fn option(word: &str) -> Option<(&str, Option<&str>)> {
    let (name, long) = match word.strip_prefix("--") {
        Some(name) => (name, true),
        None => (word.strip_prefix('-').filter(|name| !name.is_empty())?, false),
    };
    let (name, value) = match name.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (name, None),
    };
    let last = name.char_indices().next_back().map_or(0, |(at, _)| at);
    Some((if long { name } else { &name[last..] }, value))
}

/// Where in `args` the agent stands: first, or as the script of a runtime.
fn position(args: &[String]) -> Option<usize> {
    let program = args.first()?;
    if is_agent_file(program) {
        return Some(0);
    }
    if !RUNTIMES.contains(&stem(program).as_str()) {
        return None;
    }
    let script = args
        .iter()
        .enumerate()
        .skip(1)
        .find(|(_, word)| !word.starts_with('-') && !RUNTIME_WORDS.contains(&word.as_str()));
    script.filter(|(_, word)| is_agent_file(word) || is_agent_source(word)).map(|(at, _)| at)
}

/// `opencode` under any of the names it is installed by: npm hides it behind a dot or an `.exe` (on Linux too), the
/// platform packages and the desktop application add a suffix.
fn is_agent_file(path: &str) -> bool {
    let stem = stem(path);
    let name = stem.strip_prefix('.').unwrap_or(&stem);
    match name.strip_prefix("opencode") {
        Some("" | "-cli" | "-ai" | ".js" | ".mjs" | ".ts") => true,
        Some(suffix) => ["-linux-", "-darwin-", "-windows-"].iter().any(|system| suffix.starts_with(system)),
        None => false,
    }
}

/// The entry of the agent run from its sources.
fn is_agent_source(path: &str) -> bool {
    path.replace('\\', "/").ends_with("opencode/src/index.ts")
}

/// The file name in lower case, without `.exe`.
fn stem(path: &str) -> String {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path).to_ascii_lowercase();
    name.strip_suffix(".exe").map(str::to_owned).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_command_line_at_all_can_be_read(words in prop::collection::vec("(-{0,3}[a-z=é]{0,3}|\\PC{0,8}|serve|--port|-s|ses_1|/opencode)", 0..8)) {
            let _ = looks_like_agent(words.first().map_or("", String::as_str), &words);
            let read = Invocation::parse(&words);
            prop_assert!(read.session.is_none_or(|session| words.iter().any(|word| word.contains(session.as_str()))));
        }
    }

    fn args(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    fn parsed(line: &str) -> Invocation {
        Invocation::parse(&args(line))
    }

    #[test]
    fn an_agent_is_told_by_its_program_or_by_the_script_a_runtime_runs() {
        for (name, line) in [
            ("opencode", "/usr/local/bin/opencode serve"),
            ("opencode", "opencode"),
            ("opencode.exe", "C:\\npm\\opencode.exe web"),
            (".opencode", "/x/opencode-ai/bin/.opencode"),
            ("opencode-linux-", "/x/opencode-linux-x64 serve"),
            ("opencode-cli", "/opt/OpenCode/opencode-cli serve --port 0"),
            ("node", "node /usr/bin/opencode serve"),
            ("MainThread", "/usr/bin/node --no-warnings /usr/lib/node_modules/opencode-ai/bin/opencode.js"),
            ("bun", "bun run /src/opencode/bin/opencode web"),
            ("bun", "bun run --conditions=browser /src/packages/opencode/src/index.ts serve"),
            ("opencode", "/bin/sh /usr/local/bin/opencode serve"),
        ] {
            assert!(looks_like_agent(name, &args(line)), "{line}");
        }
    }

    #[test]
    fn a_program_that_merely_mentions_the_agent_is_none() {
        for (name, line) in [
            ("vim", "vim opencode"),
            ("tail", "tail -f /home/u/opencode.log"),
            ("grep", "grep -r opencode ."),
            ("node", "node /home/u/opencode/server.js"),
            ("node", "node --eval opencode.start()"),
            ("bash", "bash /home/u/bin/opencode"),
            ("bash", "bash -c opencode"),
            ("opencoder", "opencoder serve"),
            ("opencode-manage", "opencode-manager"),
            ("pointsman", "pointsman serve"),
            ("sleep", ""),
        ] {
            assert!(!looks_like_agent(name, &args(line)), "{line}");
        }
        assert!(!looks_like_agent("", &[]));
    }

    #[test]
    fn every_process_that_looks_like_an_agent_passes_the_cheap_look_by_name() {
        for name in ["opencode", "opencode.exe", ".opencode", "opencode-linux-", "node", "bun", "MainThread"]
        {
            assert!(may_be_agent(name), "{name}");
        }
        for name in ["bash", "pointsman", "systemd", ""] {
            assert!(!may_be_agent(name), "{name}");
        }
    }

    #[test]
    fn the_command_gives_the_kind() {
        for (line, kind) in [
            ("opencode", Kind::Tui),
            ("opencode /home/u/project", Kind::Tui),
            ("opencode --port 4096", Kind::Tui),
            ("opencode -c", Kind::Tui),
            ("opencode --prompt serve", Kind::Tui),
            ("opencode serve", Kind::Serve),
            ("opencode --print-logs serve", Kind::Serve),
            ("opencode --log-level DEBUG serve", Kind::Serve),
            ("opencode --mdns true serve", Kind::Serve),
            ("node /usr/bin/opencode serve --port 4096", Kind::Serve),
            ("bun run /src/opencode web", Kind::Web),
            ("/bin/sh /usr/bin/opencode acp", Kind::Acp),
            ("opencode run say hello", Kind::Run),
            ("opencode run --attach http://localhost:4096 hello", Kind::Attach),
            ("opencode attach http://localhost:4096", Kind::Attach),
            ("opencode models", Kind::Other),
            ("opencode session list", Kind::Other),
            ("opencode mcp list", Kind::Other),
            ("opencode auth login", Kind::Other),
            ("opencode export ses_1", Kind::Other),
            ("opencode --version", Kind::Other),
            ("opencode serve --help", Kind::Serve),
        ] {
            assert_eq!(parsed(line).kind, kind, "{line}");
        }
    }

    #[test]
    fn a_session_is_read_in_every_spelling() {
        for line in [
            "opencode -s ses_1",
            "opencode -s=ses_1",
            "opencode -cs ses_1",
            "opencode --session ses_1",
            "opencode --session=ses_1 /home/u",
            "opencode run -s ses_1 go on",
            "opencode attach http://localhost:4096 --session ses_1",
            "opencode -s ses_0 -s ses_1",
        ] {
            assert_eq!(parsed(line).session.as_ref().map(SessionId::as_str), Some("ses_1"), "{line}");
        }
    }

    #[test]
    fn port_host_and_directory_are_read() {
        let serve = parsed("opencode serve --cors http://a http://b --hostname 0.0.0.0 --port=4123");
        assert_eq!(
            (serve.kind, serve.port, serve.hostname.as_deref()),
            (Kind::Serve, Some(4123), Some("0.0.0.0"))
        );
        assert_eq!(parsed("opencode ../project --port 0").directory.as_deref(), Some("../project"));
        assert_eq!(parsed("opencode ../project --port 0").port, Some(0));
        assert_eq!(parsed("opencode run --dir /x hello").directory.as_deref(), Some("/x"));
        assert_eq!(parsed("opencode acp --cwd /y").directory.as_deref(), Some("/y"));
        assert_eq!(parsed("opencode serve").directory, None);
    }

    #[test]
    fn a_hostile_command_line_yields_nothing_it_should_not() {
        for line in [
            "opencode --session",
            "opencode --session=",
            "opencode --session=../../etc/passwd",
            "opencode -s --port",
            "opencode --port -1",
            "opencode --port 99999999999999999999",
            "opencode --port=4096;reboot",
            "opencode -",
            "opencode --=x",
            "opencode -é",
            "opencode -=",
        ] {
            let read = parsed(line);
            assert_eq!((read.session, read.port), (None, None), "{line}");
        }
        let long = vec!["opencode".to_owned(), "--session".to_owned(), "s".repeat(1 << 20)];
        assert_eq!(Invocation::parse(&long).session, None);
        assert_eq!(Invocation::parse(&[]).kind, Kind::Tui);
        assert_eq!(Invocation::parse(&[String::new(), String::new()]).kind, Kind::Tui);
    }
}
