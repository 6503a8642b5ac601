//! The configuration as meant: checked, with every default filled in, cut into the parts that receive it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use humantime_serde::re::humantime;

use super::{
    AllowedHost, BasePath, ConfigError, CorsOrigin, Environment, HostName, Ports, Problem, Secret, ServeArgs,
    ServerUrl, Spawn, Written,
    amount::amount,
    layer::{Layer, Layers},
    written::{WrittenCredentials, WrittenServer},
};

/// Loopback: who listens wider says so and sets a token. The port is the one of every example and saved link.
const LISTEN: &str = "127.0.0.1:4747";
/// The user name `OpenCode` expects unless `OPENCODE_SERVER_USERNAME` says otherwise.
const USERNAME: &str = "opencode";
/// A new server is to be in within a second of its first answer, and may have to be asked twice.
const TICK: &str = "500ms";
/// A healthy server on this machine accepts in microseconds, one across a slow link in a few hundred milliseconds.
const CONNECT_TIMEOUT: &str = "2s";
/// A session list of thousands takes a few hundred milliseconds; a person waits two seconds without reloading.
const MERGE_DEADLINE: &str = "2s";
/// Changes are noticed by themselves; this bounds how long one goes unseen that nothing tells of. A person who starts
/// several clients does so within half a minute.
const CATALOGUE_TTL: &str = "30s";
/// Ten years of a busy person's sessions, in less than 10 MB.
const TITLES: u32 = 100_000;
/// A day of what one person's agents say in all but the busiest times.
const JOURNAL_BYTES: &str = "256MiB";
/// Who closed the lid in the evening comes back in the morning.
const JOURNAL_AGE: &str = "1d";
/// A page that lost its stream has it again within seconds, a laptop that slept within minutes.
const CATCH_UP_WINDOW: &str = "10m";
/// Some hundred turns with what their tools printed.
const CATCH_UP_BYTES: &str = "64MiB";
/// What a page takes in without being felt.
const CATCH_UP_LATE: &str = "8MiB";
/// Half of what is kept in memory of the events themselves.
const CATCH_UP_LAG: &str = "32MiB";
const LOG: &str = "info";
/// Longer is no token but a mistake, and the guard decodes it in place on the stack.
const LONGEST_TOKEN: usize = 256;

/// What the daemon was told, valid and complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where to listen; port 0 means any free one.
    pub listen: SocketAddr,
    /// The path under which everything is served to those who come through a proxy.
    pub base_path: Option<BasePath>,
    /// Absolute path of the state directory, which may not exist yet.
    pub state_dir: PathBuf,
    /// Filter directives for the log.
    pub log: String,
    /// For the search for servers.
    pub discovery: Discovery,
    /// For the guard at the door.
    pub access: Access,
    /// For the choice of a server and the forwarding to it.
    pub routing: Routing,
    /// For the servers that are started where none runs; `None`: none ever.
    pub spawn: Option<Spawn>,
    /// For what is kept of events.
    pub journal: Journal,
    /// For what those are told who come late or read slowly.
    pub catch_up: CatchUp,
}

/// What is told of what changed lately instead of each event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatchUp {
    /// What changed so long ago is told; nought: nothing is.
    pub window: Duration,
    /// At most as many bytes are kept for it.
    pub bytes: usize,
    /// At most as many are told to one who comes late.
    pub late: usize,
    /// One who is as many bytes of events behind reads slowly.
    pub lag: u64,
}

/// What is kept of events, so that clients that were away are told what they have missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Journal {
    /// Whether it is kept in files, and so over a restart.
    pub persist: bool,
    /// At most as many bytes of files.
    pub bytes: u64,
    /// At most so far back.
    pub age: Duration,
}

/// Where servers are looked for, and with what they are opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Discovery {
    /// Servers used whether or not they are found.
    pub servers: Vec<ConfiguredServer>,
    /// For servers that were found and want a password.
    pub credentials: Option<Credentials>,
    /// Local ports to try.
    pub ports: Option<Ports>,
    /// Whether to look through this machine's listening sockets.
    pub scan: bool,
    /// Time from one look to the next.
    pub tick: Duration,
    /// How long a connection to a server may take to come about.
    pub connect_timeout: Duration,
    /// Hosts beside loopback whose servers may register themselves.
    pub registrants: Vec<AllowedHost>,
}

/// One server the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredServer {
    /// Its address.
    pub url: ServerUrl,
    /// What a person calls it.
    pub name: Option<String>,
    /// Its own, else the default ones.
    pub credentials: Option<Credentials>,
}

/// What opens a server with a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Without a colon.
    pub username: String,
    /// Not empty.
    pub password: Secret,
}

/// Who may come in.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    /// What clients must present, if anything: 1 to 256 visible ASCII characters.
    pub token: Option<Secret>,
    /// Host names answered to beside the loopback ones.
    pub allowed_hosts: Vec<HostName>,
    /// Origins of web pages let in beside those every `OpenCode` server lets in.
    pub cors: Vec<CorsOrigin>,
    /// Whether a loopback client without a token must belong to the daemon's own user.
    pub user_check: bool,
}

