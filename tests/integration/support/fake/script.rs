//! Answers that a test writes itself: headers, trailers, bodies that stream, sockets that speak another protocol.

use std::sync::Arc;

use axum::body::Body;
use futures_util::{FutureExt, future::BoxFuture};
use http::{Request, Response};
use hyper::body::Incoming;
use parking_lot::Mutex;

/// A request of which nothing but the head has been read.
pub type Question = Request<Incoming>;

/// Its answer.
pub type Reply = Response<Body>;

type Script = Arc<dyn Fn(Question) -> BoxFuture<'static, Reply> + Send + Sync>;

/// The scripts of one server.
#[derive(Default)]
pub(super) struct Scripts(Mutex<Vec<(String, Script)>>);

impl Scripts {
    pub(super) fn set<F>(&self, pattern: &str, script: impl Fn(Question) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Reply> + Send + 'static,
    {
        self.0.lock().push((pattern.to_owned(), Arc::new(move |question| script(question).boxed())));
    }

    pub(super) fn find(&self, method: &str, path: &str) -> Option<Script> {
        let scripts = self.0.lock();
        let found = scripts.iter().rev().find(|(pattern, _)| super::fault::matches(pattern, method, path));
        found.map(|(_, script)| Arc::clone(script))
    }
}
