//! A host beside loopback whose servers may register themselves.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{HostName, Problem};

/// A host's name, or the network that its address must lie in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedHost {
    /// A name, in lower case.
    Name(Box<str>),
    /// A network; a single address is one of its own.
    Network(IpNet),
}

impl AllowedHost {
    /// Checks and keeps `text`: a name, an address, or a network such as `10.0.0.0/8`.
    pub fn try_new(text: &str) -> Result<Self, Problem> {
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self::Network(network.trunc()));
        }
        Ok(match HostName::try_new(text)? {
            HostName::Name(name) => Self::Name(name),
            HostName::Address(address) => Self::Network(address.into()),
        })
    }

    /// Whether this is the host called `name`.
    pub fn is_name(&self, name: &str) -> bool {
        matches!(self, Self::Name(own) if **own == *name)
    }

    /// Whether the host at `address` is meant.
    pub fn holds(&self, address: IpAddr) -> bool {
        matches!(self, Self::Network(network) if network.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_addresses_and_networks_are_told_apart() {
        let network = AllowedHost::try_new("10.1.2.3/16").unwrap();
        assert!(network.holds([10, 1, 255, 1].into()) && !network.holds([10, 2, 0, 1].into()));
        let address = AllowedHost::try_new("192.0.2.7").unwrap();
        assert!(address.holds([192, 0, 2, 7].into()) && !address.holds([192, 0, 2, 8].into()));
        let name = AllowedHost::try_new("Box.Local").unwrap();
        assert!(name.is_name("box.local") && !name.holds([10, 1, 2, 3].into()));
        for text in ["", "*", "10.0.0.0/99", "http://box", "box:4096"] {
            assert!(AllowedHost::try_new(text).is_err(), "{text:?}");
        }
    }
}
