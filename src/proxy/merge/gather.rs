//! Putting questions to servers, many at once, none for longer than patience lasts.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream, stream::FuturesUnordered};
use http::{HeaderMap, StatusCode, header};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::{
    ask::{Answer, Ask, AskRequest},
    partial::{Absence, Reason},
    plan::{Question, Wording},
    query,
    read::{Part, read},
};
use crate::{opencode::lists::List, proxy::headers, registry::server::Server};

/// How many servers are asked at once. With more than this many, the last wait for the first.
const SERVERS_AT_ONCE: usize = 64;

/// How many questions one server has at once. They are single-threaded programs, and one of them that hangs must not
/// fill every place.
const QUESTIONS_AT_ONCE: usize = 8;

/// How many times the deadline nobody at all may take.
const UNHEARD: u32 = 5;

/// When the next server of a store is asked beside one that keeps us waiting: after this part of the deadline.
const PATIENCE: u32 = 4;

/// From how many bytes on an answer is read beside the others instead of among them. Reading so many takes some 100 µs.
const LONG: usize = 128 * 1024;

/// What the client asked, in the words for the servers.
#[derive(Debug)]
pub(super) struct Words<'a> {
    pub(super) list: List,
    /// The query, its paging made fit for several servers.
    pub(super) query: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) deadline: Duration,
}

/// A part of the list, and from whom.
#[derive(Debug)]
pub(super) struct Heard {
    /// Which question it answers.
    pub(super) question: usize,
    pub(super) server: Arc<Server>,
    pub(super) part: Part,
}

/// All that came back.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// In the order of the questions.
    pub(super) heard: Vec<Heard>,
    pub(super) absences: Vec<Absence>,
    /// What servers answered that refused, in the order of the questions.
    pub(super) refusals: Vec<(Arc<Server>, Answer)>,
}

enum Failure {
    Refused(Answer),
    For(Reason),
}

/// How long servers are waited for: until the deadline where somebody has answered by then, and longer where nobody
/// has. A late answer from the only server there is serves its client better than none.
struct Patience {
    deadline: Instant,
    last: Instant,
    heard: watch::Sender<bool>,
}

impl Patience {
    fn new(deadline: Duration) -> Self {
        let now = Instant::now();
        Self { deadline: now + deadline, last: now + deadline * UNHEARD, heard: watch::Sender::new(false) }
    }

    fn hear(&self) {
        self.heard.send_replace(true);
    }

    async fn over(&self) {
        sleep_until(self.deadline).await;
        let mut heard = self.heard.subscribe();
        tokio::select! {
            _ = heard.wait_for(|heard| *heard) => {}
            () = sleep_until(self.last) => {}
        }
    }
}

/// Puts all `questions` and waits for the answers, as long as patience lasts.
pub(super) async fn gather(ask: &impl Ask, questions: &[Question], words: &Words<'_>) -> Gathered {
    let patience = Patience::new(words.deadline);
    let patience = &patience;
    let mut by_server: Vec<Vec<usize>> = Vec::new();
    for (at, question) in questions.iter().enumerate() {
        let first = |at: usize| questions[at].servers.first().map(|server| server.key);
        match by_server.iter_mut().find(|others| first(others[0]) == question.servers.first().map(|s| s.key))
        {
            Some(others) => others.push(at),
            None => by_server.push(vec![at]),
        }
    }
    let mut outcomes: Vec<_> = stream::iter(by_server)
        .map(|of_server| {
            stream::iter(of_server)
                .map(|at| async move { (at, put(ask, &questions[at], words, patience).await) })
                .buffer_unordered(QUESTIONS_AT_ONCE)
                .collect::<Vec<_>>()
        })
        .buffer_unordered(SERVERS_AT_ONCE)
        .concat()
        .await;
    outcomes.sort_by_key(|(at, _)| *at);
    let mut gathered = Gathered::default();
    for (question, outcome) in outcomes {
        match outcome {
            Ok((server, part)) => gathered.heard.push(Heard { question, server, part }),
            Err(failures) => {
                for (server, failure) in failures {
                    match failure {
                        Failure::Refused(answer) => gathered.refusals.push((server, answer)),
                        Failure::For(reason) => gathered.absences.push(Absence { server, reason }),
                    }
                }
            }
        }
    }
    gathered
}

