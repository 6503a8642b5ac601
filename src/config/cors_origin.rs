//! The origin of a web page that may use this daemon.

use url::{Origin, Url};

use super::Problem;

/// An origin exactly as browsers write it into the `Origin` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorsOrigin(Box<str>);

impl CorsOrigin {
    /// Checks `text` and keeps it as a browser writes it: lower case, without the scheme's own port.
    pub fn try_new(text: &str) -> Result<Self, Problem> {
        if text.contains('*') || text.eq_ignore_ascii_case("null") {
            return Err(Problem::EveryOrigin(text.to_owned()));
        }
        let refused = || Problem::Origin(text.to_owned());
        let bare = text.strip_suffix('/').unwrap_or(text);
        let url = Url::parse(bare).map_err(|_| refused())?;
        let alone = matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.fragment().is_none()
            && !text.contains('@');
        if !alone || !url.has_host() {
            return Err(refused());
        }
        Ok(Self(match url.origin() {
            Origin::Tuple(..) => url.origin().ascii_serialization().into(),
            // An application's own scheme, such as tauri: browsers write it as it stands.
            Origin::Opaque(_) => bare.to_ascii_lowercase().into(),
        }))
    }

    /// The value of the `Origin` header it stands for.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_kept_as_a_browser_writes_it() {
        for (written, kept) in [
            ("https://Code.Example.com/", "https://code.example.com"),
            ("https://code.example.com:443", "https://code.example.com"),
            ("http://code.example.com:8080", "http://code.example.com:8080"),
            ("app://renderer", "app://renderer"),
        ] {
            assert_eq!(CorsOrigin::try_new(written).unwrap().as_str(), kept);
        }
    }

    #[test]
    fn wildcards_and_whole_urls_are_refused() {
        for text in [
            "*",
            "https://*.example.com",
            "null",
            "",
            "example.com",
            "https://a/b",
            "https://a?b",
            "https://u@a",
        ] {
            assert!(CorsOrigin::try_new(text).is_err(), "{text:?}");
        }
    }
}
