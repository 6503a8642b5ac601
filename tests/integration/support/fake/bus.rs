//! The event bus of one fake process: in this process only, as in the real one.

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::store::new_id;

/// The open event streams.
pub(super) struct Bus {
    streams: Mutex<Vec<Stream>>,
    open: watch::Sender<usize>,
}

struct Stream {
    scope: Scope,
    frames: mpsc::UnboundedSender<Frame>,
}

/// What one stream carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// `/global/event`: everything, wrapped in `directory` and `payload`.
    Global,
    /// `/event`: one directory, bare.
    Directory(String),
    /// `/api/event`: everything, in the form of the second interface.
    Api,
}

/// Events of the first interface that a real server cannot write on `/api/event`: it ends the stream instead.
const UNWRITABLE: [&str; 8] = [
    "session.status",
    "session.idle",
    "session.diff",
    "permission.asked",
    "permission.replied",
    "question.asked",
    "question.replied",
    "question.rejected",
];

/// What goes out on a stream.
pub(super) enum Frame {
    Bytes(Bytes),
    /// Drop the connection in the middle of the body, as a killed process does.
    Cut,
    /// End the body properly.
    Finish,
}

impl Bus {
    pub(super) fn new() -> Self {
        Self { streams: Mutex::default(), open: watch::Sender::new(0) }
    }

    /// Opens a stream, which begins with `server.connected`.
    pub(super) fn open(&self, scope: Scope) -> mpsc::UnboundedReceiver<Frame> {
        let (frames, receiver) = mpsc::unbounded_channel();
        let connected = json!({"id": new_id("evt"), "type": "server.connected", "properties": {}});
        let _ = frames.send(Frame::Bytes(match scope {
            Scope::Global => data(&json!({"payload": connected})),
            Scope::Directory(_) => data(&connected),
            Scope::Api => {
                let connected = json!({"id": new_id("evt"), "type": "server.connected", "data": {}});
                Bytes::from(format!("data: {connected}\n\n: heartbeat\n\n"))
            }
        }));
        self.streams.lock().push(Stream { scope, frames });
        self.count();
        receiver
    }

    /// Sends `{type, properties}` to everyone who should see it; `None` is an event of the whole process. `durable` is
    /// what the second interface tells of an event that is stored.
    pub(super) fn publish(
        &self,
        directory: Option<&str>,
        project: &str,
        event: &Value,
        durable: Option<&Value>,
    ) {
        let global = match directory {
            Some(directory) => json!({"directory": directory, "project": project, "payload": event}),
            None => json!({"payload": event}),
        };
        let (bare, global) = (data(event), data(&global));
        let kind = event["type"].as_str().unwrap_or_default();
        let twin = kind == "sync";
        let ends = UNWRITABLE.contains(&kind) || kind.starts_with("tui.");
        let api = data(&api_form(directory, event, durable));
        self.each(|scope| match (scope, directory) {
            (Scope::Global, _) => Some(Frame::Bytes(global.clone())),
            (Scope::Api, _) if twin || kind == "server.instance.disposed" => None,
            (Scope::Api, _) if ends => Some(Frame::Finish),
            (Scope::Api, _) => Some(Frame::Bytes(api.clone())),
            (Scope::Directory(_), _) if twin => None,
            (Scope::Directory(own), Some(directory)) if own != directory => None,
            (Scope::Directory(_), _) => Some(Frame::Bytes(bare.clone())),
        });
    }

    /// Puts bytes on the streams as they are.
    pub(super) fn raw(&self, bytes: &Bytes) {
        self.each(|_| Some(Frame::Bytes(bytes.clone())));
    }

    pub(super) fn end(&self, cut: bool) {
        self.each(|_| Some(if cut { Frame::Cut } else { Frame::Finish }));
        self.streams.lock().clear();
        self.count();
    }

    /// How many streams of the second interface are open.
    pub(super) fn api(&self) -> usize {
        let streams = self.streams.lock();
        streams.iter().filter(|stream| stream.scope == Scope::Api && !stream.frames.is_closed()).count()
    }

    /// Puts bytes on the streams of the second interface as they are.
    pub(super) fn raw_api(&self, bytes: &Bytes) {
        self.each(|scope| (*scope == Scope::Api).then(|| Frame::Bytes(bytes.clone())));
    }

    /// How many streams are open; watched by tests that wait for the daemon to listen.
    pub(super) fn watch(&self) -> watch::Receiver<usize> {
        self.open.subscribe()
    }

    /// Forgets streams whose clients have left.
    pub(super) fn sweep(&self) {
        self.streams.lock().retain(|stream| !stream.frames.is_closed());
        self.count();
    }

    fn each(&self, frame: impl Fn(&Scope) -> Option<Frame>) {
        self.streams.lock().retain(|stream| match frame(&stream.scope) {
            Some(frame) => {
                let last = matches!(frame, Frame::Finish);
                stream.frames.send(frame).is_ok() && !last
            }
            None => !stream.frames.is_closed(),
        });
        self.count();
    }

    fn count(&self) {
        let open = self.streams.lock().len();
        self.open.send_if_modified(|count| std::mem::replace(count, open) != open);
    }
}

fn api_form(directory: Option<&str>, event: &Value, durable: Option<&Value>) -> Value {
    let mut api = json!({"id": event["id"], "type": event["type"]});
    if let Some(durable) = durable {
        api["durable"] = durable.clone();
    }
    if let Some(directory) = directory {
        api["location"] = json!({"directory": directory});
    }
    api["data"] = event["properties"].clone();
    api
}

/// One SSE frame, the way the real server writes it: `data:` only.
fn data(value: &Value) -> Bytes {
    Bytes::from(format!("data: {value}\n\n"))
}
