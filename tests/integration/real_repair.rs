//! The stream between a real `OpenCode` and pointsman is cut in the middle of a turn: whoever stays connected to
//! pointsman shows in the end what a reload would show.

use serde_json::Value;
use tokio::time::timeout;

use crate::support::{
    daemon::Daemon,
    eventually::{PATIENCE, eventually},
    opencode::{OpenCode, Store, prompt},
    relay::{Break, Relay},
    shown::Shown,
};

/// Where the turn is when the stream is cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    BeforeTheTurn,
    AmidstTheText,
    /// And heard again before the text ends.
    AmidstTheTextAndBack,
}

#[tokio::test]
async fn a_turn_during_which_the_stream_was_cut_is_shown_as_after_a_reload() {
    let store = Store::new().await;
    let server = OpenCode::start(&store, &store.project("project")).await;
    let relay = Relay::posing_as(&server, &store).await;
    let daemon = Daemon::start([relay.url()]).await;
    let mut stream = daemon.events("/global/event?attention=all").await;
    let mut shown = Shown::default();
    let mut sessions = Vec::new();
    for cut in [Cut::BeforeTheTurn, Cut::AmidstTheText, Cut::AmidstTheTextAndBack] {
        daemon.hears(&server).await;
        let session = server.create_session().await;
        sessions.push(session.clone());
        let break_off = || {
            relay.set_break(Break::Refuse);
            relay.cut();
        };
        if matches!(cut, Cut::BeforeTheTurn) {
            break_off();
        }
        server.post_turn(&session).await;
        store.model.wait_for(&session).await;
        if !matches!(cut, Cut::BeforeTheTurn) {
            for _ in 0..3 {
                loop {
                    let event = stream.next().await;
                    shown.apply(&event);
                    if event.kind() == "message.part.delta" && event.session() == session {
                        break;
                    }
                }
            }
            break_off();
        }
        if matches!(cut, Cut::AmidstTheTextAndBack) {
            relay.mend();
            let before = stream.seen().len();
            // The next whole part comes over the new stream.
            eventually("the stream being open again", || async {
                let asked = relay.requests();
                let opened = asked.iter().filter(|line| line.contains("/global/event")).count();
                if opened > 1 { Ok(()) } else { Err(asked) }
            })
            .await;
            assert!(stream.seen().len() >= before);
        }
        store.model.release(&session);
        server.wait_until_idle(&session).await;
        relay.mend();

        let converged = timeout(PATIENCE, async {
            while shown.of(&sessions) != Shown::reloaded(&sessions, &server.url()).await {
                shown.apply(&stream.next().await);
            }
        });
        if converged.await.is_err() {
            let unlike = shown.of(&sessions).unlike(&Shown::reloaded(&sessions, &server.url()).await);
            panic!("{cut:?}: the screen differs from a reloaded one in {unlike:#?}");
        }
    }
    assert!(shown.parts.values().any(|part| part["text"].as_str().is_some_and(|text| text.len() > 5)));
}

impl OpenCode {
    /// Begins a turn whose text ends when the model is told so.
    async fn post_turn(&self, session: &str) {
        let text: Value = prompt(&format!("SLOW {session}"));
        let path = format!("/session/{session}/prompt_async");
        let answer = self.request("POST", &path).json(&text).send().await.unwrap();
        assert_eq!(answer.status(), 204);
    }
}
