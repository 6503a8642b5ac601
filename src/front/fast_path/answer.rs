//! The head of a server's answer: what it says of its body, and how it is told to the client.

use std::{mem::MaybeUninit, time::SystemTime};

use http::StatusCode;
use httpdate::HttpDate;
use smallvec::SmallVec;
use thiserror::Error;

use super::{chunks::Chunks, content_length};
use crate::proxy::headers;

/// The most fields an answer's head has: as many as the HTTP library takes.
const MOST_FIELDS: usize = 100;

/// What a server sent is no HTTP/1.1, or could be read in two ways.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("it sent what is no HTTP/1.1")]
pub(super) struct Garbled;

/// What an answer's head tells.
#[derive(Debug)]
pub(super) struct Head {
    /// Its status.
    pub(super) status: StatusCode,
    /// How many bytes it has.
    pub(super) length: usize,
    /// What follows it.
    pub(super) body: Body,
    /// Whether the server will answer another request on this connection.
    pub(super) keeps_alive: bool,
    /// Whether the client was told that its connection ends behind it.
    pub(super) closes: bool,
}

/// How an answer's body ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    /// Behind so many bytes; there may be none.
    Length(u64),
    /// With its last chunk.
    Chunks(Chunks),
    /// With the connection.
    Close,
}

/// What we say to the client in an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks<'m> {
    /// The server that answers.
    pub(super) server: &'m [u8],
    /// Why that one.
    pub(super) route: &'static str,
    /// Whether the client's connection ends behind it.
    pub(super) closes: bool,
}

impl Body {
    /// Whether nothing is left of it.
    pub(super) fn done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunks(chunks) => chunks.done(),
            Self::Close => false,
        }
    }

    /// Reads on. Gives back how many of `bytes` belong to it.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<usize, Garbled> {
        match self {
            Self::Length(left) => {
                let here = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= here as u64;
                Ok(here)
            }
            Self::Chunks(chunks) => chunks.read(bytes),
            Self::Close => Ok(bytes.len()),
        }
    }
}

/// Reads the head at the beginning of `bytes`, the answer to a request that was a `HEAD` if `to_head`. If all of it has
/// come, the client's is written to `told`: fields of one hop end here, all others pass as they are, ours follow.
/// Of an interim answer (1xx) nothing is written.
pub(super) fn read(
    bytes: &[u8],
    to_head: bool,
    marks: Marks<'_>,
    told: &mut Vec<u8>,
) -> Result<Option<Head>, Garbled> {
    let mut room = [const { MaybeUninit::uninit() }; MOST_FIELDS];
    let mut answer = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    let length = match parser.parse_response_with_uninit_headers(&mut answer, bytes, &mut room) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Garbled),
    };
    let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Garbled)?;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Garbled);
    }
    let said = Said::of(answer.headers, answer.version == Some(1))?;
    let body = said.body(status, to_head);
    let closes = marks.closes || matches!(body, Body::Close);
    if !status.is_informational() {
        tell(&answer, status, &said, Marks { closes, ..marks }, told);
    }
    Ok(Some(Head { status, length, body, keeps_alive: said.keeps_alive, closes }))
}

/// What the fields say about the connection and the body.
struct Said<'b> {
    keeps_alive: bool,
    chunked: bool,
    length: Option<u64>,
    /// Names of fields that `Connection` ends here, beside the usual ones.
    ended: SmallVec<[&'b [u8]; 1]>,
}

impl<'b> Said<'b> {
    fn of(fields: &[httparse::Header<'b>], is_1_1: bool) -> Result<Self, Garbled> {
        let mut said = Self { keeps_alive: is_1_1, chunked: false, length: None, ended: SmallVec::new() };
        for field in fields {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            if is("connection") {
                if items(field.value).any(|item| item.eq_ignore_ascii_case(b"close")) {
                    said.keeps_alive = false;
                }
                said.ended.push(field.value);
            } else if is("transfer-encoding") {
                if !is_1_1 || said.chunked || !field.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Garbled);
                }
                said.chunked = true;
            } else if is("content-length") {
                let length = content_length(field.value).ok_or(Garbled)?;
                if said.length.replace(length).is_some_and(|before| before != length) {
                    return Err(Garbled);
                }
            }
        }
        Ok(said)
    }

    fn body(&self, status: StatusCode, to_head: bool) -> Body {
        let bodiless =
            status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        match self.length {
            _ if to_head || bodiless => Body::Length(0),
            _ if self.chunked => Body::Chunks(Chunks::new()),
            Some(length) => Body::Length(length),
            None => Body::Close,
        }
    }

    /// Whether a field ends here: those of one hop, and what only we say.
    fn ends(&self, name: &str) -> bool {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        let frames = is("transfer-encoding") || is("content-length");
        let usual = match name.as_bytes().first().map(u8::to_ascii_lowercase) {
            Some(b'c') => is("connection") || (self.chunked && is("content-length")),
            Some(b'k') => is("keep-alive"),
            Some(b'p') => is("proxy-connection") || is("proxy-authenticate") || is("proxy-authorization"),
            Some(b't') => is("te"),
            Some(b'u') => is("upgrade"),
            Some(b'x') => is(headers::SERVER.as_str()) || is(headers::ROUTE.as_str()),
            _ => false,
        };
        let is_named = |value: &&[u8]| items(value).any(|item| item.eq_ignore_ascii_case(name.as_bytes()));
        usual || (!frames && self.ended.iter().any(is_named))
    }
}

