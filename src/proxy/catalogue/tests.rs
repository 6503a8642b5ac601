use std::io::{Read, Write};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use http::{
    HeaderMap, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CONTENT_ENCODING, CONTENT_TYPE, ETAG,
        VARY,
    },
};
use parking_lot::Mutex;
use tokio::{sync::Semaphore, task::JoinSet};

use super::*;
use crate::{
    domain::{ids::ServerKey, kind::Kind},
    proxy::{headers, route::Route},
    registry::server::{Address, Server, ServerId, State},
};

const STORE: StoreKey = StoreKey(1);

/// A server that answers when it is let, with what it is told to.
struct Origin {
    requests: Mutex<Vec<Parts>>,
    /// One permit for each answer.
    answers: Semaphore,
    say: Mutex<Say>,
}

#[derive(Clone)]
struct Say {
    status: StatusCode,
    kind: &'static str,
    text: String,
    gzip: bool,
    breaks: bool,
}

impl Origin {
    /// One that answers at once.
    fn ready(text: &str) -> Arc<Self> {
        let origin = Self::held(text);
        origin.answers.add_permits(1000);
        origin
    }

    /// One that answers only when it is let.
    fn held(text: &str) -> Arc<Self> {
        let say = Say {
            status: StatusCode::OK,
            kind: "application/json",
            text: text.into(),
            gzip: true,
            breaks: false,
        };
        Arc::new(Self { requests: Mutex::default(), answers: Semaphore::new(0), say: Mutex::new(say) })
    }

    fn requests(&self) -> usize {
        self.requests.lock().len()
    }

    /// Waits until it was asked `count` times.
    async fn asked(&self, count: usize) {
        while self.requests() < count {
            tokio::task::yield_now().await;
        }
    }
}

impl Fetch for Origin {
    async fn fetch(&self, request: Parts, _target: &Target) -> Option<(response::Parts, Bytes)> {
        // What it says is decided when it is asked, not when it answers.
        let say = self.say.lock().clone();
        self.requests.lock().push(request);
        self.answers.acquire().await.ok()?.forget();
        if say.breaks {
            return None;
        }
        let response =
            Response::builder().status(say.status).header(CONTENT_TYPE, say.kind).header(VARY, "Origin");
        let (response, body) = if say.gzip {
            (response.header(CONTENT_ENCODING, "gzip"), zip(&say.text))
        } else {
            (response, say.text.into())
        };
        Some((response.body(()).unwrap().into_parts().0, body))
    }
}

fn zip(text: &str) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap().into()
}

fn target(key: u32, store: StoreKey) -> Target {
    let server = Server {
        key: ServerKey(key),
        id: ServerId(format!("srv_{key}").into()),
        address: Address::new("127.0.0.1", 4300),
        credentials: None,
        kind: Kind::Serve,
        process: None,
        store,
        directory: Some("/work".into()),
        worktree: None,
        project: None,
        version: None,
        state: State::Up,
        since_ms: 0,
        sources: Vec::new(),
        preferred: false,
        plugin: false,
        reports_screen: false,
        usage: None,
        directories: Arc::default(),
    };
    Target::new(Arc::new(server), Route::Default)
}

fn catalogue(origin: &Arc<Origin>) -> Catalogue<Origin> {
    Catalogue::new(Arc::clone(origin), Duration::from_secs(30), Handle::current())
}

