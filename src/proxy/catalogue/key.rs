//! Which reads are the same question.

use http::{HeaderName, HeaderValue, header, request::Parts};
use smallvec::SmallVec;

use crate::domain::ids::ServerKey;

/// What the names of the agent's own headers begin with: the directory, and whatever else may come to name a place.
const OWN: &str = "x-opencode-";

/// All that an answer depends on. Two names of one directory, or one name in the query and in the header, make two
/// keys: that costs a second copy, and taking them for one would cost knowing how a server reads them.
///
/// The coding is not part of it: answers are kept as the server compressed them, and told in plain to those who
/// cannot read that.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    server: ServerKey,
    path_and_query: Box<str>,
    headers: SmallVec<[(HeaderName, HeaderValue); 2]>,
}

impl Key {
    /// The key of `request`, which `server` is to answer.
    pub(super) fn of(server: ServerKey, request: &Parts) -> Self {
        let path_and_query =
            request.uri.path_and_query().map_or(request.uri.path(), http::uri::PathAndQuery::as_str);
        let counts = |name: &HeaderName| {
            *name == header::AUTHORIZATION || *name == header::COOKIE || name.as_str().starts_with(OWN)
        };
        let mut headers: SmallVec<[(HeaderName, HeaderValue); 2]> = request
            .headers
            .iter()
            .filter(|(name, _)| counts(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        headers.sort_unstable_by(|a, b| (a.0.as_str(), a.1.as_bytes()).cmp(&(b.0.as_str(), b.1.as_bytes())));
        Self { server, path_and_query: path_and_query.into(), headers }
    }

    /// How many bytes it takes, roughly.
    pub(super) fn weight(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        size_of::<Self>() + self.path_and_query.len() + headers
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn key(server: u32, uri: &str, lines: &[(&str, &str)]) -> Key {
        let request = Request::builder().uri(uri);
        let request = lines.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Key::of(ServerKey(server), &request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn what_an_answer_depends_on_tells_keys_apart() {
        let one = key(1, "/provider?directory=/a", &[]);
        assert!(
            one == key(
                1,
                "/provider?directory=/a",
                &[("accept-encoding", "br"), ("origin", "http://localhost:1")]
            )
        );
        for other in [
            key(2, "/provider?directory=/a", &[]),
            key(1, "/agent?directory=/a", &[]),
            key(1, "/provider?directory=/b", &[]),
            key(1, "/provider?directory=/a&workspace=wrk_1", &[]),
            key(1, "/provider", &[("x-opencode-directory", "/a")]),
            key(1, "/provider?directory=/a", &[("x-opencode-workspace", "wrk_1")]),
            key(1, "/provider?directory=/a", &[("authorization", "Basic x")]),
        ] {
            assert!(one != other);
        }
    }

    #[test]
    fn the_order_of_headers_makes_no_difference() {
        let (a, b) = (("x-opencode-directory", "/a"), ("authorization", "Basic x"));
        assert!(key(1, "/agent", &[a, b]) == key(1, "/agent", &[b, a]));
    }
}
