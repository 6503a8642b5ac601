//! A further name this daemon answers to.

use std::net::IpAddr;

use url::Host;

use super::Problem;

/// A host name in lower case or an IP address, without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostName {
    /// A name, as the domain name system or a hosts file knows it.
    Name(Box<str>),
    /// An address.
    Address(IpAddr),
}

impl HostName {
    /// Checks and keeps `text`; an IPv6 address may stand in brackets.
    pub fn try_new(text: &str) -> Result<Self, Problem> {
        let refused = || Problem::Host(text.to_owned());
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self::Address(address.to_canonical()));
        }
        if text.is_empty() || text.contains(['/', ':', '@', '*', '%']) {
            return Err(refused());
        }
        match Host::parse(text).map_err(|_| refused())? {
            Host::Domain(name) => Ok(Self::Name(name.into())),
            Host::Ipv4(address) => Ok(Self::Address(address.into())),
            Host::Ipv6(address) => Ok(Self::Address(address.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_kept_in_one_form() {
        assert_eq!(HostName::try_new("Box.Local").unwrap(), HostName::Name("box.local".into()));
        assert_eq!(HostName::try_new("[::1]").unwrap(), HostName::try_new("::1").unwrap());
        assert_eq!(HostName::try_new("192.0.2.1").unwrap(), HostName::Address([192, 0, 2, 1].into()));
    }

    #[test]
    fn anything_but_a_bare_host_is_refused() {
        for text in ["", "*", "*.example.com", "http://box", "box:4747", "a@b", "a b", "box/"] {
            assert!(HostName::try_new(text).is_err(), "{text:?}");
        }
    }
}