/// Puts one question: to the first server, and to the next ones as soon as those before have failed or are slow.
async fn put(
    ask: &impl Ask,
    question: &Question,
    words: &Words<'_>,
    patience: &Patience,
) -> Result<(Arc<Server>, Part), Vec<(Arc<Server>, Failure)>> {
    let mut failures = Vec::new();
    let mut waiting = FuturesUnordered::new();
    let mut servers = question.servers.iter();
    let begin = |server: &Arc<Server>| {
        let server = Arc::clone(server);
        let request = request(question, words);
        async move {
            let answered = tokio::select! {
                answered = answer(ask, &server, request, words.list) => answered,
                () = patience.over() => Err(Failure::For(Reason::Timeout)),
            };
            (server, answered)
        }
    };
    waiting.extend(servers.next().map(&begin));
    loop {
        let more = !servers.as_slice().is_empty();
        tokio::select! {
            ended = waiting.next() => match ended {
                Some((server, Ok(part))) => {
                    patience.hear();
                    return Ok((server, part));
                }
                Some((server, Err(failure))) => {
                    // Whoever shares the store would refuse it too.
                    let refused = matches!(&failure, Failure::Refused(answer) if answer.status.is_client_error());
                    failures.push((server, failure));
                    if refused {
                        return Err(failures);
                    }
                    waiting.extend(servers.next().map(&begin));
                }
                None => return Err(failures),
            },
            () = sleep(words.deadline / PATIENCE), if more => waiting.extend(servers.next().map(&begin)),
        }
    }
}

async fn answer(
    ask: &impl Ask,
    server: &Arc<Server>,
    request: AskRequest,
    list: List,
) -> Result<Part, Failure> {
    let answer = ask.ask(server, request).await.map_err(|error| {
        tracing::debug!(server = %server.id, %error, "no part of a list");
        Failure::For(Reason::Failed)
    })?;
    match answer.status {
        // It is our credentials that are wrong, not the client's.
        StatusCode::UNAUTHORIZED => return Err(Failure::For(Reason::Locked)),
        status if status.is_client_error() || status.is_server_error() => {
            return Err(Failure::Refused(answer));
        }
        _ => {}
    }
    let part = if answer.body.len() < LONG {
        read(list, answer)
    } else {
        let reading = tokio::task::spawn_blocking(move || read(list, answer));
        reading.await.map_err(|_| Failure::For(Reason::Failed))?
    };
    part.map_err(|_| Failure::For(Reason::Malformed))
}

fn request(question: &Question, words: &Words<'_>) -> AskRequest {
    let mut headers = words.headers.clone();
    for name in [
        header::ACCEPT_ENCODING,
        header::RANGE,
        header::IF_RANGE,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::TRANSFER_ENCODING,
        header::EXPECT,
    ] {
        headers.remove(name);
    }
    let query = match &question.wording {
        Wording::AsNamed => words.query.to_owned(),
        Wording::In(directory) => {
            headers.insert(headers::DIRECTORY, encoded(directory));
            query::without(words.query, DIRECTORY_KEYS)
        }
        Wording::Own => {
            headers.remove(headers::DIRECTORY);
            query::without(words.query, DIRECTORY_KEYS)
        }
    };
    let path = words.list.path();
    let path_and_query = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    AskRequest { path_and_query, headers }
}

/// How a directory is named in a query.
const DIRECTORY_KEYS: &[&str] = &["directory", "location[directory]"];

/// A directory as the value of a header. In the header it is decoded once by both interfaces, and means its whole
/// project to `/session`; in the query the first interface decodes it twice, and `/session` takes it as a filter.
fn encoded(directory: &str) -> http::HeaderValue {
    let text =
        percent_encoding::utf8_percent_encode(directory, percent_encoding::NON_ALPHANUMERIC).to_string();
    http::HeaderValue::from_str(&text).unwrap_or_else(|_| http::HeaderValue::from_static(""))
}
