//! Words for the refusals that the HTTP library writes by itself.
//!
//! A head that is too large or no HTTP at all never becomes a request, so no code of ours answers it: the library writes
//! a status and nothing else. Clients of the agent parse errors as JSON, so that bare head is replaced, on its way to
//! the socket, by the same status with a sentence. Answers of ours and of servers pass untouched: they carry `Via` or
//! our own mark, or a body.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::MOST_HEAD;
use crate::{
    api::error::{self, Fault},
    proxy::answer::AnswerBody,
};

/// A client's stream whose bare refusals are given words.
pub(super) struct PlainWords<S> {
    stream: S,
    /// What is being written in place of a bare refusal, and how much of it is out.
    words: Option<(Vec<u8>, usize)>,
}

impl<S> PlainWords<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, words: None }
    }

    /// The stream.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncWrite + Unpin> PlainWords<S> {
    /// Writes on what replaces the bare refusal; done when all of it is out.
    fn poll_words(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some((words, out)) = &mut self.words {
            if *out == words.len() {
                self.words = None;
                break;
            }
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &words[*out..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *out += written;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PlainWords<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        if me.words.is_none() {
            let Some(words) = in_plain_words(bytes) else {
                return Pin::new(&mut me.stream).poll_write(cx, bytes);
            };
            me.words = Some((words, 0));
        }
        me.poll_words(cx).map_ok(|()| bytes.len())
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first: &[u8] = slices.iter().find(|slice| !slice.is_empty()).map_or(&[], |slice| slice);
        if self.words.is_some() || is_refusal(first) {
            return self.poll_write(cx, first);
        }
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PlainWords<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

/// A cheap look, for every write.
fn is_refusal(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HTTP/1.1 4")
}

/// The answer in place of `head`, if that is a bare refusal of the library's own.
fn in_plain_words(head: &[u8]) -> Option<Vec<u8>> {
    if !is_refusal(head) {
        return None;
    }
    let text = std::str::from_utf8(head).ok()?.strip_suffix("\r\n\r\n")?;
    let mut lines = text.split("\r\n");
    let status = StatusCode::from_bytes(lines.next()?.as_bytes().get(9..12)?).ok()?;
    let mut fields = lines.filter_map(|line| line.split_once(':'));
    let bare = fields.all(|(name, value)| match name {
        "content-length" => value.trim() == "0",
        "connection" | "date" => true,
        _ => false,
    });
    let fault = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE if bare => Fault::HeadTooLarge { limit: MOST_HEAD },
        StatusCode::BAD_REQUEST if bare => Fault::BadRequest {
            message: String::from("this is not a request that can be understood as HTTP/1.1"),
        },
        _ => return None,
    };
    let (mut parts, body) = error::fault(&fault).into_parts();
    parts.status = status;
    last_answer(&Response::from_parts(parts, body), false)
}

/// One of our own answers in bytes, behind which the connection ends; without its body if it answers a `HEAD`.
/// `None` if its body is not at hand.
pub(super) fn last_answer(answer: &Response<AnswerBody>, to_head: bool) -> Option<Vec<u8>> {
    let AnswerBody::Whole(Some(body)) = answer.body() else { return None };
    let head =
        format!("HTTP/1.1 {}\r\nconnection: close\r\ncontent-length: {}\r\n", answer.status(), body.len());
    let mut words = head.into_bytes();
    for (name, value) in answer.headers() {
        words.extend_from_slice(format!("{name}: ").as_bytes());
        words.extend_from_slice(value.as_bytes());
        words.extend_from_slice(b"\r\n");
    }
    words.extend_from_slice(b"\r\n");
    if !to_head {
        words.extend_from_slice(body);
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const BARE: &[u8] =
        b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";

    async fn passed_on(written: &[u8]) -> String {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let written = written.to_vec();
        let writing = tokio::spawn(async move { PlainWords::new(ours).write_all(&written).await });
        let mut read = String::new();
        theirs.read_to_string(&mut read).await.unwrap();
        writing.await.unwrap().unwrap();
        read
    }

    #[tokio::test]
    async fn a_bare_refusal_is_given_words_even_where_the_client_reads_slowly() {
        let read = passed_on(BARE).await;
        let (head, body) = read.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["name"], "HeadTooLargeError");
    }

    #[tokio::test]
    async fn a_servers_refusal_passes_untouched() {
        let refusal = "HTTP/1.1 400 Bad Request\r\nvia: 1.1 pointsman\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(passed_on(refusal.as_bytes()).await, refusal);
        let body = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        assert_eq!(passed_on(body.as_bytes()).await, body);
    }
}
