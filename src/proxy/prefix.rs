//! The path that others put before ours: taken off what comes, put before what goes.
//!
//! Clients that come through a proxy may know us by `https://example.com/oc/` while we and the servers speak of `/`.
//! A request loses the prefix if it has one, since the proxy may have taken it off already. Links and redirections in
//! answers gain it.

use http::{
    HeaderMap, HeaderName, HeaderValue, Uri,
    header::{HOST, LINK, LOCATION},
    uri::PathAndQuery,
};

/// In which a proxy says what it has taken off, and in which servers are told what clients put before their paths.
pub const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Longer is nobody's path, and it is written into answers.
const LONGEST: usize = 256;

/// `uri` without `base` at the start of its path; `None` if it is not there.
pub fn without(base: &str, uri: &Uri) -> Option<Uri> {
    let whole = uri.path_and_query()?.as_str();
    let rest = whole.strip_prefix(base)?;
    let rest: PathAndQuery = match rest.as_bytes().first() {
        Some(b'/') => rest.parse().ok()?,
        None | Some(b'?') => format!("/{rest}").parse().ok()?,
        // Another segment that begins with the same letters.
        Some(_) => return None,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(rest);
    Uri::from_parts(parts).ok()
}

/// What the client puts before our paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(Box<str>);

impl Prefix {
    /// From what a proxy said it took off, and from the base path, if there is one and whether the request still
    /// had it. `None`: nothing.
    pub fn of(said: Option<&HeaderValue>, base: Option<&str>, had_base: bool) -> Option<Self> {
        let said = said.and_then(read);
        match (said, base) {
            // A proxy that leaves it on and says so nevertheless.
            (Some(said), Some(base)) if had_base && !ends_with_segments(said, base) => {
                Some(Self(format!("{said}{base}").into()))
            }
            (Some(said), _) => Some(said).filter(|said| !said.is_empty()).map(|said| Self(said.into())),
            (None, base) => base.map(|base| Self(base.into())),
        }
    }

    /// Such as `/oc`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells the server behind, for what it builds itself.
    pub fn tell(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_str(&self.0) {
            headers.insert(FORWARDED_PREFIX, value);
        }
    }

    /// Puts it into the links and redirections of an answer to a request for `host`.
    pub fn put(&self, headers: &mut HeaderMap, host: Option<&HeaderValue>) {
        let host = host.and_then(|host| host.to_str().ok());
        if let Some(target) = headers.get(LOCATION).and_then(|value| value.to_str().ok())
            && let Some(target) = self.before(target, host)
            && let Ok(value) = HeaderValue::from_str(&target)
        {
            headers.insert(LOCATION, value);
        }
        for value in headers.iter_mut().filter_map(|(name, value)| (name == LINK).then_some(value)) {
            if let Ok(text) = value.to_str()
                && let Ok(rewritten) = HeaderValue::from_str(&self.before_links(text, host))
            {
                *value = rewritten;
            }
        }
    }

    /// `target`, a path or a URL of `host`, with the prefix; `None` if it is somebody else's or has it already.
    fn before(&self, target: &str, host: Option<&str>) -> Option<String> {
        let (start, path) = if target.starts_with('/') && !target.starts_with("//") {
            ("", target)
        } else {
            let authority = target.find("://").map(|scheme| scheme + 3)?;
            let end = target[authority..].find(['/', '?', '#']).map_or(target.len(), |end| authority + end);
            if !host?.eq_ignore_ascii_case(&target[authority..end]) {
                return None;
            }
            target.split_at(end)
        };
        let has = |rest: &str| rest.is_empty() || rest.starts_with(['/', '?', '#']);
        if path.strip_prefix(&*self.0).is_some_and(has) {
            return None;
        }
        Some(format!("{start}{}{path}", self.0))
    }

    /// The same for each `<target>` of a `Link` header.
    fn before_links(&self, links: &str, host: Option<&str>) -> String {
        let mut written = String::with_capacity(links.len() + self.0.len());
        let mut rest = links;
        while let Some((before, after)) = rest.split_once('<') {
            let Some((target, after)) = after.split_once('>') else { break };
            written.push_str(before);
            written.push('<');
            match self.before(target, host) {
                Some(target) => written.push_str(&target),
                None => written.push_str(target),
            }
            written.push('>');
            rest = after;
        }
        written.push_str(rest);
        written
    }
}

/// The host that a client asked, as answers name it.
pub fn host(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(HOST).cloned()
}

/// A prefix in a header: `/` is none, a slash at the end is borne, and anything that could do harm in a link or a
/// page is as good as unsaid.
fn read(value: &HeaderValue) -> Option<&str> {
    let text = value.to_str().ok()?;
    let text = text.strip_suffix('/').unwrap_or(text);
    if text.is_empty() {
        return Some(text).filter(|_| value == "/");
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let sound = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(plain);
    (text.len() <= LONGEST && text.strip_prefix('/')?.split('/').all(sound)).then_some(text)
}

/// Both begin with a slash, so that an end is one of whole segments.
fn ends_with_segments(path: &str, end: &str) -> bool {
    path.ends_with(end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(text: &str) -> HeaderValue {
        HeaderValue::from_str(text).unwrap()
    }

    fn prefix(text: &str) -> Prefix {
        Prefix(text.into())
    }

    fn put(name: HeaderName, text: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(name.clone(), value(text));
        prefix("/oc").put(&mut headers, Some(&value("box:4747")));
        headers[name].to_str().unwrap().to_owned()
    }

    #[test]
    fn a_path_loses_whole_segments_only() {
        let of = |uri: &str| without("/oc", &uri.parse().unwrap()).map(|uri| uri.to_string());
        assert_eq!(of("/oc/session?a=%2F&b").as_deref(), Some("/session?a=%2F&b"));
        assert_eq!(of("/oc").as_deref(), Some("/"));
        assert_eq!(of("/oc/").as_deref(), Some("/"));
        assert_eq!(of("/oc?x=/oc").as_deref(), Some("/?x=/oc"));
        assert_eq!(of("http://box/oc/a").as_deref(), Some("http://box/a"));
        assert_eq!(of("/oc//session").as_deref(), Some("//session"));
        for other in ["/session", "/", "/ocx", "/ocx/session", "/OC/session", "/session/oc", "*"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn a_proxys_word_on_the_prefix_wins_over_the_base_path() {
        let of = |said: Option<&str>, base, had| {
            Prefix::of(said.map(value).as_ref(), base, had).map(|prefix| prefix.0.into_string())
        };
        assert_eq!(of(None, None, false), None);
        assert_eq!(of(None, Some("/oc"), true).as_deref(), Some("/oc"));
        assert_eq!(of(None, Some("/oc"), false).as_deref(), Some("/oc"));
        assert_eq!(of(Some("/outer"), None, false).as_deref(), Some("/outer"));
        assert_eq!(of(Some("/outer/"), Some("/oc"), false).as_deref(), Some("/outer"));
        assert_eq!(of(Some("/outer"), Some("/oc"), true).as_deref(), Some("/outer/oc"));
        assert_eq!(of(Some("/outer/oc"), Some("/oc"), true).as_deref(), Some("/outer/oc"));
        assert_eq!(of(Some("/"), Some("/oc"), false), None);
    }

    #[test]
    fn a_prefix_that_is_none_is_as_good_as_unsaid() {
        let long = format!("/{}", "a".repeat(LONGEST));
        for nonsense in
            ["", "oc", "//evil.example", "/a//b", "/..", "/a\"b", "/<script>", "/a, /b", "/a b", &long]
        {
            assert_eq!(Prefix::of(Some(&value(nonsense)), None, false), None, "{nonsense:?}");
        }
    }

    #[test]
    fn links_and_redirections_of_ours_gain_it() {
        for (before, after) in [
            ("/session?x=1", "/oc/session?x=1"),
            ("http://box:4747/session", "http://box:4747/oc/session"),
            ("https://BOX:4747/session", "https://BOX:4747/oc/session"),
            ("http://box:4747", "http://box:4747/oc"),
            ("/oc/session", "/oc/session"),
            ("/oc", "/oc"),
            ("/ocean", "/oc/ocean"),
            ("//elsewhere/x", "//elsewhere/x"),
            ("http://elsewhere/x", "http://elsewhere/x"),
            ("next", "next"),
        ] {
            assert_eq!(put(LOCATION, before), after);
        }
        let links = "<http://box:4747/a?limit=1>; rel=\"next\", </b>; rel=prev, <https://elsewhere/c>; rel=x";
        let rewritten =
            "<http://box:4747/oc/a?limit=1>; rel=\"next\", </oc/b>; rel=prev, <https://elsewhere/c>; rel=x";
        assert_eq!(put(LINK, links), rewritten);
        assert_eq!(put(LINK, "<unclosed"), "<unclosed");
    }

    proptest! {
        #[test]
        fn what_is_put_before_a_path_comes_off_again(path in "(/[a-z0-9%?=&.-]{0,8}){1,4}", base in "(/[a-z]{1,4}){1,3}") {
            let uri: Uri = format!("{base}{path}").parse().unwrap();
            prop_assert_eq!(without(&base, &uri).unwrap().to_string(), path);
        }

        #[test]
        fn putting_it_twice_is_putting_it_once(target in "(https?://box:4747)?(/[a-z?#<>]{0,6}){0,4}") {
            let prefix = prefix("/oc");
            let host = Some("box:4747");
            let once = prefix.before(&target, host).unwrap_or(target);
            prop_assert_eq!(prefix.before(&once, host).filter(|_| !once.is_empty()), None);
        }

        #[test]
        fn any_link_is_read_without_a_panic(links in "[ -~]{0,60}") {
            prefix("/oc").before_links(&links, Some("box"));
        }
    }
}
