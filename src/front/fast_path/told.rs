//! A plain request as its server is told it.

use http::{HeaderName, header::AUTHORIZATION};

use super::request::Plain;
use crate::proxy::{
    headers::{self, Forwarding},
    upstream::Upstream,
};

/// `plain` in bytes, its body included: what the client said, then what we add.
pub(super) fn to_server(plain: &Plain<'_>, forwarding: &Forwarding, upstream: &Upstream) -> Vec<u8> {
    let mut told = Vec::with_capacity(plain.length() + forwarding.lines().len() + 256);
    let mut put = |part: &[u8]| told.extend_from_slice(part);
    put(plain.method.as_str().as_bytes());
    put(b" ");
    put(plain.target.as_bytes());
    put(b" HTTP/1.1\r\n");
    let mut line = |name: &str, value: &[u8]| {
        put(name.as_bytes());
        put(b": ");
        put(value);
        put(b"\r\n");
    };
    let is = |name: &str, other: &HeaderName| name.eq_ignore_ascii_case(other.as_str());
    let (mut names_host, mut names_scheme) = (false, false);
    for (name, value) in &plain.fields {
        names_host |= is(name, &headers::FORWARDED_HOST);
        names_scheme |= is(name, &headers::FORWARDED_PROTO);
        // What the server wants to be told comes from us.
        if upstream.authorization().is_none() || !is(name, &AUTHORIZATION) {
            line(name, value);
        }
    }
    if !names_host {
        line(headers::FORWARDED_HOST.as_str(), plain.host);
    }
    if !names_scheme {
        line(headers::FORWARDED_PROTO.as_str(), b"http");
    }
    if let Some(authorization) = upstream.authorization() {
        line(AUTHORIZATION.as_str(), authorization.as_bytes());
    }
    put(forwarding.lines());
    put(b"\r\n");
    put(plain.content);
    told
}
