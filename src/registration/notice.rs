//! `registration.json`: where a plugin finds the daemon, and the secret that they share.
//!
//! The file is for its owner alone and lies in the private state directory. It stays when the daemon ends: a plugin that
//! finds nobody there tries again, and whoever else listens there meanwhile cannot prove that it is us.

use std::{fs, net::SocketAddr, path::Path};

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::PROTOCOL;
use crate::{
    config::Secret,
    state_dir::{StateDir, StateDirError},
};

/// The file's name in the state directory.
pub const FILE: &str = "registration.json";

/// How many random bytes a secret is made of. It is written in hexadecimal digits.
const BYTES: usize = 32;

#[derive(Serialize)]
struct Written<'a> {
    protocol: u64,
    url: &'a str,
    secret: &'a str,
}

#[derive(Deserialize)]
struct Kept {
    secret: Secret,
}

/// Writes where we answer, with the secret of earlier runs, or a new one where there is none that can be used.
pub fn post(state_dir: &StateDir, url: &str) -> Result<Secret, StateDirError> {
    let secret = kept(&state_dir.path().join(FILE)).unwrap_or_else(draw);
    state_dir.put(FILE, &Written { protocol: PROTOCOL, url, secret: secret.expose() })?;
    Ok(secret)
}

/// Where a process of this machine connects to for what listens on `address`.
pub fn reached_at(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        std::net::IpAddr::V4(ip) if ip.is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn kept(path: &Path) -> Option<Secret> {
    let Kept { secret } = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let text = secret.expose();
    let whole = text.len() == 2 * BYTES && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    whole.then_some(secret)
}

fn draw() -> Secret {
    let bytes: [u8; BYTES] = rand::rng().random();
    super::challenge::hexadecimal(&bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(home: &Path) -> serde_json::Value {
        serde_json::from_slice(&fs::read(home.join(FILE)).unwrap()).unwrap()
    }

    #[test]
    fn the_secret_is_kept_over_restarts_while_the_url_is_written_anew() {
        let home = tempfile::tempdir().unwrap();
        let first = post(&StateDir::open(home.path()).unwrap(), "http://127.0.0.1:4747").unwrap();
        let before = written(home.path());
        assert_eq!(
            before,
            serde_json::json!({"protocol": 1, "url": "http://127.0.0.1:4747", "secret": first.expose()})
        );
        assert_eq!(first.expose().len(), 64);
        let second = post(&StateDir::open(home.path()).unwrap(), "http://127.0.0.1:9/oc").unwrap();
        assert!(first == second);
        assert_eq!(written(home.path())["url"], "http://127.0.0.1:9/oc");
    }

    #[test]
    fn a_damaged_secret_is_replaced_and_two_are_never_equal() {
        let home = tempfile::tempdir().unwrap();
        let state = StateDir::open(home.path()).unwrap();
        let mut seen = vec![post(&state, "u").unwrap().expose().to_owned()];
        let short = &seen[0][..63];
        let upper = seen[0].to_uppercase().replace(|digit: char| digit.is_ascii_digit(), "A");
        let bad = [String::new(), "{".into(), "[]".into(), format!(r#"{{"secret":"{short}"}}"#)];
        for text in bad.into_iter().chain([format!(r#"{{"secret":"{upper}"}}"#), r#"{"secret":5}"#.into()]) {
            fs::write(home.path().join(FILE), &text).unwrap();
            let secret = post(&state, "u").unwrap().expose().to_owned();
            assert!(secret.len() == 64 && !seen.contains(&secret), "{text}");
            seen.push(secret);
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_for_its_owner_alone_even_if_it_was_not() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        let state = StateDir::open(home.path()).unwrap();
        let file = home.path().join(FILE);
        for _ in 0..2 {
            post(&state, "u").unwrap();
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        }
    }

    #[test]
    fn a_wildcard_is_reached_by_loopback() {
        for (bound, reached) in [
            ("0.0.0.0:4747", "127.0.0.1:4747"),
            ("[::]:4747", "[::1]:4747"),
            ("127.0.0.2:1", "127.0.0.2:1"),
            ("192.0.2.7:1", "192.0.2.7:1"),
        ] {
            assert_eq!(reached_at(bound.parse().unwrap()), reached.parse().unwrap());
        }
    }
}
