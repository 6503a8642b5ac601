//! Requests that go round in circles.
//!
//! A pointsman may stand behind another one, and a chain is no loop; so `Via`, in which all of them have one name, is
//! not enough. Each daemon also adds an id of its own to `X-Pointsman-Hop`, and whoever finds its own refuses.
//! What strips that header is stopped by the length of `Via`. Both are written with the other headers of forwarding.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::Refusal;

/// The header in which every daemon passed leaves its id.
pub const HOP: HeaderName = HeaderName::from_static("x-pointsman-hop");

/// What we are called in `Via`.
const NAME: &str = "pointsman";

/// No chain anybody builds on purpose is longer: device, gateway, machine, container are four.
const MOST_HOPS: usize = 8;

/// The id of this run of the daemon: 16 hexadecimal digits, drawn at random.
#[derive(Clone, PartialEq, Eq)]
pub struct InstanceId(HeaderValue);

impl InstanceId {
    /// A fresh one. Two daemons of one chain draw the same once in 2⁶⁴ times.
    pub fn draw() -> Self {
        Self::from_bits(rand::random())
    }

    fn from_bits(bits: u64) -> Self {
        // Digits are always a valid header value.
        Self(HeaderValue::try_from(format!("{bits:016x}")).unwrap_or(HeaderValue::from_static("0")))
    }

    /// The id as the value of [`HOP`].
    pub fn header_value(&self) -> &HeaderValue {
        &self.0
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

pub(super) fn check(headers: &HeaderMap, own: &InstanceId) -> Result<(), Refusal> {
    let mut hops = 0;
    for hop in items(headers, &HOP) {
        hops += 1;
        if hop == own.0.as_bytes() || hops >= MOST_HOPS {
            return Err(Refusal::Loop);
        }
    }
    if items(headers, &header::VIA).filter(|item| is_ours(item)).count() >= MOST_HOPS {
        return Err(Refusal::Loop);
    }
    Ok(())
}

fn items<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let values = headers.get_all(name).into_iter();
    values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

/// Whether an item of `Via` (protocol, name, perhaps a comment) has our name.
fn is_ours(item: &[u8]) -> bool {
    let mut words = item.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    words.nth(1).is_some_and(|name| name.eq_ignore_ascii_case(NAME.as_bytes()))
}

/// What forwarding leaves on a request.
#[cfg(test)]
pub(super) fn mark(headers: &mut HeaderMap, own: &InstanceId) {
    headers.append(header::VIA, HeaderValue::from_static("1.1 pointsman"));
    headers.append(HOP, own.header_value().clone());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_comes_back_is_refused_and_a_chain_is_not() {
        let (first, second) = (InstanceId::from_bits(1), InstanceId::from_bits(2));
        let mut headers = HeaderMap::new();
        headers.insert(header::VIA, HeaderValue::from_static("1.1 nginx, 2 cdn (a comment)"));
        assert_eq!(check(&headers, &first), Ok(()));
        mark(&mut headers, &first);
        assert_eq!(check(&headers, &second), Ok(()));
        mark(&mut headers, &second);
        assert_eq!(check(&headers, &first), Err(Refusal::Loop));
        assert_eq!(check(&headers, &second), Err(Refusal::Loop));
    }

    #[test]
    fn a_chain_ends_after_eight_even_where_ids_are_stripped() {
        let mut headers = HeaderMap::new();
        for bits in 0..7 {
            mark(&mut headers, &InstanceId::from_bits(bits));
        }
        let own = InstanceId::from_bits(99);
        assert_eq!(check(&headers, &own), Ok(()));
        mark(&mut headers, &InstanceId::from_bits(7));
        assert_eq!(check(&headers, &own), Err(Refusal::Loop));
        headers.remove(HOP);
        assert_eq!(check(&headers, &own), Err(Refusal::Loop));
    }

    #[test]
    fn ids_joined_into_one_header_are_seen() {
        let own = InstanceId::from_bits(3);
        let joined = format!("0000000000000001 ,{}", own.as_str());
        let headers = HeaderMap::from_iter([(HOP, HeaderValue::try_from(joined).unwrap())]);
        assert_eq!(check(&headers, &own), Err(Refusal::Loop));
    }

    #[test]
    fn every_run_has_an_id_of_its_own() {
        assert_eq!(InstanceId::draw().as_str().len(), 16);
        assert_ne!(InstanceId::draw(), InstanceId::draw());
    }
}
