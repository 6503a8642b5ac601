//! Which headers pass, which end here, and which we add.
//!
//! Hop-by-hop fields (RFC 9110, section 7.6.1) end at each hop. Everything else passes as it is.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, Entry},
};

use crate::guard::{HOP, InstanceId, SECRET};

/// The header that names the server which answered, and with which a client names the one it wants.
pub const SERVER: HeaderName = HeaderName::from_static("x-pointsman-server");
/// The header that tells why that server.
pub const ROUTE: HeaderName = HeaderName::from_static("x-pointsman-route");
/// The header that names what a merged answer lacks.
pub const PARTIAL: HeaderName = HeaderName::from_static("x-pointsman-partial");
/// The directory a request is about, where the query names none.
pub const DIRECTORY: HeaderName = HeaderName::from_static("x-opencode-directory");

const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The name by which the first client called us.
pub const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The scheme by which it did.
pub const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Our entry in `Via`.
const VIA: HeaderValue = HeaderValue::from_static("1.1 pointsman");
/// The same, as a line of a head.
pub const VIA_LINE: &[u8] = b"via: 1.1 pointsman\r\n";
/// What scripts of other origins may read of our answers.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "X-Pointsman-Server, X-Pointsman-Route, X-Pointsman-Partial, X-Pointsman-Cache, X-Pointsman-Error",
);

/// The same, as a line of a head.
pub const EXPOSED_LINE: &[u8] = b"access-control-expose-headers: \
    X-Pointsman-Server, X-Pointsman-Route, X-Pointsman-Partial, X-Pointsman-Cache, X-Pointsman-Error\r\n";

/// What we tell servers about one client's connection, written once.
#[derive(Clone, Debug)]
pub struct Forwarding {
    forwarded: HeaderValue,
    forwarded_for: HeaderValue,
    instance: HeaderValue,
    lines: Box<[u8]>,
}

impl Forwarding {
    /// For a client at `peer`, passing through the daemon called `instance`.
    pub fn new(peer: std::net::IpAddr, instance: &InstanceId) -> Self {
        let text = peer.to_canonical().to_string();
        let node = if text.contains(':') {
            format!("for=\"[{text}]\";proto=http")
        } else {
            format!("for={text};proto=http")
        };
        let value =
            |text: &str| HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        let hop = instance.as_str();
        let lines = format!("forwarded: {node}\r\nx-forwarded-for: {text}\r\nx-pointsman-hop: {hop}\r\n");
        Self {
            forwarded: value(&node),
            forwarded_for: value(&text),
            instance: instance.header_value().clone(),
            lines: [lines.as_bytes(), VIA_LINE].concat().into(),
        }
    }

    /// What [`Self::to_server`] adds to every request, as lines of a head.
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// Makes a client's headers those of our request to a server. `upgrading` keeps what an upgrade needs.
    pub fn to_server(&self, headers: &mut HeaderMap, upgrading: bool) {
        let upgrade = if upgrading { headers.get(header::UPGRADE).cloned() } else { None };
        let trailers = headers.get(header::TE).is_some_and(|te| lists(te, "trailers"));
        end_hop(headers);
        // The client has been told to go on by our own server side; the server is sent the body at once.
        headers.remove(header::EXPECT);
        if let Some(upgrade) = upgrade {
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, upgrade);
        }
        if trailers {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        // Said to us, and served by now.
        headers.remove(SERVER);
        headers.remove(SECRET);
        if let (Some(host), Entry::Vacant(place)) =
            (headers.get(header::HOST).cloned(), headers.entry(FORWARDED_HOST))
        {
            place.insert(host);
        }
        headers.entry(FORWARDED_PROTO).or_insert(const { HeaderValue::from_static("http") });
        headers.append(FORWARDED, self.forwarded.clone());
        headers.append(FORWARDED_FOR, self.forwarded_for.clone());
        headers.append(header::VIA, VIA);
        headers.append(HOP, self.instance.clone());
    }
}

/// Makes a server's headers those of our answer to a client.
pub fn to_client(headers: &mut HeaderMap, server: &HeaderValue, route: HeaderValue, upgraded: bool) {
    let upgrade = if upgraded { headers.get(header::UPGRADE).cloned() } else { None };
    end_hop(headers);
    if let Some(upgrade) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, upgrade);
    }
    headers.append(header::VIA, VIA);
    headers.insert(SERVER, server.clone());
    headers.insert(ROUTE, route);
    expose(headers);
}

