//! Asking a running daemon, for the commands that print what it says.

use std::{
    io::{self, Write},
    time::Duration,
};

use reqwest::{
    Method, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use serde_json::Value;
use thiserror::Error;

use super::DaemonArgs;
use crate::{
    api::wire::ErrorView,
    config::{Environment, Secret},
};

/// How long a connection may take: the daemon is on this machine or near it.
const CONNECT: Duration = Duration::from_secs(3);

/// How long an answer may take. A look-up asks servers, and a server that has just started is slow.
const ANSWER: Duration = Duration::from_secs(30);

/// How long a stream of events may say nothing. A living one has a sign of life every 10 s.
const SILENCE: Duration = Duration::from_secs(35);

/// Why a command has nothing to print. Each is one sentence that says what to do.
#[derive(Debug, Error)]
pub enum CliError {
    /// The URL cannot be asked.
    #[error("{url:?} is no http:// URL; --url takes one like http://127.0.0.1:4747")]
    BadUrl {
        /// The URL.
        url: String,
    },
    /// The token cannot stand in a header.
    #[error("the token holds characters that no HTTP header may hold")]
    BadToken,
    /// Nobody answers there.
    #[error("no pointsman answers at {url}; start one with `pointsman serve`, or name another with --url")]
    Unreachable {
        /// The URL.
        url: String,
    },
    /// Somebody took the question and gave no answer in time.
    #[error("{url} took the question and did not answer within {} s", ANSWER.as_secs())]
    Silent {
        /// The URL.
        url: String,
    },
    /// It wants a token, or another one.
    #[error("the pointsman at {url} wants its token; set POINTSMAN_TOKEN")]
    TokenWanted {
        /// The URL.
        url: String,
    },
    /// The daemon says no.
    #[error("{message}")]
    Refused {
        /// In its words.
        message: String,
    },
    /// What answers is no pointsman, or one of another version.
    #[error("what answers at {url} is not this version of pointsman: {why}")]
    Foreign {
        /// The URL.
        url: String,
        /// What gives it away.
        why: String,
    },
    /// No daemon has ever used the state directory.
    #[error(
        "no daemon has left its registration.json in {place}; start one with `pointsman serve`, or name its --state-dir"
    )]
    NoNotice {
        /// Which one.
        place: String,
    },
    /// What answers there does not know the secret.
    #[error("what answers at {url} is not the daemon of this state directory; start that one again")]
    Unproven {
        /// The URL.
        url: String,
    },
    /// There is no terminal program to attach.
    #[error("there is no opencode on PATH; install it, or name it with --opencode")]
    NoProgram,
    /// The terminal program does not start.
    #[error("cannot run {program}: {source}")]
    Unstarted {
        /// Which one.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// No browser could be asked for.
    #[error("cannot open a browser ({source}); open {page} in one")]
    NoBrowser {
        /// What it should show.
        page: String,
        /// Why not.
        source: io::Error,
    },
    /// The plugin cannot be put in its place, or taken away.
    #[error(transparent)]
    Plugin(#[from] super::plugin::PluginError),
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
}

impl CliError {
    /// 2 for what was typed wrong, 1 for everything else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::BadUrl { .. } | Self::BadToken | Self::NoNotice { .. } | Self::Plugin(_) => 2,
            Self::Unreachable { .. }
            | Self::Silent { .. }
            | Self::TokenWanted { .. }
            | Self::Refused { .. }
            | Self::Foreign { .. }
            | Self::Unproven { .. }
            | Self::NoProgram
            | Self::Unstarted { .. }
            | Self::NoBrowser { .. }
            | Self::Output(_) => 1,
        }
    }
}

/// A daemon to ask.
#[derive(Debug)]
pub struct Client {
    url: String,
    base: Url,
    token: Option<HeaderValue>,
    http: reqwest::Client,
}

impl Client {
    /// The daemon that `args` name; nobody is asked yet.
    pub fn new(args: &DaemonArgs, environment: &Environment) -> Result<Self, CliError> {
        let url = args.daemon_url(environment);
        let base = Url::parse(&url).ok().filter(|base| base.scheme() == "http" && base.has_host());
        let Some(base) = base else { return Err(CliError::BadUrl { url }) };
        let token = args.token.as_ref().map(bearer).transpose()?;
        let http = direct()
            .timeout(ANSWER)
            .build()
            .map_err(|error| CliError::Foreign { url: url.clone(), why: error.to_string() })?;
        Ok(Self { url, base, token, http })
    }

    /// Where the daemon is, as named, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same, read.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// What the daemon answers to a GET of the path made of `segments`.
    pub async fn get(&self, segments: &[&str], query: &[(&str, &str)]) -> Result<Value, CliError> {
        self.answer(self.request(&self.http, Method::GET, segments).query(query)).await
    }

    /// What it answers, within `time`, to a POST of `body`, which shows it the secret if one is given.
    pub async fn post(
        &self,
        segments: &[&str],
        body: &Value,
        secret: Option<&Secret>,
        time: Duration,
    ) -> Result<Value, CliError> {
        let mut request = self.request(&self.http, Method::POST, segments).json(body).timeout(time);
        if let Some(secret) = secret {
            let mut value = HeaderValue::from_str(secret.expose()).map_err(|_| CliError::BadToken)?;
            value.set_sensitive(true);
            request = request.header("x-pointsman-secret", value);
        }
        self.answer(request).await
    }

