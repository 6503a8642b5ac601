//! Which web pages may use this daemon.
//!
//! Browsers let any page send requests anywhere and only hide the answers; a prompt that was sent has run. So what a
//! browser says about a request's cause is checked before it acts: `Origin` where there is one, else
//! `Sec-Fetch-Site`. Clients that are no browsers send neither and pass.
//!
//! The origins every `OpenCode` server lets in are let in here (measured on 1.18.33; its own test of
//! `http://localhost:` looks at the start alone, ours also wants a port after it).

use http::{HeaderMap, HeaderValue, Method, header, request::Parts};

use super::{Refusal, host::host_of, refusal::quoted};
use crate::config::CorsOrigin;

const SITE: &str = "sec-fetch-site";
const MODE: &str = "sec-fetch-mode";
const DEST: &str = "sec-fetch-dest";

/// The desktop apps' own.
const APPS: [&str; 4] =
    ["oc://renderer", "tauri://localhost", "http://tauri.localhost", "https://tauri.localhost"];

#[derive(Debug)]
pub(super) struct Origins {
    configured: Vec<CorsOrigin>,
}

impl Origins {
    pub(super) fn new(configured: Vec<CorsOrigin>) -> Self {
        Self { configured }
    }

    pub(super) fn check(&self, request: &Parts) -> Result<(), Refusal> {
        let mut origins = request.headers.get_all(header::ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => caused_by_us(request),
            (Some(origin), None) if self.trusts(origin, &request.headers) => Ok(()),
            (Some(origin), _) => Err(Refusal::OriginUnknown(quoted(origin.as_bytes()))),
        }
    }

    /// Whether pages of `origin` may use us; `headers` are those of the request, whose `Host` has been checked.
    pub(super) fn trusts(&self, origin: &HeaderValue, headers: &HeaderMap) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        is_own(origin, headers)
            || is_opencodes(origin)
            || self.configured.iter().any(|configured| configured.as_str() == origin)
    }
}

/// A page served through us names the host it reached us by. `https` too: someone may have put TLS in front.
fn is_own(origin: &str, headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return false };
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.as_bytes().eq_ignore_ascii_case(host.as_bytes()))
}

fn is_opencodes(origin: &str) -> bool {
    let local =
        ["http://localhost:", "http://127.0.0.1:"].iter().find_map(|start| origin.strip_prefix(start));
    if let Some(port) = local {
        // `parse` alone would let "+1" through.
        return port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    }
    if let Some(host) = origin.strip_prefix("https://")
        && let Some(labels) = host.strip_suffix("opencode.ai")
    {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        return labels.is_empty()
            || labels.strip_suffix('.').is_some_and(|labels| {
                labels.split('.').all(|label| !label.is_empty() && label.bytes().all(plain))
            });
    }
    APPS.contains(&origin)
}

/// What a request without an `Origin` says about its cause. Browsers leave `Origin` out only of GET and HEAD that no
/// script could read: navigations, images, scripts, styles.
fn caused_by_us(request: &Parts) -> Result<(), Refusal> {
    let headers = &request.headers;
    match headers.get(SITE).map(HeaderValue::as_bytes) {
        // No browser, or one too old to say; or a person typed the address; or a page of ours.
        None | Some(b"none" | b"same-origin") => Ok(()),
        // On loopback the site is the machine itself, whose pages are let in with an `Origin` too. Under another
        // name it is every page of the same registered domain, and nobody has vouched for those.
        Some(b"same-site") if reached_by_loopback(headers) => Ok(()),
        Some(_) if is_followed_link(request) => Ok(()),
        Some(_) => Err(Refusal::CrossSite),
    }
}

fn reached_by_loopback(headers: &HeaderMap) -> bool {
    headers.get(header::HOST).and_then(|host| host_of(host.as_bytes())).is_some_and(|host| host.is_loopback())
}

/// A person followed a link to us: a whole page that shows what it got. Frames are not: a page could lay its own
/// buttons over ours. An event stream and a `WebSocket` are no navigations.
fn is_followed_link(request: &Parts) -> bool {
    let says = |name, value: &str| request.headers.get(name).is_some_and(|said| said == value);
    request.method == Method::GET && says(MODE, "navigate") && says(DEST, "document")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origins_opencode_lets_in_are_let_in() {
        for origin in [
            "http://localhost:3000",
            "http://127.0.0.1:5",
            "https://opencode.ai",
            "https://app.opencode.ai",
            "https://a.b.opencode.ai",
            "oc://renderer",
            "tauri://localhost",
            "http://tauri.localhost",
            "https://tauri.localhost",
        ] {
            assert!(is_opencodes(origin), "{origin}");
        }
    }

    #[test]
    fn a_page_served_through_us_is_ours_by_whatever_name_it_was_reached() {
        let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("[::1]:4747"))]);
        assert!(is_own("http://[::1]:4747", &headers));
        assert!(is_own("https://[::1]:4747", &headers));
        assert!(!is_own("http://[::1]:4748", &headers));
        assert!(!is_own("ftp://[::1]:4747", &headers));
        assert!(!is_own("http://[::1]:4747", &HeaderMap::new()));
    }
}
