//! The address of a server as a person writes it: `http://host:port`, and nothing more.

use std::{fmt, net::SocketAddr};

use thiserror::Error;
use url::{Host, Url};

/// An `http` URL of host and port, without path, query or credentials. A host that is an IP address is kept in its
/// canonical form, so equal addresses compare equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerUrl {
    host: Host<String>,
    port: u16,
}

/// Why a text is not a [`ServerUrl`].
#[derive(Debug, Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "the sentences say it")]
pub enum InvalidServerUrl {
    // Says nothing of the text: it holds a password.
    #[error(
        "a URL may not contain a user name or password; write a [[server]] table with url, username and password \
         into the configuration file"
    )]
    Credentials,
    #[error("{0:?} is not a URL of the form http://host:port")]
    Shape(String),
    #[error("{0:?} uses https, which this version does not speak to servers; write http://host:port")]
    Https(String),
    #[error("{0:?} names no port; write http://host:port, 4096 being OpenCode's usual one")]
    NoPort(String),
    #[error("{0:?} has a path, query or fragment; write http://host:port alone")]
    Beyond(String),
}

impl ServerUrl {
    /// Checks and keeps `text`. One `/` at the end is tolerated.
    pub fn try_new(text: &str) -> Result<Self, InvalidServerUrl> {
        if text.contains('@') {
            return Err(InvalidServerUrl::Credentials);
        }
        let shape = || InvalidServerUrl::Shape(text.to_owned());
        let url = Url::parse(text).map_err(|_| shape())?;
        match url.scheme() {
            "http" => {}
            "https" => return Err(InvalidServerUrl::Https(text.to_owned())),
            _ => return Err(shape()),
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidServerUrl::Beyond(text.to_owned()));
        }
        let host = url.host().ok_or_else(shape)?.to_owned();
        // The parser drops the scheme's own port, so a written ":80" is told from none by the text.
        let written_80 = text.trim_end_matches('/').ends_with(":80");
        let port = url.port().or(written_80.then_some(80));
        match port {
            None => Err(InvalidServerUrl::NoPort(text.to_owned())),
            Some(0) => Err(shape()),
            Some(port) => Ok(Self { host, port }),
        }
    }

    /// The host; an IPv6 address displays with its brackets.
    pub fn host(&self) -> &Host<String> {
        &self.host
    }

    /// The port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`, as a `Host` header has it.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Whether a daemon listening on `listen` would meet itself here. Other names of this machine are not known to
    /// be its own; the loop guard stops those.
    pub fn reaches(&self, listen: SocketAddr) -> bool {
        if self.port != listen.port() {
            return false;
        }
        let here = listen.ip().to_canonical();
        let there = match &self.host {
            Host::Ipv4(address) => (*address).into(),
            Host::Ipv6(address) => address.to_canonical(),
            Host::Domain(name) => {
                return name.eq_ignore_ascii_case("localhost")
                    && (here.is_loopback() || here.is_unspecified());
            }
        };
        there == here || there.is_unspecified() || (here.is_unspecified() && there.is_loopback())
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        ServerUrl::try_new(text).unwrap_err().to_string()
    }

    #[test]
    fn host_and_port_are_kept() {
        for (written, shown) in [
            ("http://127.0.0.1:4096", "http://127.0.0.1:4096"),
            ("http://localhost:4096/", "http://localhost:4096"),
            ("http://[::1]:4096", "http://[::1]:4096"),
            ("HTTP://Box.Local:80", "http://box.local:80"),
        ] {
            assert_eq!(ServerUrl::try_new(written).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn everything_else_is_refused_with_the_way_out() {
        assert!(refusal("https://127.0.0.1:4096").contains("https"));
        assert!(refusal("http://127.0.0.1").contains("names no port"));
        assert!(refusal("http://127.0.0.1:4096/x").contains("path"));
        assert!(refusal("http://127.0.0.1:4096/?a=b").contains("query"));
        for text in
            ["", "127.0.0.1:4096", "localhost:4096", "ftp://h:1", "http://h:0", "http://h:99999", "http://:1"]
        {
            assert!(refusal(text).contains("http://host:port"), "{text:?}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_refused_without_being_repeated() {
        for text in ["http://me:hunter2@127.0.0.1:4096", "https://me:hunter2@h:1/x", "me:hunter2@h:1"] {
            let sentence = refusal(text);
            assert!(sentence.contains("[[server]]") && !sentence.contains("hunter2"), "{sentence}");
        }
    }

    #[test]
    fn our_own_address_is_recognised_by_its_usual_names() {
        let reaches =
            |url: &str, listen: &str| ServerUrl::try_new(url).unwrap().reaches(listen.parse().unwrap());
        assert!(reaches("http://127.0.0.1:4747", "127.0.0.1:4747"));
        assert!(reaches("http://localhost:4747", "127.0.0.1:4747"));
        assert!(reaches("http://localhost:4747", "[::1]:4747"));
        assert!(reaches("http://127.0.0.1:4747", "0.0.0.0:4747"));
        assert!(reaches("http://0.0.0.0:4747", "127.0.0.1:4747"));
        assert!(reaches("http://[::ffff:127.0.0.1]:4747", "127.0.0.1:4747"));
        assert!(!reaches("http://127.0.0.1:4096", "127.0.0.1:4747"));
        assert!(!reaches("http://192.0.2.1:4747", "127.0.0.1:4747"));
    }
}