/// Lets scripts of an allowed origin read our headers, beside those that the server lets them read.
pub fn expose(headers: &mut HeaderMap) {
    if headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.append(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

/// Whether a request asks to switch protocols, in both of the fields that this takes.
pub fn asks_upgrade(headers: &HeaderMap) -> bool {
    let connection = headers.get_all(header::CONNECTION).iter().any(|value| lists(value, "upgrade"));
    connection && headers.contains_key(header::UPGRADE)
}

/// The hop-by-hop fields, `Connection` apart.
const OF_ONE_HOP: [HeaderName; 7] = [
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Removes the hop-by-hop fields, those that `Connection` names included.
fn end_hop(headers: &mut HeaderMap) {
    // Most messages have none, and one look at the few names they have is cheaper than eight searches.
    if !headers.keys().any(|name| *name == header::CONNECTION || OF_ONE_HOP.contains(name)) {
        return;
    }
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(header::CONNECTION);
    }
    for name in OF_ONE_HOP {
        headers.remove(name);
    }
}

/// Whether a comma-separated header holds `word`.
pub fn lists(value: &HeaderValue, word: &str) -> bool {
    value.to_str().is_ok_and(|value| value.split(',').any(|item| item.trim().eq_ignore_ascii_case(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn forwarding() -> Forwarding {
        Forwarding::new([127, 0, 0, 1].into(), &InstanceId::draw())
    }

    #[test]
    fn fields_of_one_hop_end_here_and_all_others_pass() {
        let mut map = headers(&[
            ("connection", "keep-alive, x-private"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers, deflate"),
            ("host", "localhost:4747"),
            ("x-custom", "kept"),
            ("traceparent", "00-a-b-01"),
        ]);
        forwarding().to_server(&mut map, false);
        for gone in ["connection", "x-private", "keep-alive", "transfer-encoding"] {
            assert!(!map.contains_key(gone), "{gone}");
        }
        assert_eq!(map["te"], "trailers");
        assert_eq!(
            (&map["host"], &map["x-forwarded-host"]),
            (&"localhost:4747".parse().unwrap(), &"localhost:4747".parse().unwrap())
        );
        assert_eq!(
            (&map["x-custom"], &map["traceparent"]),
            (&"kept".parse().unwrap(), &"00-a-b-01".parse().unwrap())
        );
        assert_eq!(
            (&map["via"], &map["forwarded"]),
            (&"1.1 pointsman".parse().unwrap(), &"for=127.0.0.1;proto=http".parse().unwrap())
        );
    }

    #[test]
    fn earlier_hops_stay_in_the_list() {
        let mut map = headers(&[
            ("x-forwarded-for", "10.0.0.9"),
            ("via", "1.1 nginx"),
            ("x-forwarded-host", "oc.example"),
        ]);
        forwarding().to_server(&mut map, false);
        let all =
            |name: &str| map.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(all("x-forwarded-for"), ["10.0.0.9", "127.0.0.1"]);
        assert_eq!(all("via"), ["1.1 nginx", "1.1 pointsman"]);
        assert_eq!(all("x-forwarded-host"), ["oc.example"]);
    }

    #[test]
    fn an_upgrade_keeps_what_it_needs() {
        let mut map =
            headers(&[("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "x")]);
        forwarding().to_server(&mut map, true);
        assert_eq!(
            (&map["connection"], &map["upgrade"]),
            (&"upgrade".parse().unwrap(), &"websocket".parse().unwrap())
        );
        assert!(map.contains_key("sec-websocket-key"));
    }

    #[test]
    fn exposed_headers_are_added_to_never_replaced() {
        let mut map = headers(&[
            ("access-control-allow-origin", "http://localhost:3000"),
            ("access-control-expose-headers", "X-Next-Cursor"),
        ]);
        to_client(
            &mut map,
            &HeaderValue::from_static("127.0.0.1:1"),
            HeaderValue::from_static("default"),
            false,
        );
        let exposed: Vec<_> = map.get_all("access-control-expose-headers").iter().collect();
        assert_eq!(exposed.len(), 2);
        assert_eq!(exposed[0], "X-Next-Cursor");
    }
}
