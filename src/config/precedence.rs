//! Who wins, and what is said to whoever is wrong.

use std::{fs, path::PathBuf, time::Duration};

use super::{Config, ConfigError, Environment, Journal, ServeArgs, ServerUrl, UnreachableOwner};

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with_file(text: &str) -> Self {
        let home = Self::new();
        fs::create_dir_all(home.file().parent().unwrap()).unwrap();
        fs::write(home.file(), text).unwrap();
        home
    }

    fn file(&self) -> PathBuf {
        self.0.path().join(".config/pointsman/pointsman.toml")
    }

    fn environment(&self) -> Environment {
        Environment::in_home(self.0.path())
    }

    fn load(&self) -> Result<Config, ConfigError> {
        Config::load(&ServeArgs::default(), &self.environment())
    }
}

fn sentence(result: Result<Config, ConfigError>) -> String {
    let sentence = result.unwrap_err().to_string();
    assert!(!sentence.contains('\n'), "one line: {sentence}");
    sentence
}

fn from_file(text: &str) -> String {
    sentence(Home::with_file(text).load())
}

fn from_variable(name: &str, value: &str) -> String {
    sentence(Config::load(&ServeArgs::default(), &Home::new().environment().with(name, value)))
}

fn from_flags(flags: &ServeArgs) -> String {
    sentence(Config::load(flags, &Home::new().environment()))
}

#[test]
fn flags_win_over_the_environment_the_environment_over_the_file_the_file_over_defaults() {
    let home = Home::with_file("listen = '127.0.0.1:1'\nlog = 'debug'\ntick = '3s'");
    let environment =
        home.environment().with("POINTSMAN_LISTEN", "127.0.0.1:2").with("POINTSMAN_LOG", "warn");
    let flags = ServeArgs { listen: Some("127.0.0.1:3".to_owned()), ..ServeArgs::default() };
    let config = Config::load(&flags, &environment).unwrap();
    assert_eq!(config.listen.port(), 3);
    assert_eq!(config.log, "warn");
    assert_eq!(config.discovery.tick, Duration::from_secs(3));
    assert_eq!(config.routing.merge_deadline, Duration::from_secs(2));
}

#[test]
fn without_any_word_the_defaults_hold() {
    let home = Home::new();
    let config = home.load().unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:4747");
    assert_eq!(config.state_dir, home.0.path().join(".local/state/pointsman"));
    assert!(config.discovery.scan && config.routing.owner_port && config.access.user_check);
    assert_eq!(config.routing.unreachable_owner, UnreachableOwner::Fallback);
    assert_eq!((config.access.token, config.base_path), (None, None));
}

#[test]
fn a_named_file_must_exist_and_the_usual_one_need_not() {
    assert!(Home::new().load().is_ok());
    let flags = ServeArgs { config: Some("/no/such.toml".into()), ..ServeArgs::default() };
    assert!(from_flags(&flags).contains("/no/such.toml cannot be read"));
    assert!(from_variable("POINTSMAN_CONFIG", "/no/such.toml").contains("/no/such.toml cannot be read"));
}