    /// The stream of events that the daemon answers with, behind the one with the id `cursor`. It ends when nothing has
    /// come for `SILENCE`.
    pub async fn stream(
        &self,
        segments: &[&str],
        query: &[(&str, String)],
        cursor: Option<&str>,
    ) -> Result<reqwest::Response, CliError> {
        let client = direct().read_timeout(SILENCE).build();
        let client = client.map_err(|error| self.foreign(error.to_string()))?;
        let request = self.request(&client, Method::GET, segments);
        let mut request = request.query(query).header(ACCEPT, "text/event-stream");
        if let Some(cursor) = cursor {
            request = request.header("last-event-id", cursor);
        }
        let response = self.granted(request).await?;
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
            Ok(response)
        } else {
            Err(self.foreign("its answer is no stream of events".to_owned()))
        }
    }

    fn request(
        &self,
        client: &reqwest::Client,
        method: Method,
        segments: &[&str],
    ) -> reqwest::RequestBuilder {
        let mut url = self.base.clone();
        // Appending to an http URL always works: it has a path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        let request = client.request(method, url);
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, token.clone()),
            None => request,
        }
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Value, CliError> {
        let response = self.granted(request).await?;
        let body = response.bytes().await.map_err(|error| self.failed(&error))?;
        serde_json::from_slice(&body).map_err(|_| self.foreign("its answer is no JSON".to_owned()))
    }

    /// The head of an answer that is no refusal.
    async fn granted(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, CliError> {
        let response = request.send().await.map_err(|error| self.failed(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if status.as_u16() == 401 {
            return Err(CliError::TokenWanted { url: self.url.clone() });
        }
        let ours = response.headers().contains_key("x-pointsman-error");
        let body = response.bytes().await.map_err(|error| self.failed(&error))?;
        Err(match serde_json::from_slice::<ErrorView>(&body) {
            Ok(error) if ours => CliError::Refused { message: error.data.message },
            _ => self.foreign(format!("it answers {status}")),
        })
    }

    /// An answer as what it should be.
    pub fn read<T: serde::de::DeserializeOwned>(&self, answer: &Value) -> Result<T, CliError> {
        T::deserialize(answer).map_err(|error| self.foreign(error.to_string()))
    }

    fn failed(&self, error: &reqwest::Error) -> CliError {
        let url = self.url.clone();
        if error.is_timeout() && !error.is_connect() {
            CliError::Silent { url }
        } else {
            CliError::Unreachable { url }
        }
    }

    fn foreign(&self, why: String) -> CliError {
        CliError::Foreign { url: self.url.clone(), why }
    }
}

/// Never through a proxy of the environment: the token is for the daemon alone.
fn direct() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).connect_timeout(CONNECT)
}

fn bearer(token: &Secret) -> Result<HeaderValue, CliError> {
    let mut value =
        HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| CliError::BadToken)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Prints `text` and ends its last line. A reader who has had enough (`| head`) is no error.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    let written = writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CliError::Output(error)),
        _ => Ok(()),
    }
}

/// Prints JSON for programs, and for people who read it.
pub(super) fn print_json(value: &Value) -> Result<(), CliError> {
    print(&format!("{value:#}"))
}

#[cfg(test)]
mod tests {
    use axum::{Json, Router, routing::get};
    use http::StatusCode;
    use serde_json::json;

    use super::*;

    async fn daemon(router: Router) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn client(url: &str, token: Option<&str>) -> Result<Client, CliError> {
        let args = DaemonArgs { url: Some(url.to_owned()), token: token.map(Secret::from) };
        Client::new(&args, &Environment::default())
    }

    #[tokio::test]
    async fn a_session_id_stands_in_the_path_whatever_it_holds() {
        let echo = |uri: http::Uri| async move { Json(json!(uri.to_string())) };
        let url = daemon(Router::new().fallback(echo)).await;
        let answer =
            client(&url, None).unwrap().get(&["sessions", "ses/../é?"], &[("a", "b c")]).await.unwrap();
        assert_eq!(answer, "/sessions/ses%2F..%2F%C3%A9%3F?a=b+c");
    }

    #[tokio::test]
    async fn what_went_wrong_is_one_sentence_and_an_exit_code() {
        let refuse = || async {
            let body = json!({ "name": "NotFoundError", "data": { "message": "Session not found: ses_1" } });
            (StatusCode::NOT_FOUND, [("x-pointsman-error", "NotFoundError")], Json(body))
        };
        let router = Router::new()
            .route("/ours", get(refuse))
            .route("/closed", get(|| async { StatusCode::UNAUTHORIZED }))
            .route("/html", get(|| async { "<html>" }));
        let url = daemon(router).await;
        let client_of = |url: &str| client(url, Some("t")).unwrap();
        for (path, told) in [
            ("ours", "Session not found: ses_1".to_owned()),
            ("closed", format!("the pointsman at {url} wants its token; set POINTSMAN_TOKEN")),
            (
                "html",
                format!("what answers at {url} is not this version of pointsman: its answer is no JSON"),
            ),
            (
                "missing",
                format!("what answers at {url} is not this version of pointsman: it answers 404 Not Found"),
            ),
        ] {
            let error = client_of(&url).get(&[path], &[]).await.unwrap_err();
            assert_eq!((error.to_string(), error.exit_code()), (told, 1));
        }
        let nobody = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            format!("http://{}", listener.local_addr().unwrap())
        };
        let error = client_of(&nobody).get(&["servers"], &[]).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "no pointsman answers at {nobody}; start one with `pointsman serve`, or name another with --url"
            )
        );
    }

    #[test]
    fn a_url_that_is_none_is_a_usage_error() {
        for url in ["127.0.0.1:4747", "https://x", "http://", "nonsense"] {
            assert_eq!(client(url, None).unwrap_err().exit_code(), 2, "{url}");
        }
        assert_eq!(client("http://x", Some("a\nb")).unwrap_err().exit_code(), 2);
    }
}