fn tell(
    answer: &httparse::Response<'_, '_>,
    status: StatusCode,
    said: &Said<'_>,
    marks: Marks<'_>,
    told: &mut Vec<u8>,
) {
    let mut put = |part: &[u8]| told.extend_from_slice(part);
    put(b"HTTP/1.1 ");
    put(status.as_str().as_bytes());
    put(b" ");
    put(answer.reason.unwrap_or_default().as_bytes());
    put(b"\r\n");
    let (mut may_be_read, mut is_dated) = (false, false);
    for field in &*answer.headers {
        if said.ends(field.name) {
            continue;
        }
        may_be_read |= field.name.eq_ignore_ascii_case("access-control-allow-origin");
        is_dated |= field.name.eq_ignore_ascii_case("date");
        put(field.name.as_bytes());
        put(b": ");
        put(field.value);
        put(b"\r\n");
    }
    if !is_dated {
        // Whoever passes an answer on says when it came (RFC 9110, section 6.6.1).
        put(format!("date: {}\r\n", HttpDate::from(SystemTime::now())).as_bytes());
    }
    put(headers::VIA_LINE);
    put(b"x-pointsman-server: ");
    put(marks.server);
    put(b"\r\nx-pointsman-route: ");
    put(marks.route.as_bytes());
    put(b"\r\n");
    if may_be_read {
        put(headers::EXPOSED_LINE);
    }
    put(if marks.closes { b"connection: close\r\n\r\n" } else { b"\r\n" });
}

fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Marks<'_> = Marks { server: b"127.0.0.1:1", route: "owner; evidence=busy", closes: false };
    const OURS: &str = "via: 1.1 pointsman\r\nx-pointsman-server: 127.0.0.1:1\r\n\
                        x-pointsman-route: owner; evidence=busy\r\n";

    fn told(bytes: &str) -> (Head, String) {
        let mut told = Vec::new();
        let head = read(bytes.as_bytes(), false, MARKS, &mut told).unwrap().unwrap();
        (head, String::from_utf8(told).unwrap())
    }

    #[test]
    fn what_a_server_says_passes_as_it_is_and_ours_follows() {
        let (head, told) = told(
            "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nX-Odd:  a,  b \r\nX-Odd: c\r\nDate: d\r\n\r\nhello",
        );
        assert_eq!(
            told,
            format!(
                "HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nX-Odd: a,  b\r\nX-Odd: c\r\nDate: d\r\n{OURS}\r\n"
            )
        );
        assert!(matches!(head.body, Body::Length(5)) && head.keeps_alive);
    }

    #[test]
    fn fields_of_one_hop_and_those_that_only_we_say_end_here() {
        let (head, told) = told(
            "HTTP/1.1 200 OK\r\nConnection: x-private , close\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\n\
             Connection: x-other\r\nX-Other: 1\r\nDate: d\r\n\
             Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\nTE: x\r\nX-Pointsman-Server: a lie\r\n\
             x-pointsman-route: another\r\nTransfer-Encoding: chunked\r\ncontent-length: 5\r\n\r\n",
        );
        assert_eq!(told, format!("HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n{OURS}\r\n"));
        assert!(matches!(head.body, Body::Chunks(_)) && !head.closes && !head.keeps_alive);
    }

    #[test]
    fn a_body_ends_where_its_head_says() {
        for (to_head, said, empty) in [
            (true, "200 OK\r\ncontent-length: 5", true),
            (true, "200 OK\r\ntransfer-encoding: chunked", true),
            (false, "204 No Content", true),
            (false, "304 Not Modified\r\ncontent-length: 5", true),
            (false, "200 OK\r\ncontent-length: 0", true),
            (false, "200 OK\r\ncontent-length: 5\r\ncontent-length: 5", false),
        ] {
            let head = format!("HTTP/1.1 {said}\r\n\r\n");
            let head = read(head.as_bytes(), to_head, MARKS, &mut Vec::new()).unwrap().unwrap();
            assert_eq!(head.body.done(), empty, "{said}");
        }
    }

    #[test]
    fn a_body_that_ends_with_its_connection_ends_the_clients_too() {
        let (head, told) = told("HTTP/1.0 200 OK\r\n\r\n");
        assert!(matches!(head.body, Body::Close) && !head.keeps_alive && head.closes);
        assert!(told.ends_with("connection: close\r\n\r\n"), "{told}");
    }

    #[test]
    fn an_answer_without_a_date_is_given_one() {
        let (_, told) = told("HTTP/1.1 204 No Content\r\n\r\n");
        let date = told.split("date: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap();
        assert!(httpdate::parse_http_date(date).is_ok(), "{told}");
    }

    #[test]
    fn pages_may_read_our_fields_where_they_may_read_the_answer() {
        let (_, told) = told("HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: *\r\n\r\n");
        assert!(
            told.contains("\r\naccess-control-expose-headers: X-Pointsman-Server, X-Pointsman-Route, "),
            "{told}"
        );
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for said in [
            "HTTP/2 200 OK",
            "what do you want?",
            "HTTP/1.1 101 Switching Protocols",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6",
            "HTTP/1.1 200 OK\r\ncontent-length: +5",
            "HTTP/1.1 200 OK\r\ncontent-length: 5, 5",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked",
            "HTTP/1.1 200 OK\r\nx-a : b",
            "HTTP/1.1 200 OK\r\nx-a: b\r\n c",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked",
        ] {
            let bytes = format!("{said}\r\n\r\n");
            assert!(read(bytes.as_bytes(), false, MARKS, &mut Vec::new()).is_err(), "{said}");
        }
    }

    #[test]
    fn nothing_is_told_of_an_interim_answer_or_of_a_part() {
        let mut told = Vec::new();
        let head = read(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n", false, MARKS, &mut told).unwrap();
        assert!(head.is_some_and(|head| head.status.is_informational() && head.body.done()));
        assert!(read(b"HTTP/1.1 200 OK\r\nx: ", false, MARKS, &mut told).unwrap().is_none());
        assert!(told.is_empty());
    }
}