#[test]
fn every_key_can_come_from_the_environment() {
    let environment = Home::new()
        .environment()
        .with("POINTSMAN_LISTEN", "0.0.0.0:0")
        .with("POINTSMAN_BASE_PATH", "/oc")
        .with("POINTSMAN_STATE_DIR", "/tmp/x")
        .with("POINTSMAN_PORTS", "4096-4200")
        .with("POINTSMAN_SCAN", "false")
        .with("POINTSMAN_TICK", "200ms")
        .with("POINTSMAN_TOKEN", "123")
        .with("POINTSMAN_ALLOWED_HOSTS", "box, box.local")
        .with("POINTSMAN_CORS", "https://a.example,https://b.example")
        .with("POINTSMAN_USER_CHECK", "0")
        .with("POINTSMAN_OWNER_PORT", "false")
        .with("POINTSMAN_UNREACHABLE_OWNER", "refuse")
        .with("POINTSMAN_DEFAULT_SERVER", "http://127.0.0.1:4096")
        .with("POINTSMAN_CONNECT_TIMEOUT", "1s")
        .with("POINTSMAN_MERGE_DEADLINE", "1s")
        .with("POINTSMAN_CATALOGUE_TTL", "0s")
        .with("POINTSMAN_LOG", "pointsman=debug")
        .with("POINTSMAN_TITLES", "5000")
        .with("POINTSMAN_JOURNAL_PERSIST", "false")
        .with("POINTSMAN_JOURNAL_BYTES", "64MiB")
        .with("POINTSMAN_JOURNAL_AGE", "2h")
        .with("POINTSMAN_SPAWN_ENABLED", "true")
        .with("POINTSMAN_SPAWN_DIRECTORIES", "/a, /b c")
        .with("POINTSMAN_SPAWN_COMMAND", "/opt/opencode")
        .with("POINTSMAN_SPAWN_LIMIT", "2")
        .with("POINTSMAN_SPAWN_IDLE", "5m")
        .with("POINTSMAN_SPAWN_WAIT", "3s")
        .with("POINTSMAN_CREDENTIALS_USERNAME", "me")
        .with("POINTSMAN_CREDENTIALS_PASSWORD", "1234")
        .with("POINTSMAN_SERVER", "http://127.0.0.1:4096,http://127.0.0.1:4097")
        .with("POINTSMAN_URL", "http://127.0.0.1:4747");
    let config = Config::load(&ServeArgs::default(), &environment).unwrap();
    assert_eq!((config.routing.catalogue_ttl, config.routing.titles), (Duration::ZERO, 5000));
    let journal = Journal { persist: false, bytes: 64 << 20, age: Duration::from_hours(2) };
    assert_eq!(config.journal, journal);
    let spawn = config.spawn.unwrap();
    assert_eq!(spawn.directories, [PathBuf::from("/a"), PathBuf::from("/b c")]);
    assert_eq!((spawn.command, spawn.limit), (PathBuf::from("/opt/opencode"), 2));
    assert_eq!((spawn.idle, spawn.wait), (Duration::from_mins(5), Duration::from_secs(3)));
    assert_eq!(config.base_path.unwrap().as_str(), "/oc");
    assert_eq!(config.access.allowed_hosts.len(), 2);
    assert_eq!(config.access.cors.len(), 2);
    assert_eq!(config.discovery.servers.len(), 2);
    let credentials = config.discovery.credentials.unwrap();
    assert_eq!(credentials.username, "me");
    assert_eq!(credentials.password.expose(), "1234");
    assert_eq!(config.discovery.servers[0].credentials.as_ref().unwrap().username, "me");
    assert_eq!(config.access.token.unwrap().expose(), "123");
}

