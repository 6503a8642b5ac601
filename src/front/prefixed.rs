//! Requests under a prefix: served as if there were none, and answered as if we knew of nothing else.

use http::{HeaderValue, Response, request::Parts};

use super::page;
use crate::proxy::{
    answer::AnswerBody,
    forward::ForwardError,
    headers,
    prefix::{self, FORWARDED_PREFIX, Prefix},
};

/// How the client of one request names us. Nobody has one where there is neither a base path nor a proxy that names
/// a prefix.
#[derive(Debug)]
pub(super) struct Prefixed {
    prefix: Prefix,
    host: Option<HeaderValue>,
    may_be_page: bool,
}

impl Prefixed {
    /// Takes the base path off a request, and what its client sees before our paths.
    pub(super) fn take(parts: &mut Parts, base: Option<&str>) -> Option<Self> {
        let inner = base.and_then(|base| prefix::without(base, &parts.uri));
        let had_base = inner.is_some();
        if let Some(inner) = inner {
            parts.uri = inner;
        }
        let prefix = Prefix::of(parts.headers.get(FORWARDED_PREFIX), base, had_base)?;
        prefix.tell(&mut parts.headers);
        let may_be_page = page::prepare(parts);
        Some(Self { prefix, host: prefix::host(&parts.headers), may_be_page })
    }

    /// Makes an answer one to that request. Fails only where the answer was a page that broke off.
    pub(super) async fn put(
        self,
        mut response: Response<AnswerBody>,
    ) -> Result<Response<AnswerBody>, ForwardError> {
        self.prefix.put(response.headers_mut(), self.host.as_ref());
        if !self.may_be_page {
            return Ok(response);
        }
        let server = response.headers().get(headers::SERVER).cloned();
        page::put(response, self.prefix.as_str()).await.map_err(|source| {
            let server =
                server.as_ref().and_then(|server| server.to_str().ok()).unwrap_or("a server").to_owned();
            ForwardError::Unread { server, source }
        })
    }
}
