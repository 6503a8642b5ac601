//! Addresses of our own making: what we answer ourselves, and paths that name a server outright.

use http::{HeaderMap, HeaderValue, Uri, uri::PathAndQuery};

use crate::proxy::headers;

/// Whether we answer `path` ourselves.
pub fn is_own(path: &str) -> bool {
    let first = path.strip_prefix('/').unwrap_or(path).split('/').next().unwrap_or_default();
    matches!(first, "servers" | "sessions" | "healthz" | "readyz" | "metrics" | "openapi.json")
        || path == "/api/opencode/servers"
}

/// A path that names a server, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Addressed<'p> {
    /// The server, by id or port.
    pub server: &'p str,
    /// The path that the server is to see, with a slash at its start.
    pub path: &'p str,
}

/// `/servers/{id}/proxy/…`, and the predecessor's `/api/opencode/{port}/…` and `/api/sse/{port}`.
pub fn addressed(path: &str) -> Option<Addressed<'_>> {
    if let Some(rest) = path.strip_prefix("/servers/") {
        let (server, rest) = rest.split_once('/')?;
        let path = rest.strip_prefix("proxy")?;
        return (path.is_empty() || path.starts_with('/'))
            .then_some(Addressed { server, path: if path.is_empty() { "/" } else { path } });
    }
    if let Some(server) = path.strip_prefix("/api/sse/") {
        return Some(Addressed { server: port(server)?, path: "/global/event" });
    }
    let rest = path.strip_prefix("/api/opencode/")?;
    let end = rest.find('/').unwrap_or(rest.len());
    let path = if end == rest.len() { "/" } else { &rest[end..] };
    Some(Addressed { server: port(&rest[..end])?, path })
}

/// Makes a request to an addressed path one that names its server in a header. `None` if the rest cannot stand as a
/// path.
pub fn rewrite(uri: &Uri, headers: &mut HeaderMap) -> Option<Uri> {
    let Addressed { server, path } = addressed(uri.path())?;
    let path_and_query: PathAndQuery = match uri.query() {
        Some(query) => format!("{path}?{query}").parse().ok()?,
        None => path.parse().ok()?,
    };
    headers.insert(headers::SERVER, HeaderValue::from_str(server).ok()?);
    Some(Uri::from(path_and_query))
}

fn port(text: &str) -> Option<&str> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    (digits && text.parse::<u16>().is_ok()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_names_a_server_is_taken_apart() {
        let of = |path| addressed(path).map(|addressed| (addressed.server, addressed.path));
        assert_eq!(of("/servers/srv_1/proxy/session/ses_1"), Some(("srv_1", "/session/ses_1")));
        assert_eq!(of("/servers/srv_1/proxy"), Some(("srv_1", "/")));
        assert_eq!(of("/servers/srv_1/proxyx"), None);
        assert_eq!(of("/servers/srv_1"), None);
        assert_eq!(of("/api/opencode/4096/session"), Some(("4096", "/session")));
        assert_eq!(of("/api/opencode/servers"), None);
        assert_eq!(of("/api/opencode/99999/session"), None);
        assert_eq!(of("/api/sse/4096"), Some(("4096", "/global/event")));
        assert_eq!(of("/api/session"), None);
    }

    #[test]
    fn the_query_stays_byte_for_byte() {
        let mut headers = HeaderMap::new();
        let uri: Uri = "/api/opencode/4096/find?query=a%2Fb+c&x".parse().unwrap();
        assert_eq!(rewrite(&uri, &mut headers).unwrap(), "/find?query=a%2Fb+c&x");
        assert_eq!(headers["x-pointsman-server"], "4096");
    }

    #[test]
    fn what_servers_answer_is_not_ours() {
        for path in ["/session", "/session/status", "/api/session", "/", "/assets/servers", "/serversx"] {
            assert!(!is_own(path), "{path}");
        }
        for path in ["/servers", "/servers/srv_1", "/sessions/ids", "/healthz", "/api/opencode/servers"] {
            assert!(is_own(path), "{path}");
        }
    }
}