/// How a server is chosen and asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Routing {
    /// The server for what belongs to nobody in particular.
    pub default_server: Option<ServerUrl>,
    /// What to do with a turn whose owner has no address.
    pub unreachable_owner: UnreachableOwner,
    /// Whether sessions in merged lists carry `ownerPort`.
    pub owner_port: bool,
    /// How long a connection to a server may take to come about.
    pub connect_timeout: Duration,
    /// How long a merged answer waits for its slowest server.
    pub merge_deadline: Duration,
    /// How long an answer of the catalogue (providers, models, agents, commands) is kept; nought: not at all.
    pub catalogue_ttl: Duration,
    /// Of about how many sessions the titles are kept.
    pub titles: usize,
}

/// What happens to a turn for a session whose owner is known to run and cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnreachableOwner {
    /// It goes to the best other server, marked as such.
    Fallback,
    /// It is refused.
    Refuse,
}

impl Config {
    /// Reads file, environment and flags, the later winning, and checks the whole. Opens nothing but the file.
    pub fn load(flags: &ServeArgs, environment: &Environment) -> Result<Self, ConfigError> {
        let named = flags.config.clone().or_else(|| environment.get("POINTSMAN_CONFIG").map(PathBuf::from));
        let required = named.is_some();
        let file = match named.or_else(|| environment.default_config_file()) {
            Some(path) => Layer::from_file(&path, required)?,
            None => None,
        };
        let rest = [Layer::from_environment(environment)?, Layer::from_flags(flags)?];
        let layers = Layers(file.into_iter().chain(rest).collect());
        Self::mean(layers.merge()?, &layers, environment)
    }

    fn mean(written: Written, layers: &Layers, environment: &Environment) -> Result<Self, ConfigError> {
        let at = |key: &'static str| {
            move |problem: Problem| ConfigError::Value { name: layers.name(key), problem }
        };
        let listen = listen(written.listen.as_deref().unwrap_or(LISTEN)).map_err(at("listen"))?;
        let token = written.token.map(token).transpose().map_err(at("token"))?;
        if token.is_none() && !listen.ip().to_canonical().is_loopback() {
            return Err(ConfigError::OpenToOthers { name: layers.name("listen"), listen });
        }
        let base_path = BasePath::try_new(written.base_path.as_deref().unwrap_or_default());
        let base_path = base_path.map_err(at("base_path"))?;
        let state_dir = match written.state_dir {
            Some(path) => absolute(path).map_err(at("state_dir"))?,
            None => environment.default_state_dir().ok_or(ConfigError::NoHome)?,
        };
        let log = written.log.unwrap_or_else(|| LOG.to_owned());
        filter(&log).map_err(at("log"))?;

        let journal = written.journal.unwrap_or_default();
        let catch_up = written.catch_up.unwrap_or_default();
        let spawn = Spawn::read(written.spawn.unwrap_or_default());
        let spawn = spawn.map_err(|(key, problem)| at(key)(problem))?;
        let credentials = written.credentials.unwrap_or_default();
        let credentials = opens(credentials).map_err(at("credentials.username"))?;
        let servers = servers(written.server.unwrap_or_default(), listen, credentials.as_ref());
        let default_server = written.default_server.map(|url| foreign(&url, listen)).transpose();
        let duration = |key, written: Option<String>, default: &str, least, most| {
            duration(written.as_deref().unwrap_or(default), least, most).map_err(at(key))
        };
        let bytes = |key, written: Option<String>, default: &str, least, most| {
            amount(written.as_deref().unwrap_or(default), least, most).map_err(at(key))
        };
        let connect_timeout =
            duration("connect_timeout", written.connect_timeout, CONNECT_TIMEOUT, "10ms", "1m")?;

