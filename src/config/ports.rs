//! A range of ports to look for servers on.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use thiserror::Error;

/// The widest range accepted: every port of it is tried again and again, and a machine's servers sit close together.
const MOST: usize = 1024;

/// Ports `first-last`, both included, at most 1024 of them, never 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports(RangeInclusive<u16>);

/// Why a text is not a range of ports.
#[derive(Debug, Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "the sentences say it")]
pub enum InvalidPorts {
    #[error("{0:?} is not a range of ports such as 4096-4200")]
    Shape(String),
    #[error("{0:?} ends before it begins; write the lower port first")]
    Backwards(String),
    #[error("{0:?} spans more than {MOST} ports; name a narrower range")]
    Wide(String),
}

impl Ports {
    /// The ports, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = u16> + use<> {
        self.0.clone()
    }

    /// The ports as a range.
    pub fn range(&self) -> RangeInclusive<u16> {
        self.0.clone()
    }

    /// Whether `port` is among them.
    pub fn contains(&self, port: u16) -> bool {
        self.0.contains(&port)
    }
}

impl FromStr for Ports {
    type Err = InvalidPorts;

    fn from_str(text: &str) -> Result<Self, InvalidPorts> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |digits: &str| digits.trim().parse::<u16>().ok().filter(|port| *port != 0);
        let (Some(first), Some(last)) = (port(first), port(last)) else {
            return Err(InvalidPorts::Shape(text.to_owned()));
        };
        if first > last {
            return Err(InvalidPorts::Backwards(text.to_owned()));
        }
        if usize::from(last - first) >= MOST {
            return Err(InvalidPorts::Wide(text.to_owned()));
        }
        Ok(Self(first..=last))
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.start(), self.0.end())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_port_is_a_range_too() {
        assert_eq!("4096".parse::<Ports>().unwrap().iter().collect::<Vec<_>>(), [4096]);
    }

    #[test]
    fn nonsense_is_refused_with_its_kind() {
        for text in ["", "-", "0-10", "4096-", "a-b", "1-70000", "1-2-3", "-5"] {
            assert_eq!(text.parse::<Ports>(), Err(InvalidPorts::Shape(text.to_owned())));
        }
        assert!(matches!("10-9".parse::<Ports>(), Err(InvalidPorts::Backwards(_))));
        assert!(matches!("1-65535".parse::<Ports>(), Err(InvalidPorts::Wide(_))));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_without_a_panic(text in ".{0,20}") {
            let _ = text.parse::<Ports>();
        }

        #[test]
        fn what_is_shown_reads_back_as_the_same_range(first in 1..=u16::MAX, more in 0..1024_u16) {
            let last = first.saturating_add(more);
            let ports: Ports = format!("{first}-{last}").parse().unwrap();
            prop_assert_eq!(ports.to_string().parse::<Ports>().unwrap(), ports.clone());
            prop_assert_eq!(ports.iter().count(), usize::from(last - first) + 1);
            prop_assert!(ports.contains(first) && ports.contains(last));
        }
    }
}
