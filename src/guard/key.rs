//! The secret of `registration.json`, which some requests need whatever token there is.
//!
//! Who registers a server decides where turns go, so this is for those who can read the daemon's own file. No web page
//! can, and none is let near: not even one whose origin is trusted otherwise.

use http::{HeaderName, Method, header, request::Parts};
use subtle::ConstantTimeEq as _;

use super::Refusal;
use crate::config::Secret;

/// The header that presents the secret.
pub const SECRET: HeaderName = HeaderName::from_static("x-pointsman-secret");

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// What everybody needs.
    Common,
    /// Nothing, for the daemon proves itself there before a secret is told; but it must not come from a web page.
    Challenge,
    /// The secret, and it must not come from a web page.
    Locked,
}

/// The secret asked for.
#[derive(Debug)]
pub(super) struct Key(Secret);

impl Key {
    pub(super) fn new(secret: Secret) -> Self {
        Self(secret)
    }

    /// Whether the request is let in by what is said here: `Ok(false)` if it is none of those that need the secret.
    pub(super) fn opens(&self, request: &Parts) -> Result<bool, Refusal> {
        let door = door(request);
        if door == Door::Common {
            return Ok(false);
        }
        if from_a_page(request) {
            return Err(Refusal::PageRefused);
        }
        if door == Door::Challenge || self.is_presented(request) {
            return Ok(true);
        }
        Err(Refusal::SecretNeeded)
    }

    /// Takes as long for a wrong text as for the right one of the same length.
    fn is_presented(&self, request: &Parts) -> bool {
        let mut presented = request.headers.get_all(SECRET).iter();
        match (presented.next(), presented.next()) {
            (Some(text), None) => self.0.expose().as_bytes().ct_eq(text.as_bytes()).into(),
            _ => false,
        }
    }
}

fn door(request: &Parts) -> Door {
    // A browser asks first whether it may; what it asks for is what counts.
    let method = match request.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD) {
        Some(asked) if request.method == Method::OPTIONS => {
            Method::from_bytes(asked.as_bytes()).unwrap_or_default()
        }
        _ => request.method.clone(),
    };
    let path = request.uri.path();
    let changes = method == Method::PUT || method == Method::DELETE;
    let below = |start: &str| path.strip_prefix(start).map(|rest| rest.split('/').collect::<Vec<_>>());
    match below("/servers").as_deref() {
        Some([""] | ["", "spawn"]) if method == Method::POST => Door::Locked,
        Some(["", "challenge"]) => Door::Challenge,
        Some(["", _]) if changes => Door::Locked,
        _ => match below("/sessions/").as_deref() {
            Some([_, "owner"]) if changes => Door::Locked,
            _ => Door::Common,
        },
    }
}

/// Browsers say so in one of these, and no page can leave them out of a request that changes anything. `Sec-Fetch-Mode`
/// proves nothing: programs on Node send it too.
fn from_a_page(request: &Parts) -> bool {
    ["origin", "sec-fetch-site"].iter().any(|name| request.headers.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const RIGHT: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn opens(line: &str, headers: &[(&str, &str)]) -> Result<bool, Refusal> {
        let (method, path) = line.split_once(' ').unwrap();
        let request = Request::builder().method(method).uri(path);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Key::new(RIGHT.into()).opens(&request.body(()).unwrap().into_parts().0)
    }

    const LOCKED: [&str; 6] = [
        "POST /servers",
        "POST /servers/spawn",
        "PUT /servers/srv_1",
        "DELETE /servers/srv_1",
        "PUT /sessions/ses_1/owner",
        "DELETE /sessions/ses_1/owner",
    ];

    #[test]
    fn what_registers_or_pins_needs_the_secret_exactly_once_and_exactly() {
        for line in LOCKED {
            assert_eq!(opens(line, &[]), Err(Refusal::SecretNeeded), "{line}");
            assert_eq!(opens(line, &[("x-pointsman-secret", &RIGHT[1..])]), Err(Refusal::SecretNeeded));
            assert_eq!(
                opens(line, &[("x-pointsman-secret", &RIGHT.to_uppercase())]),
                Err(Refusal::SecretNeeded)
            );
            let twice = [("x-pointsman-secret", RIGHT), ("x-pointsman-secret", RIGHT)];
            assert_eq!(opens(line, &twice), Err(Refusal::SecretNeeded));
            assert_eq!(opens(line, &[("x-pointsman-secret", RIGHT)]), Ok(true), "{line}");
        }
    }

    #[test]
    fn the_daemon_proves_itself_to_whoever_asks() {
        assert_eq!(opens("POST /servers/challenge", &[]), Ok(true));
    }

    #[test]
    fn no_page_comes_near_not_even_with_the_secret() {
        for line in LOCKED.into_iter().chain(["POST /servers/challenge"]) {
            for (name, value) in [("origin", "http://localhost:3000"), ("sec-fetch-site", "same-origin")] {
                let headers = [(name, value), ("x-pointsman-secret", RIGHT)];
                assert_eq!(opens(line, &headers), Err(Refusal::PageRefused), "{line} {name}");
            }
            let (method, path) = line.split_once(' ').unwrap();
            let preflight = [("origin", "http://localhost:3000"), ("access-control-request-method", method)];
            assert_eq!(opens(&format!("OPTIONS {path}"), &preflight), Err(Refusal::PageRefused), "{line}");
        }
    }

    #[test]
    fn a_program_that_is_no_browser_is_let_in_though_its_library_speaks_like_one() {
        let node = [("sec-fetch-mode", "cors"), ("x-pointsman-secret", RIGHT)];
        assert_eq!(opens("POST /servers", &node), Ok(true));
    }

    #[test]
    fn all_else_is_not_decided_here() {
        for line in [
            "GET /servers",
            "GET /sessions",
            "GET /sessions/ses_1",
            "POST /session",
            "PUT /sessions/ses_1",
            "GET /servers/srv_1/proxy/session",
            "PUT /servers/srv_1/proxy/auth/x",
            "DELETE /servers/srv_1/proxy",
            "POST /serversx",
        ] {
            assert_eq!(opens(line, &[("origin", "http://localhost:3000")]), Ok(false), "{line}");
        }
    }
}
