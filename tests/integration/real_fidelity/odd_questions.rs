//! Odd directories, limits, cursors and workspaces are answered as a single server answers them.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::without_owner_port;
use crate::support::{
    daemon::{Answer, Daemon},
    opencode::{OpenCode, Store},
};

/// Spaces, signs that mean something in an address, what looks like an escape and is none, and other alphabets.
const ODD_NAME: &str = "50% of na\u{ef}ve %20 & +co=\u{65e5}\u{672c}";

/// Two servers of one store, the second in a directory with an odd name, and three sessions of each.
struct Odd {
    one: OpenCode,
    two: OpenCode,
    daemon: Daemon,
    /// Where the answers differ.
    differences: Vec<String>,
    _store: Store,
}

impl Odd {
    async fn start() -> Self {
        let store = Store::new().await;
        let plain = store.project("plain");
        let odd = store.project(ODD_NAME);
        let (one, two) = tokio::join!(OpenCode::start(&store, &plain), OpenCode::start(&store, &odd));
        for server in [&one, &two] {
            for number in 0..3 {
                server.post("/session", &json!({"title": format!("number {number}")})).await;
            }
        }
        let daemon = Daemon::start([one.url(), two.url()]).await;
        // One after the other: cursors between sessions of one millisecond are finer than a server's.
        daemon.hears(&one).await;
        daemon.hears(&two).await;
        Self { one, two, daemon, differences: Vec::new(), _store: store }
    }

    /// Asks through pointsman and at the server that answered (the second, of what both have a part in), and notes how
    /// the answers differ.
    async fn same(&mut self, path: &str, headers: &[(&str, &str)]) {
        let add = |request: reqwest::RequestBuilder| {
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
        };
        let through = self.daemon.send(add(self.daemon.request("GET", path))).await;
        let server = if through.server() == self.one.address() { &self.one } else { &self.two };
        let through = seen(&through);
        let request = add(server.request("GET", path)).header("host", self.daemon.address());
        let direct = seen(&self.daemon.send(request).await);
        if through != direct {
            self.differences
                .push(format!("{path} with {headers:?}\n  through {through:?}\n  direct {direct:?}"));
        }
    }
}

impl Drop for Odd {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.differences.is_empty(), "{}", self.differences.join("\n"));
        }
    }
}

/// All that a client goes by.
fn seen(answer: &Answer) -> (u16, [String; 3], Value) {
    let headers = ["content-type", "x-next-cursor", "link"].map(|name| answer.header(name).to_owned());
    let mut body =
        serde_json::from_slice(&answer.body).map_or_else(|_| Value::from(answer.text()), without_owner_port);
    if let Some(reference) = body.pointer_mut("/data/ref") {
        // Each failure has a number of its own in the server's log.
        reference.take();
    }
    (answer.status, headers, body)
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[tokio::test]
async fn odd_directories_are_read_as_the_servers_read_them() {
    let mut odd = Odd::start().await;
    let own = odd.two.directory().display().to_string();
    let nowhere = format!("{own}/no where/100%");
    for directory in [own.as_str(), &nowhere, "/", "/etc/hostname"] {
        let encoded = encoded(directory);
        for path in
            ["/path", "/session", "/session/status", "/permission", "/project/current", "/file?path=."]
        {
            let and = if path.contains('?') { '&' } else { '?' };
            odd.same(&format!("{path}{and}directory={encoded}"), &[]).await;
            odd.same(path, &[("x-opencode-directory", &encoded)]).await;
        }
        odd.same(&format!("/api/location?location[directory]={encoded}"), &[]).await;
        odd.same(&format!("/api/permission/request?location%5Bdirectory%5D={encoded}"), &[]).await;
        odd.same(&format!("/api/session?directory={encoded}"), &[]).await;
    }
    for directory in ["", "relative/%2e%2e", "%", "%zz", "%c3%28"] {
        let encoded = encoded(directory);
        for path in ["/path", "/project/current", "/file?path=.", "/api/location?a=b"] {
            let and = if path.contains('?') { '&' } else { '?' };
            odd.same(&format!("{path}{and}directory={encoded}"), &[]).await;
            odd.same(&format!("{path}{and}location[directory]={encoded}"), &[]).await;
            odd.same(path, &[("x-opencode-directory", &encoded)]).await;
        }
    }
    // As a person types it: not escaped, or only in part.
    odd.same("/path", &[("x-opencode-directory", &own)]).await;
    odd.same("/session?directory=/tmp/a+b", &[]).await;
    odd.same("/session?directory=/tmp/a&directory=/tmp/b", &[]).await;
}

#[tokio::test]
async fn odd_limits_cursors_and_workspaces_are_answered_as_the_servers_answer_them() {
    let mut odd = Odd::start().await;
    let own = encoded(&odd.two.directory().display().to_string());
    for limit in ["0", "-1", "1e9", "1000000000", "1e400", "1.5", "NaN", "", "%00", "7&limit=2"] {
        odd.same(&format!("/session?directory={own}&limit={limit}"), &[]).await;
        odd.same(&format!("/experimental/session?limit={limit}"), &[]).await;
        odd.same(&format!("/api/session?limit={limit}"), &[]).await;
    }
    let first = odd.daemon.get("/api/session?limit=2&order=asc").await.json();
    let cursor = first["cursor"]["next"].as_str().expect("there is more").to_owned();
    let changed = odd.daemon.get("/experimental/session?limit=2").await.header("x-next-cursor").to_owned();
    let filtered = odd.two.get(&format!("/api/session?limit=2&directory={own}")).await;
    let filtered = filtered["cursor"]["next"].as_str().expect("there is more").to_owned();
    for query in [
        format!("cursor={cursor}"),
        format!("cursor={cursor}&limit=1"),
        // Of another order, of another filter, of another list.
        format!("cursor={cursor}&order=desc"),
        format!("cursor={cursor}&directory={own}"),
        format!("cursor={filtered}"),
        format!("cursor={filtered}&search=number"),
        format!("cursor={changed}"),
        "cursor=".to_owned(),
        "cursor=%00".to_owned(),
        "cursor=e30".to_owned(),
        "order=sideways".to_owned(),
        "start=never".to_owned(),
        "roots=maybe".to_owned(),
        "workspace=wrk_nobody".to_owned(),
        "workspace=nonsense".to_owned(),
    ] {
        odd.same(&format!("/session?directory={own}&{query}"), &[]).await;
        odd.same(&format!("/experimental/session?{query}"), &[]).await;
        odd.same(&format!("/api/session?{query}"), &[]).await;
    }
    let session = odd.one.create_session().await;
    for path in [
        "/path",
        "/session/status",
        "/permission",
        "/question",
        "/pty",
        "/project",
        &format!("/session/{session}"),
    ] {
        let asked = format!("{path}?workspace=wrk_nobody&directory={own}");
        odd.same(&asked, &[]).await;
        odd.same(path, &[("x-opencode-workspace", "wrk_nobody"), ("x-opencode-directory", &own)]).await;
    }
}
