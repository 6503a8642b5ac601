//! What is said on one socket, from its beginning to its end.
//!
//! Events go out as messages, wishes come in. A client that reads slowly is waited for, while its subscription is told
//! less; one that gives no sign of life is let go of, and its cursor stays good.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde::Serialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Interval, MissedTickBehavior, interval_at, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message, Utf8Bytes,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};
use utoipa::ToSchema;

use super::{
    super::subscribe::Unmet,
    wish::{Said, Unclear, Wish},
};
use crate::events::{sse::Decoder, subscriber::Subscription};

/// How often the client is asked for a sign of life.
const PING: Duration = Duration::from_secs(10);

/// How many of these questions may stay unanswered.
const MOST_UNANSWERED: u32 = 3;

/// How long a client may take over one event, or over some kilobytes of short ones.
const STUCK: Duration = PING.saturating_mul(MOST_UNANSWERED);

/// A client that was waited for this long and then took what it was sent is alive: its answer to a ping stands behind
/// all that it has yet to read.
const SLOW: Duration = Duration::from_secs(1);

/// How long a client may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// See the module. `J` subscribes.
pub(super) struct Conversation<S, J> {
    socket: WebSocketStream<S>,
    subscription: Subscription,
    /// Whether the client is told what its subscription says. If not, that is still heard for the end of all streams.
    told: bool,
    decoder: Decoder,
    join: J,
    pings: Interval,
    unanswered: u32,
}

/// What a client of `/ws` is answered.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
#[schema(example = json!({ "type": "unsubscribed" }))]
pub(in crate::front) enum Reply {
    /// It is told nothing from now on.
    Unsubscribed,
    /// It said what makes no sense, which changes nothing.
    Error {
        /// What is wrong, in one stable word.
        name: String,
        /// A sentence for people.
        message: String,
    },
}

/// Why a conversation is over.
enum Over {
    /// The client has gone, or has said goodbye.
    Gone,
    /// We end it, and say why.
    Closed(CloseCode, String),
}

impl From<Error> for Over {
    fn from(error: Error) -> Self {
        match error {
            Error::Capacity(why) => Self::Closed(CloseCode::Size, why.to_string()),
            Error::Protocol(why) => Self::Closed(CloseCode::Protocol, why.to_string()),
            Error::Utf8(why) => Self::Closed(CloseCode::Invalid, why),
            _ => Self::Gone,
        }
    }
}

impl<S, J> Conversation<S, J>
where
    S: AsyncRead + AsyncWrite + Unpin,
    J: Fn(Wish) -> Result<Subscription, Unmet>,
{
    /// One that begins with this subscription.
    pub(super) fn new(socket: WebSocketStream<S>, subscription: Subscription, join: J) -> Self {
        let mut pings = interval_at(Instant::now() + PING, PING);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { socket, subscription, told: true, decoder: Decoder::new(), join, pings, unanswered: 0 }
    }

    /// Talks until one of both has had enough.
    pub(super) async fn run(mut self) {
        let over = loop {
            if let Err(over) = self.step().await {
                break over;
            }
        };
        let Over::Closed(code, reason) = over else { return };
        tracing::debug!(%code, reason, "a socket is closed");
        let goodbye = async {
            let frame = CloseFrame { code, reason: shortened(reason).into() };
            if self.socket.close(Some(frame)).await.is_ok() {
                // Until the client has read it; what else it says is of no matter.
                while let Some(Ok(_)) = self.socket.next().await {}
            }
        };
        // A client that does not take it has lost nothing but the reason.
        let _ = timeout(GOODBYE, goodbye).await;
    }

    async fn step(&mut self) -> Result<(), Over> {
        tokio::select! {
            // What the client says comes first: it may say that it wants something else.
            biased;
            said = self.socket.next() => match said {
                None => Err(Over::Gone),
                Some(message) => {
                    self.unanswered = 0;
                    self.hear(message?).await
                }
            },
            _ = self.pings.tick() => self.ping().await,
            piece = self.subscription.next() => match piece {
                Some(piece) => self.tell(piece).await,
                None => Err(Over::Closed(CloseCode::Again, "you read too slowly".to_owned())),
            },
        }
    }

    async fn ping(&mut self) -> Result<(), Over> {
        if self.unanswered >= MOST_UNANSWERED {
            let silent = format!("{MOST_UNANSWERED} pings were not answered");
            return Err(Over::Closed(CloseCode::Policy, silent));
        }
        self.unanswered += 1;
        self.send([Message::Ping(Bytes::new())]).await
    }

    async fn hear(&mut self, message: Message) -> Result<(), Over> {
        let said = match message {
            Message::Text(text) => Said::read(&text),
            Message::Binary(_) => Err(Unclear::Binary),
            Message::Close(_) => {
                // The answer has been written by now; it leaves with this.
                let _ = timeout(GOODBYE, self.socket.flush()).await;
                return Err(Over::Gone);
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return Ok(()),
        };
        match said {
            Ok(Said::Subscribe(wish)) => match (self.join)(wish) {
                Ok(subscription) => {
                    self.subscription = subscription;
                    self.decoder = Decoder::new();
                    self.told = true;
                    Ok(())
                }
                Err(unmet) => self.complain(unmet.name(), &unmet.to_string()).await,
            },
            Ok(Said::Unsubscribe {}) => {
                self.told = false;
                self.reply(&Reply::Unsubscribed).await
            }
            Err(unclear) => self.complain("BadRequest", &unclear.to_string()).await,
        }
    }

    async fn complain(&mut self, name: &str, message: &str) -> Result<(), Over> {
        self.reply(&Reply::Error { name: name.to_owned(), message: message.to_owned() }).await
    }

    async fn reply(&mut self, reply: &Reply) -> Result<(), Over> {
        // Texts always become JSON.
        let text = serde_json::to_string(reply).unwrap_or_default();
        self.send([Message::text(text)]).await
    }

    async fn tell(&mut self, piece: Bytes) -> Result<(), Over> {
        if let Some(retry) = piece.strip_prefix(b"retry: ") {
            let after = String::from_utf8_lossy(retry).trim().to_owned();
            return Err(Over::Closed(CloseCode::Restart, format!("retry: {after}")));
        }
        self.decoder.push(piece);
        let events: Vec<Message> = self
            .decoder
            .by_ref()
            .filter(|_| self.told)
            // What is no text is no JSON either, and was never published.
            .filter_map(|event| Utf8Bytes::try_from(event).ok().map(Message::Text))
            .collect();
        self.send(events).await
    }

    /// Sends messages, for as long as the client takes something now and then.
    async fn send(&mut self, messages: impl IntoIterator<Item = Message>) -> Result<(), Over> {
        for message in messages {
            let began = Instant::now();
            moving(self.socket.feed(message)).await?;
            if began.elapsed() >= SLOW {
                self.unanswered = 0;
            }
        }
        moving(self.socket.flush()).await
    }
}

async fn moving(sending: impl Future<Output = Result<(), Error>>) -> Result<(), Over> {
    // A close frame would not get through either.
    timeout(STUCK, sending).await.map_err(|_| Over::Gone)?.map_err(Over::from)
}

/// What a close frame holds at most, in bytes.
const MOST_REASON: usize = 123;

fn shortened(mut reason: String) -> String {
    let end = (0..=MOST_REASON).rev().find(|&end| reason.is_char_boundary(end)).unwrap_or(0);
    reason.truncate(end);
    reason
}

#[cfg(test)]
mod tests;
