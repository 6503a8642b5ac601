//! A stream of events in gzip, for a client that asks for it: each piece can be read the moment it has come.
//!
//! Every stream has a compressor of its own, since what makes events small is what the same client was sent before.

use std::{
    convert::Infallible,
    fmt, io,
    io::Write as _,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http_body::{Body, Frame};

use crate::events::subscriber::Subscription;

/// See the module.
pub struct Gzipped {
    events: Subscription,
    /// `None` once the end is written.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl Gzipped {
    /// What `events` says.
    pub fn new(events: Subscription) -> Self {
        // Events repeat themselves so much that trying harder gains little: see the decision on compression.
        Self { events, encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())) }
    }

    /// All of `piece`, so that its reader need not wait for the next; the end without one.
    fn compress(&mut self, piece: Option<&[u8]>) -> io::Result<Option<Bytes>> {
        let written = match (piece, &mut self.encoder) {
            (_, None) => return Ok(None),
            (Some(piece), Some(encoder)) => {
                encoder.write_all(piece)?;
                encoder.flush()?;
                mem::take(encoder.get_mut())
            }
            (None, encoder) => encoder.take().map_or_else(|| Ok(Vec::new()), GzEncoder::finish)?,
        };
        Ok(Some(written.into()))
    }
}

impl fmt::Debug for Gzipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gzipped").field(&self.events).finish()
    }
}

impl Body for Gzipped {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        if this.encoder.is_none() {
            return Poll::Ready(None);
        }
        let piece = ready!(this.events.poll_next(cx));
        // Writing into memory does not fail; were it to, the stream would end and the client come back.
        let compressed = this.compress(piece.as_deref()).unwrap_or_default();
        Poll::Ready(compressed.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::{Decompress, FlushDecompress, read::GzDecoder};
    use http_body_util::BodyExt;

    use super::*;
    use crate::{
        domain::ids::ServerKey,
        events::{
            hub::{Emitter, Hub},
            log::Limits,
            view::{AttentionRule, Shape, View},
        },
        opencode::event::Decoder,
    };

    #[tokio::test]
    async fn each_event_can_be_read_when_it_has_come_and_the_whole_is_a_whole_file() {
        let hub = Hub::new(Limits::default());
        let view = View {
            shape: Shape::Global,
            directory: None,
            server: None,
            attention: AttentionRule::All,
            opened: None,
            filter: std::sync::Arc::default(),
        };
        let mut body = Gzipped::new(hub.subscribe(view));
        let emitter = Emitter { key: ServerKey(1), id: "srv_1".into() };
        let (mut all, mut plain) = (Vec::new(), vec![0; 1 << 16]);
        let mut inflate = Decompress::new_gzip(15);
        for n in 0..50 {
            let text = format!(r#"{{"payload":{{"type":"x","n":{n}}}}}"#);
            hub.publish(&emitter, Decoder::new().decode(text.clone().into()).unwrap());
            if n == 0 {
                all.extend_from_slice(&body.frame().await.unwrap().unwrap().into_data().unwrap());
                inflate.decompress(&all, &mut plain, FlushDecompress::Sync).unwrap();
            }
            let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
            let before = inflate.total_out();
            inflate.decompress(&piece, &mut plain, FlushDecompress::Sync).unwrap();
            let read = usize::try_from(inflate.total_out() - before).unwrap();
            assert_eq!(plain[..read], *format!("data: {text}\n\n").as_bytes());
            all.extend_from_slice(&piece);
        }
        hub.close();
        all.extend_from_slice(&body.collect().await.unwrap().to_bytes());
        let mut whole = String::new();
        GzDecoder::new(&all[..]).read_to_string(&mut whole).unwrap();
        assert_eq!(whole.matches("\"n\":").count(), 50);
        assert!(whole.ends_with("\n\n") && whole.contains("retry: "));
    }
}