#[test]
fn servers_named_by_flags_replace_those_of_the_file() {
    let home = Home::with_file("[[server]]\nurl = 'http://127.0.0.1:1'\npassword = 'x'");
    let urls = |config: &Config| -> Vec<ServerUrl> {
        config.discovery.servers.iter().map(|server| server.url.clone()).collect()
    };
    let written = home.load().unwrap();
    assert_eq!(urls(&written)[0].port(), 1);
    assert_eq!(written.discovery.servers[0].credentials.as_ref().unwrap().username, "opencode");
    let flags = ServeArgs {
        server: vec!["http://127.0.0.1:2".to_owned(), "http://127.0.0.1:3".to_owned()],
        ..ServeArgs::default()
    };
    let config = Config::load(&flags, &home.environment()).unwrap();
    assert_eq!(urls(&config).iter().map(ServerUrl::port).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn an_unknown_key_is_told_with_its_place_and_its_neighbour() {
    let home = Home::with_file("lisen = 'x'");
    let file = home.file();
    assert_eq!(
        sentence(home.load()),
        format!("lisen in {} is not a key pointsman knows; did you mean listen?", file.display())
    );
    assert!(from_file("[credentials]\npasword = 'x'").contains("did you mean credentials.password?"));
    assert!(from_file("[[server]]\nurl = 'http://127.0.0.1:1'\nport = 1").contains("port"));
    assert!(from_file("colour = 'red'").contains("the keys are listen, base_path, state_dir"));
    assert_eq!(
        from_variable("POINTSMAN_TOKNE", "hunter2"),
        "POINTSMAN_TOKNE is not a key pointsman knows; did you mean POINTSMAN_TOKEN?"
    );
}

#[test]
fn a_value_of_the_wrong_kind_is_told_without_repeating_it() {
    assert!(from_file("tick = 1").contains("must be a string"));
    assert!(from_file("scan = 'no'").contains("must be a boolean"));
    assert!(from_file("cors = 'x'").contains("must be a list"));
    assert!(from_file("server = ['http://127.0.0.1:1']").contains("must be a table with a url"));
    assert!(from_file("[[server]]\nname = 'x'").contains("server.0.url"));
    let secret = from_file("token = 4711");
    assert!(secret.starts_with("token in ") && !secret.contains("4711"), "{secret}");
}

#[test]
fn a_broken_file_is_told_with_its_line_and_not_its_text() {
    let told = from_file("log = 'info'\ntoken = hunter2\n");
    assert!(told.contains("line 2") && !told.contains("hunter2"), "{told}");
}

#[test]
fn bad_values_are_told_under_the_name_they_were_written() {
    assert_eq!(
        from_flags(&ServeArgs { listen: Some("localhost".to_owned()), ..ServeArgs::default() }),
        "--listen: \"localhost\" is not an IP address and port such as 127.0.0.1:4747"
    );
    assert!(
        from_variable("POINTSMAN_TICK", "often").starts_with("POINTSMAN_TICK: \"often\" is not a duration")
    );
    assert!(
        from_variable("POINTSMAN_BASE_PATH", "/oc/")
            .starts_with("POINTSMAN_BASE_PATH: \"/oc/\" is not a path")
    );
    let reserved = ServeArgs { base_path: Some("/session".to_owned()), ..ServeArgs::default() };
    assert!(
        from_flags(&reserved).starts_with("--base-path: paths that begin with /session are answered already")
    );
    assert!(from_variable("POINTSMAN_TICK", "1h").contains("not between 50ms and 1m"));
    assert!(from_variable("POINTSMAN_CATALOGUE_TTL", "1h").contains("not between 0s and 10m"));
    assert!(from_variable("POINTSMAN_JOURNAL_BYTES", "64MB").contains("not an amount of bytes"));
    assert!(from_variable("POINTSMAN_JOURNAL_BYTES", "1MiB").contains("not between 32MiB and 64GiB"));
    assert!(from_variable("POINTSMAN_SCAN", "perhaps").contains("neither true nor false"));
    assert!(from_variable("POINTSMAN_TOKEN", "").contains("POINTSMAN_TOKEN: the value is empty"));
    assert!(from_variable("POINTSMAN_UNREACHABLE_OWNER", "x").contains("fallback and refuse"));
    assert!(from_variable("POINTSMAN_LOG", "a=b=c").contains("log filter"));
    assert!(from_variable("POINTSMAN_STATE_DIR", "~/x").contains("whole path"));
    assert!(from_file("[credentials]\nusername = 'x'").contains("password"));
    assert!(from_file("[credentials]\nusername = 'a:b'\npassword = 'x'").contains("colon"));
    let token = from_variable("POINTSMAN_TOKEN", "hunter 2");
    assert!(token.contains("visible ASCII") && !token.contains("hunter"), "{token}");
}

#[test]
fn listening_beyond_this_machine_needs_a_token() {
    for listen in ["0.0.0.0:4747", "192.0.2.1:4747", "[::]:4747"] {
        assert!(from_variable("POINTSMAN_LISTEN", listen).contains("a token is needed"), "{listen}");
        let environment =
            Home::new().environment().with("POINTSMAN_LISTEN", listen).with("POINTSMAN_TOKEN", "x");
        assert!(Config::load(&ServeArgs::default(), &environment).is_ok());
    }
    for listen in ["127.0.0.2:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        let environment = Home::new().environment().with("POINTSMAN_LISTEN", listen);
        assert!(Config::load(&ServeArgs::default(), &environment).is_ok(), "{listen}");
    }
}

#[test]
fn the_daemon_is_never_its_own_server() {
    for url in ["http://127.0.0.1:4747", "http://localhost:4747/"] {
        let flags = ServeArgs { server: vec![url.to_owned()], ..ServeArgs::default() };
        let told = from_flags(&flags);
        assert!(told.starts_with("--server: ") && told.contains("listens itself"), "{told}");
        assert!(from_variable("POINTSMAN_DEFAULT_SERVER", url).contains("listens itself"));
    }
    assert!(from_variable("POINTSMAN_SERVER", "http://127.0.0.1:1,http://127.0.0.1:1").contains("twice"));
}

#[test]
fn secrets_are_not_in_the_debug_output_of_a_configuration() {
    let home = Home::with_file(
        "token = 'hunter2'\n[credentials]\npassword = 'hunter2'\n[[server]]\nurl = 'http://127.0.0.1:1'\npassword = 'hunter2'",
    );
    assert!(!format!("{:?}", home.load().unwrap()).contains("hunter2"));
}

#[test]
fn servers_are_started_only_if_that_is_enabled_and_only_where_somebody_said() {
    assert_eq!(Home::new().load().unwrap().spawn, None);
    let listed = Home::with_file("[spawn]\ndirectories = ['/home/me/work']").load().unwrap();
    assert_eq!(listed.spawn, None, "not enabled");
    let told = from_file("[spawn]\nenabled = true");
    assert!(told.starts_with("spawn.enabled in ") && told.contains("list them"), "{told}");
    assert!(from_file("[spawn]\ndirectories = ['~/work']").contains("whole path"));
    assert!(from_file("[spawn]\nlimit = 0").contains("at least one"));
    assert!(from_file("[spawn]\nidle = '10ms'").contains("not between 1s and 30d"));
    assert!(from_variable("POINTSMAN_SPAWN_LIMIT", "few").contains("not a number"));
}
