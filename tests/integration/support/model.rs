//! A scripted model that speaks the protocol of `OpenAI`, so that real agents run turns without a network.
//!
//! Words in the last message select the script: `SLOW` streams small pieces until the test lets it end, `ASK` calls
//! the `bash` tool (which the agent's configuration makes ask for permission), `QUERY` the `question` tool, anything
//! else is a short answer. A word `say-it` in the prompt of a turn puts `said-it` into it, so that an answer can be told
//! from its prompt.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Json, Router, body::Body, extract::State, http::header, response::IntoResponse, routing::post};
use bytes::Bytes;
use futures_util::{Stream, stream};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::eventually::patiently;

/// Fast enough that a test sees a delta at once, slow enough for a turn of minutes.
const BETWEEN_PIECES: Duration = Duration::from_millis(50);

/// Put before a word that the model is to say.
const SAY: &str = "say-";

/// One model server. Dropped, it cuts its answers.
pub struct Model {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    /// The last message of each request that came with tools, which excludes those for titles.
    prompts: Mutex<Vec<String>>,
    asked: watch::Sender<usize>,
    released: watch::Sender<Vec<String>>,
    running: Mutex<Vec<String>>,
    ended: watch::Sender<usize>,
}

impl Model {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            prompts: Mutex::default(),
            asked: watch::Sender::new(0),
            released: watch::Sender::default(),
            running: Mutex::default(),
            ended: watch::Sender::new(0),
        });
        let routes = Router::new().route("/v1/chat/completions", post(complete)).with_state(shared.clone());
        let task =
            tokio::spawn(async move { axum::serve(listener, routes).await.expect("the model serves") });
        Self { address, shared, task }
    }

    /// What goes into the agent's configuration as `baseURL`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The last message of every request of a turn so far, as JSON text.
    pub fn prompts(&self) -> Vec<String> {
        self.shared.prompts.lock().clone()
    }

    /// Waits until the model was asked something that contains `text`.
    pub async fn wait_for(&self, text: &str) {
        let mut asked = self.shared.asked.subscribe();
        let found = asked.wait_for(|_| self.shared.prompts.lock().iter().any(|prompt| prompt.contains(text)));
        patiently(&format!("the model being asked {text:?}"), found).await.expect("the model lives");
    }

    /// Ends the slow turns, running and to come, whose prompt contains `text`; `SLOW` ends them all.
    pub fn release(&self, text: &str) {
        self.shared.released.send_modify(|released| released.push(text.to_owned()));
    }

    /// How many answers are being streamed.
    pub fn running(&self) -> usize {
        self.shared.running.lock().len()
    }

    /// Waits until no answer is being streamed: an aborted turn has hung up.
    pub async fn wait_until_idle(&self) {
        let mut ended = self.shared.ended.subscribe();
        let idle = ended.wait_for(|_| self.running() == 0);
        patiently("the end of the model's answers", idle).await.expect("the model lives");
    }

    /// The same for the answers to prompts that contain `text`, where other tests use the model as well.
    pub async fn wait_until_hung_up(&self, text: &str) {
        let mut ended = self.shared.ended.subscribe();
        let idle = ended.wait_for(|_| !self.shared.running.lock().iter().any(|prompt| prompt.contains(text)));
        patiently(&format!("the end of the answer to {text:?}"), idle).await.expect("the model lives");
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn complete(State(shared): State<Arc<Shared>>, Json(request): Json<Value>) -> impl IntoResponse {
    let last =
        request["messages"].as_array().and_then(|messages| messages.last()).cloned().unwrap_or_default();
    let text = last.to_string();
    let has_tools = request["tools"].as_array().is_some_and(|tools| !tools.is_empty());
    if has_tools {
        shared.prompts.lock().push(text.clone());
        shared.asked.send_modify(|count| *count += 1);
    }
    let script = if has_tools && text.contains("SLOW") {
        Script::Slow
    } else if has_tools && text.contains("ASK") && last["role"] == "user" {
        Script::Call(ask)
    } else if has_tools && text.contains("QUERY") && last["role"] == "user" {
        Script::Call(query)
    } else {
        Script::Short
    };
    let released = shared.released.subscribe();
    let running = Running::new(shared, &text);
    (
        [(header::CONTENT_TYPE, "text/event-stream")],
        Body::from_stream(pieces(script, text, has_tools, released, running)),
    )
}

#[derive(Clone, Copy)]
enum Script {
    Short,
    Slow,
    /// Of a tool.
    Call(fn() -> Value),
}

fn pieces(
    script: Script,
    text: String,
    has_tools: bool,
    released: watch::Receiver<Vec<String>>,
    running: Running,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> {
    stream::unfold((0_usize, released, running), move |(step, mut released, running)| {
        let text = text.clone();
        async move {
            let piece = match (script, step) {
                (_, usize::MAX) => return None,
                (Script::Call(tool), 0) => chunk(&tool(), None),
                (Script::Short, 2) if has_tools && text.contains(SAY) => {
                    chunk(&json!({"role": "assistant", "content": said(&text)}), None)
                }
                (Script::Short, 0..3) => {
                    chunk(&json!({"role": "assistant", "content": format!("word{step} ")}), None)
                }
                (Script::Slow, _) => {
                    let free = released.wait_for(|released| released.iter().any(|word| text.contains(word)));
                    let free = tokio::time::timeout(BETWEEN_PIECES, free).await.is_ok();
                    if free {
                        return Some((Ok(end("stop")), (usize::MAX, released, running)));
                    }
                    chunk(&json!({"role": "assistant", "content": format!("slow{step} ")}), None)
                }
                (Script::Call(_), _) => {
                    return Some((Ok(end("tool_calls")), (usize::MAX, released, running)));
                }
                (Script::Short, _) => return Some((Ok(end("stop")), (usize::MAX, released, running))),
            };
            Some((Ok(Bytes::from(piece)), (step + 1, released, running)))
        }
    })
}

/// What is to be said of the prompt, for those who wait for the answer.
fn said(prompt: &str) -> String {
    let word = prompt.split_once(SAY).map_or("", |(_, rest)| rest);
    let word: String = word.chars().take_while(char::is_ascii_alphanumeric).collect();
    format!("said-{word}")
}

fn ask() -> Value {
    call("bash", &json!({"command": "echo hi", "description": "says hi"}))
}

fn query() -> Value {
    let options =
        json!([{"label": "Left", "description": "that way"}, {"label": "Right", "description": "this way"}]);
    call("question", &json!({"questions": [{"question": "Which way?", "header": "Way", "options": options}]}))
}

fn call(tool: &str, arguments: &Value) -> Value {
    let function = json!({"name": tool, "arguments": arguments.to_string()});
    let call = json!({"index": 0, "id": "call_1", "type": "function", "function": function});
    json!({"role": "assistant", "tool_calls": [call]})
}

fn chunk(delta: &Value, finish: Option<&str>) -> String {
    let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
    let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]});
    format!("data: {chunk}\n\n")
}

fn end(reason: &str) -> Bytes {
    Bytes::from(chunk(&json!({}), Some(reason)) + "data: [DONE]\n\n")
}

/// Counts one answer while it is being streamed, however it ends.
struct Running {
    shared: Arc<Shared>,
    prompt: String,
}

impl Running {
    fn new(shared: Arc<Shared>, prompt: &str) -> Self {
        shared.running.lock().push(prompt.to_owned());
        Self { shared, prompt: prompt.to_owned() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = self.shared.running.lock();
        if let Some(place) = running.iter().position(|prompt| *prompt == self.prompt) {
            running.swap_remove(place);
        }
        drop(running);
        self.shared.ended.send_modify(|count| *count += 1);
    }
}