/// What a client was told.
struct Told {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Told {
    fn cache(&self) -> &str {
        self.headers[CACHE].to_str().unwrap()
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if self.headers.contains_key(CONTENT_ENCODING) {
            GzDecoder::new(&*self.body).read_to_string(&mut text).unwrap();
        } else {
            text.push_str(std::str::from_utf8(&self.body).unwrap());
        }
        text
    }
}

async fn read_from(
    catalogue: &Catalogue<Origin>,
    target: &Target,
    uri: &str,
    lines: &[(&str, &str)],
) -> Option<Told> {
    let request = Request::builder().uri(uri);
    let request = lines.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let answer = catalogue.read(&request.body(()).unwrap().into_parts().0, target).await?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Some(Told { status: head.status, headers: head.headers, body })
}

async fn read(catalogue: &Catalogue<Origin>, lines: &[(&str, &str)]) -> Option<Told> {
    read_from(catalogue, &target(1, STORE), "/provider", lines).await
}

/// Reads at one time, none of which has its answer yet.
fn reads(catalogue: &Catalogue<Origin>, count: usize) -> JoinSet<Option<Told>> {
    let mut reads = JoinSet::new();
    for _ in 0..count {
        let catalogue = catalogue.clone();
        reads.spawn(async move { read(&catalogue, &[]).await });
    }
    reads
}

#[tokio::test]
async fn ninety_reads_at_one_time_are_one_request() {
    let origin = Origin::held("{}");
    let catalogue = catalogue(&origin);
    let reads = reads(&catalogue, 90);
    origin.asked(1).await;
    // All have had their turn on this one thread.
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    origin.answers.add_permits(1000);
    let told: Vec<Told> = reads.join_all().await.into_iter().map(Option::unwrap).collect();
    assert_eq!(origin.requests(), 1);
    assert_eq!(told.iter().filter(|told| told.cache() == "miss").count(), 1);
    assert_eq!(told.iter().filter(|told| told.cache() == "shared").count(), 89);
    assert!(told.iter().all(|told| told.text() == "{}" && told.status == StatusCode::OK));
    let counted = catalogue.counted();
    assert_eq!((counted.misses, counted.shared, counted.hits), (1, 89, 0));
    assert!(counted.saved_bytes > 0 && counted.kept_bytes > 0);
}

#[tokio::test]
async fn a_second_read_asks_nobody_until_a_server_of_the_store_says_that_something_changed() {
    let origin = Origin::ready("1");
    let catalogue = catalogue(&origin);
    let (here, there) = (target(1, STORE), target(2, StoreKey(2)));
    for (target, cache) in [(&here, "miss"), (&here, "hit"), (&there, "miss"), (&there, "hit")] {
        assert_eq!(read_from(&catalogue, target, "/provider", &[]).await.unwrap().cache(), cache);
    }
    "2".clone_into(&mut origin.say.lock().text);
    catalogue.changed(STORE);
    let told = read_from(&catalogue, &here, "/provider", &[]).await.unwrap();
    assert_eq!((told.cache(), told.text().as_str()), ("miss", "2"));
    assert_eq!(read_from(&catalogue, &there, "/provider", &[]).await.unwrap().text(), "1");
}

#[tokio::test]
async fn what_was_asked_before_a_change_is_neither_kept_nor_told_to_those_who_ask_after_it() {
    let origin = Origin::held("before");
    let catalogue = catalogue(&origin);
    let before = reads(&catalogue, 1);
    origin.asked(1).await;
    catalogue.changed(STORE);
    "after".clone_into(&mut origin.say.lock().text);
    let after = reads(&catalogue, 1);
    origin.asked(2).await;
    origin.answers.add_permits(2);
    assert_eq!(before.join_all().await[0].as_ref().unwrap().text(), "before");
    assert_eq!(after.join_all().await[0].as_ref().unwrap().text(), "after");
    let told = read(&catalogue, &[]).await.unwrap();
    assert_eq!((told.cache(), told.text().as_str()), ("hit", "after"));
}

#[tokio::test]
async fn a_write_counts_when_it_is_answered_and_when_its_client_leaves() {
    let origin = Origin::ready("1");
    let catalogue = catalogue(&origin);
    read(&catalogue, &[]).await.unwrap();
    let changing = Changing(&catalogue);
    assert_eq!(read(&catalogue, &[]).await.unwrap().cache(), "hit");
    drop(changing);
    assert_eq!(read(&catalogue, &[]).await.unwrap().cache(), "miss");
}

#[tokio::test]
async fn only_good_answers_are_kept() {
    let origin = Origin::ready("{}");
    let catalogue = catalogue(&origin);
    for (status, kind) in
        [(500, "application/json"), (404, "application/json"), (401, "application/json"), (200, "text/html")]
    {
        let status = StatusCode::from_u16(status).unwrap();
        {
            let mut say = origin.say.lock();
            (say.status, say.kind) = (status, kind);
        }
        for _ in 0..2 {
            let told = read(&catalogue, &[]).await.unwrap();
            assert_eq!((told.status, told.cache()), (status, "miss"), "{kind}");
        }
    }
    origin.say.lock().breaks = true;
    assert!(read(&catalogue, &[]).await.is_none(), "it goes to its server by itself");
    assert_eq!(catalogue.counted().kept_bytes, 0);
}

#[tokio::test]
async fn whoever_waits_for_a_request_that_breaks_goes_on_by_itself() {
    let origin = Origin::held("{}");
    origin.say.lock().breaks = true;
    let catalogue = catalogue(&origin);
    let reads = reads(&catalogue, 3);
    origin.asked(1).await;
    origin.answers.add_permits(3);
    assert!(reads.join_all().await.iter().all(Option::is_none));
}

#[tokio::test]
async fn a_request_goes_on_while_anybody_waits_and_ends_when_nobody_does() {
    let origin = Origin::held("{}");
    let catalogue = catalogue(&origin);
    let mut first = reads(&catalogue, 1);
    origin.asked(1).await;
    let second = reads(&catalogue, 1);
    tokio::task::yield_now().await;
    first.shutdown().await;
    origin.answers.add_permits(1);
    assert_eq!(second.join_all().await[0].as_ref().unwrap().cache(), "shared");

    catalogue.changed(STORE);
    let mut third = reads(&catalogue, 1);
    origin.asked(2).await;
    third.shutdown().await;
    // It was taken off the map, and its wait for a permit has ended with it.
    let fourth = reads(&catalogue, 1);
    origin.asked(3).await;
    origin.answers.add_permits(1);
    assert_eq!(fourth.join_all().await[0].as_ref().unwrap().cache(), "miss");
}

#[tokio::test]
async fn a_client_that_asks_for_a_fresh_answer_gets_one_and_leaves_it_for_others() {
    let origin = Origin::ready("1");
    let catalogue = catalogue(&origin);
    read(&catalogue, &[]).await.unwrap();
    "2".clone_into(&mut origin.say.lock().text);
    let told = read(&catalogue, &[("cache-control", "no-cache")]).await.unwrap();
    assert_eq!((told.cache(), told.text().as_str()), ("miss", "2"));
    let told = read(&catalogue, &[]).await.unwrap();
    assert_eq!((told.cache(), told.text().as_str()), ("hit", "2"));
    assert!(read(&catalogue, &[("cache-control", "no-store")]).await.is_none());
    assert!(read(&catalogue, &[("range", "bytes=0-1")]).await.is_none());
}

#[tokio::test]
async fn each_client_is_told_in_a_coding_it_can_read() {
    let text = "all there is ".repeat(50_000);
    let origin = Origin::ready(&text);
    let catalogue = catalogue(&origin);
    for (accepts, zipped) in [("gzip, br", true), ("identity", false), ("br", false), ("*", true)] {
        let told = read(&catalogue, &[("accept-encoding", accepts)]).await.unwrap();
        assert_eq!(told.headers.contains_key(CONTENT_ENCODING), zipped, "{accepts}");
        assert_eq!(told.body.len() < text.len(), zipped, "{accepts}");
        assert_eq!(told.text(), text, "{accepts}");
    }
    assert_eq!(origin.requests(), 1);
    assert_eq!(origin.requests.lock()[0].headers[ACCEPT_ENCODING], "gzip");
    assert!(catalogue.counted().kept_bytes < 10_000, "kept as it came");
    origin.say.lock().gzip = false;
    catalogue.changed(STORE);
    let told = read(&catalogue, &[("accept-encoding", "gzip")]).await.unwrap();
    assert!(!told.headers.contains_key(CONTENT_ENCODING));
    assert_eq!(told.text(), text);
}

#[tokio::test]
async fn a_client_that_has_it_already_is_told_so_in_whichever_coding() {
    let origin = Origin::ready("{}");
    let catalogue = catalogue(&origin);
    let told = read(&catalogue, &[("accept-encoding", "gzip")]).await.unwrap();
    let etag = told.headers[ETAG].to_str().unwrap().to_owned();
    let told =
        read(&catalogue, &[("if-none-match", &etag), ("origin", "http://localhost:3000")]).await.unwrap();
    assert_eq!((told.status, told.cache(), told.body.len()), (StatusCode::NOT_MODIFIED, "hit", 0));
    assert_eq!(told.headers[ETAG], etag.as_str());
    assert_eq!(told.headers[ACCESS_CONTROL_ALLOW_ORIGIN], "http://localhost:3000");
    assert!(!told.headers.contains_key(CONTENT_ENCODING) && !told.headers.contains_key(CONTENT_TYPE));
    "{\"a\":1}".clone_into(&mut origin.say.lock().text);
    catalogue.changed(STORE);
    let told = read(&catalogue, &[("if-none-match", &etag)]).await.unwrap();
    assert_eq!((told.status, told.text().as_str()), (StatusCode::OK, "{\"a\":1}"));
    assert_eq!(catalogue.counted().unchanged, 1);
}

#[tokio::test]
async fn each_page_is_told_that_it_may_read_the_answer_and_no_other() {
    let origin = Origin::ready("{}");
    let catalogue = catalogue(&origin);
    for page in ["http://localhost:1", "http://localhost:2"] {
        let told = read(&catalogue, &[("origin", page)]).await.unwrap();
        assert_eq!(told.headers[ACCESS_CONTROL_ALLOW_ORIGIN], page);
        let exposed = told.headers[ACCESS_CONTROL_EXPOSE_HEADERS].to_str().unwrap();
        assert!(exposed.contains("X-Pointsman-Cache"), "{exposed}");
        let varies: Vec<_> =
            told.headers.get_all(VARY).iter().map(|value| value.to_str().unwrap().to_lowercase()).collect();
        let varies = varies.join(", ");
        for word in ["origin", "accept-encoding", "x-opencode-directory"] {
            assert_eq!(varies.matches(word).count(), 1, "{varies}");
        }
    }
    let told = read(&catalogue, &[]).await.unwrap();
    assert!(!told.headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
    assert_eq!(origin.requests(), 1);
    assert!(!origin.requests.lock()[0].headers.contains_key(ORIGIN));
}

#[tokio::test]
async fn every_answer_names_its_server_and_why_that_one() {
    let origin = Origin::ready("{}");
    let catalogue = catalogue(&origin);
    for route in [Route::Default, Route::Explicit] {
        let target = Target { route, ..target(1, STORE) };
        let told = read_from(&catalogue, &target, "/provider", &[]).await.unwrap();
        assert_eq!(told.headers[headers::SERVER], "127.0.0.1:4300");
        assert_eq!(told.headers[headers::ROUTE], route.as_str());
    }
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn nothing_stays_longer_than_it_may_and_nought_keeps_nothing() {
    let origin = Origin::ready("{}");
    let short = Catalogue::new(Arc::clone(&origin), Duration::from_nanos(1), Handle::current());
    for _ in 0..2 {
        assert_eq!(read(&short, &[]).await.unwrap().cache(), "miss");
    }
    assert!(short.counted().kept_bytes > 0);
    short.tidy();
    assert_eq!(short.counted().kept_bytes, 0);
    let off = Catalogue::new(origin, Duration::ZERO, Handle::current());
    assert!(read(&off, &[]).await.is_none());
}

#[tokio::test]
async fn what_is_kept_is_bounded() {
    let origin = Origin::ready(&"x".repeat(1 << 20));
    origin.say.lock().gzip = false;
    let catalogue = catalogue(&origin);
    for n in 0..100 {
        let uri = format!("/provider?directory=/{n}");
        read_from(&catalogue, &target(1, STORE), &uri, &[]).await.unwrap();
    }
    let kept = catalogue.counted().kept_bytes;
    assert!((MOST_KEPT / 2..=MOST_KEPT).contains(&kept), "{kept}");
}
