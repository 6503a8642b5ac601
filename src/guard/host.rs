//! Which names this daemon may be called by.
//!
//! A web page can point a name of its own at 127.0.0.1 (DNS rebinding); its requests are then same-origin for the
//! browser and only the `Host` tells. So a name counts only if it is known to be ours. An IP address cannot be
//! rebound, and yet on loopback only loopback addresses count: nothing else can mean this daemon there.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{Version, header, request::Parts};

use super::{Refusal, refusal::quoted};
use crate::config::HostName;

/// The names that are ours, whatever the port: tunnels and port forwards change it.
#[derive(Debug)]
pub(super) struct Hosts {
    bound: IpAddr,
    allowed: Vec<HostName>,
}

impl Hosts {
    pub(super) fn new(bound: SocketAddr, allowed: Vec<HostName>) -> Self {
        Self { bound: bound.ip().to_canonical(), allowed }
    }

    /// Both the request target (in its absolute form) and the `Host` header must name us, as either may be what a
    /// server behind goes by.
    pub(super) fn check(&self, request: &Parts) -> Result<(), Refusal> {
        if let Some(authority) = request.uri.authority() {
            self.check_one(authority.as_str().as_bytes())?;
        }
        let mut hosts = request.headers.get_all(header::HOST).iter();
        match (hosts.next(), hosts.next()) {
            (Some(host), None) => self.check_one(host.as_bytes()),
            // Older clients need not name a host; browsers always do.
            (None, None) if request.version < Version::HTTP_11 => Ok(()),
            _ => Err(Refusal::HostMalformed),
        }
    }

    /// Whether `authority` names us.
    pub(super) fn check_one(&self, authority: &[u8]) -> Result<(), Refusal> {
        let host = host_of(authority).ok_or(Refusal::HostMalformed)?;
        if self.knows(&host) { Ok(()) } else { Err(Refusal::HostUnknown(quoted(authority))) }
    }

    fn knows(&self, host: &Host<'_>) -> bool {
        match host {
            Host::Address(address) if address.is_unspecified() => false,
            Host::Address(address) => {
                address.is_loopback()
                    || *address == self.bound
                    || !self.bound.is_loopback()
                    || self
                        .allowed
                        .iter()
                        .any(|name| matches!(name, HostName::Address(own) if own == address))
            }
            Host::Name(text) => {
                text.eq_ignore_ascii_case("localhost")
                    || self
                        .allowed
                        .iter()
                        .any(|name| matches!(name, HostName::Name(own) if own.eq_ignore_ascii_case(text)))
            }
        }
    }
}

/// The host of an authority.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Host<'a> {
    Name(&'a str),
    Address(IpAddr),
}

impl Host<'_> {
    /// Whether it can only mean this machine.
    pub(super) fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => name.eq_ignore_ascii_case("localhost"),
            Self::Address(address) => address.is_loopback(),
        }
    }
}

/// The host of `host` or `host:port`; `None` for anything else, user names included.
pub(super) fn host_of(authority: &[u8]) -> Option<Host<'_>> {
    let text = str::from_utf8(authority).ok()?;
    let (host, rest) = if let Some(inner) = text.strip_prefix('[') {
        let (address, rest) = inner.split_once(']')?;
        (Host::Address(IpAddr::V6(address.parse::<Ipv6Addr>().ok()?).to_canonical()), rest)
    } else {
        let end = text.find(':').unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if name.is_empty() || !name.bytes().all(plain) {
            return None;
        }
        (name.parse().map_or(Host::Name(name), Host::Address), rest)
    };
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Some(host),
        Some(port) if port.parse::<u16>().is_ok() => Some(host),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hosts(bound: &str, allowed: &[&str]) -> Hosts {
        let allowed = allowed.iter().map(|name| HostName::try_new(name).unwrap()).collect();
        Hosts::new(bound.parse().unwrap(), allowed)
    }

    fn accepts(hosts: &Hosts, host: &str) -> bool {
        hosts.check_one(host.as_bytes()).is_ok()
    }

    #[test]
    fn on_loopback_the_loopback_names_and_the_allowed_ones_are_ours() {
        let hosts = hosts("127.0.0.1:4747", &["box.local", "192.0.2.7"]);
        for host in
            ["localhost", "LocalHost:1", "127.0.0.1:4747", "127.9.9.9", "[::1]:80", "[::ffff:127.0.0.1]"]
        {
            assert!(accepts(&hosts, host), "{host}");
        }
        for host in ["BOX.local:4747", "192.0.2.7"] {
            assert!(accepts(&hosts, host), "{host}");
        }
        for host in ["192.0.2.8", "evil.example", "0.0.0.0:4747", "[::]:4747", "localhost.evil.example"] {
            assert!(!accepts(&hosts, host), "{host}");
        }
    }

    #[test]
    fn beyond_loopback_every_address_is_ours_and_names_only_if_allowed() {
        let hosts = hosts("0.0.0.0:4747", &["box.local"]);
        for host in ["192.0.2.8:4747", "[2001:db8::1]", "localhost", "box.local"] {
            assert!(accepts(&hosts, host), "{host}");
        }
        for host in ["evil.example:4747", "0.0.0.0:4747"] {
            assert!(!accepts(&hosts, host), "{host}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_host_or_none_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = host_of(&bytes);
        }
    }
}
