//! Requests under a prefix: served as if there were none, and answered as if we knew of nothing else.

use http::{HeaderValue, Response, request::Parts};

use crate::proxy::{
    answer::AnswerBody,
    prefix::{self, FORWARDED_PREFIX, Prefix},
};

/// How the client of one request names us. Nobody has one where there is neither a base path nor a proxy that names
/// a prefix.
#[derive(Debug)]
pub(super) struct Prefixed {
    prefix: Prefix,
    host: Option<HeaderValue>,
}

impl Prefixed {
    /// Takes the base path off a request, and what its client sees before our paths.
    pub(super) fn take(parts: &mut Parts, base: Option<&str>) -> Option<Self> {
        let bare = base.and_then(|base| prefix::without(base, &parts.uri));
        let had_base = bare.is_some();
        if let Some(bare) = bare {
            parts.uri = bare;
        }
        let prefix = Prefix::of(parts.headers.get(FORWARDED_PREFIX), base, had_base)?;
        prefix.tell(&mut parts.headers);
        Some(Self { prefix, host: prefix::host(&parts.headers) })
    }

    /// Makes an answer one to that request.
    pub(super) fn put(self, response: &mut Response<AnswerBody>) {
        self.prefix.put(response.headers_mut(), self.host.as_ref());
    }
}