        Ok(Self {
            listen,
            base_path,
            state_dir,
            log,
            discovery: Discovery {
                servers: servers.map_err(at("server"))?,
                credentials,
                ports: written
                    .ports
                    .map(|text| text.parse())
                    .transpose()
                    .map_err(|fault: super::InvalidPorts| at("ports")(fault.into()))?,
                scan: written.scan.unwrap_or(true),
                // Below, a look is not over before the next begins; above, a dead server is noticed too late.
                tick: duration("tick", written.tick, TICK, "50ms", "1m")?,
                connect_timeout,
                registrants: each(written.allowed_registrations, AllowedHost::try_new)
                    .map_err(at("allowed_registrations"))?,
            },
            access: Access {
                token,
                allowed_hosts: each(written.allowed_hosts, HostName::try_new).map_err(at("allowed_hosts"))?,
                cors: each(written.cors, CorsOrigin::try_new).map_err(at("cors"))?,
                user_check: written.user_check.unwrap_or(true),
            },
            spawn,
            routing: Routing {
                default_server: default_server.map_err(at("default_server"))?,
                unreachable_owner: UnreachableOwner::read(written.unreachable_owner.as_deref())
                    .map_err(at("unreachable_owner"))?,
                owner_port: written.owner_port.unwrap_or(true),
                connect_timeout,
                merge_deadline: duration(
                    "merge_deadline",
                    written.merge_deadline,
                    MERGE_DEADLINE,
                    "10ms",
                    "1m",
                )?,
                catalogue_ttl: duration("catalogue_ttl", written.catalogue_ttl, CATALOGUE_TTL, "0s", "10m")?,
                titles: written.titles.unwrap_or(TITLES) as usize,
            },
            journal: Journal {
                persist: journal.persist.unwrap_or(true),
                // The largest event that is read must fit.
                bytes: bytes("journal.bytes", journal.bytes, JOURNAL_BYTES, "32MiB", "64GiB")?,
                age: duration("journal.age", journal.age, JOURNAL_AGE, "1m", "30d")?,
            },
            catch_up: CatchUp {
                window: duration("catch_up.window", catch_up.window, CATCH_UP_WINDOW, "0s", "1h")?,
                bytes: in_memory(bytes("catch_up.bytes", catch_up.bytes, CATCH_UP_BYTES, "1MiB", "2GiB")?),
                late: in_memory(bytes("catch_up.late", catch_up.late, CATCH_UP_LATE, "64KiB", "1GiB")?),
                // The log itself holds 64 MiB.
                lag: bytes("catch_up.lag", catch_up.lag, CATCH_UP_LAG, "1MiB", "64MiB")?,
            },
        })
    }
}

/// An amount that a part of memory is to hold. None that is allowed is too large for any machine.
fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl UnreachableOwner {
    fn read(written: Option<&str>) -> Result<Self, Problem> {
        match written {
            None | Some("fallback") => Ok(Self::Fallback),
            Some("refuse") => Ok(Self::Refuse),
            Some(other) => {
                Err(Problem::Choice { written: other.to_owned(), choices: &["fallback", "refuse"] })
            }
        }
    }
}

fn listen(text: &str) -> Result<SocketAddr, Problem> {
    text.parse().map_err(|_| Problem::Listen(text.to_owned()))
}

fn token(secret: Secret) -> Result<Secret, Problem> {
    let text = secret.expose();
    if text.is_empty() {
        return Err(Problem::Empty);
    }
    if text.len() > LONGEST_TOKEN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Problem::Token);
    }
    Ok(secret)
}

pub(super) fn absolute(path: String) -> Result<PathBuf, Problem> {
    if path.is_empty() {
        return Err(Problem::EmptyPath);
    }
    if path.starts_with('~') {
        return Err(Problem::Tilde(path));
    }
    std::path::absolute(&path).map_err(|source| Problem::Path { path, source })
}

fn filter(text: &str) -> Result<(), Problem> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(()),
        Err(fault) => Err(Problem::Filter { written: text.to_owned(), reason: fault.to_string() }),
    }
}

fn opens(written: WrittenCredentials) -> Result<Option<Credentials>, Problem> {
    match (written.username, written.password) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(Problem::NoPassword),
        (_, Some(password)) if password.expose().is_empty() => Err(Problem::Empty),
        (Some(username), Some(_)) if username.contains(':') => Err(Problem::UserName),
        (username, Some(password)) => {
            Ok(Some(Credentials { username: username.unwrap_or_else(|| USERNAME.to_owned()), password }))
        }
    }
}

fn foreign(text: &str, listen: SocketAddr) -> Result<ServerUrl, Problem> {
    let url = ServerUrl::try_new(text)?;
    if url.reaches(listen) {
        return Err(Problem::OwnAddress(url.to_string()));
    }
    Ok(url)
}

fn servers(
    written: Vec<WrittenServer>,
    listen: SocketAddr,
    default: Option<&Credentials>,
) -> Result<Vec<ConfiguredServer>, Problem> {
    let mut servers: Vec<ConfiguredServer> = Vec::with_capacity(written.len());
    for server in written {
        let url = foreign(&server.url, listen)?;
        if servers.iter().any(|other| other.url == url) {
            return Err(Problem::Twice(url.to_string()));
        }
        let own = opens(WrittenCredentials { username: server.username, password: server.password })?;
        servers.push(ConfiguredServer {
            url,
            name: server.name,
            credentials: own.or_else(|| default.cloned()),
        });
    }
    Ok(servers)
}

pub(super) fn duration(text: &str, least: &'static str, most: &'static str) -> Result<Duration, Problem> {
    let parse = |text: &str| humantime::parse_duration(text).map_err(|_| Problem::Duration(text.to_owned()));
    let length = parse(text)?;
    if length < parse(least)? || length > parse(most)? {
        return Err(Problem::OutOfRange { written: text.to_owned(), least, most });
    }
    Ok(length)
}

fn each<T>(
    written: Option<Vec<String>>,
    read: impl Fn(&str) -> Result<T, Problem>,
) -> Result<Vec<T>, Problem> {
    written.unwrap_or_default().iter().map(|text| read(text)).collect()
}
