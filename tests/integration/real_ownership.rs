//! Two real servers on one directory: a session made out of band is prompted, aborted, deleted and answered on the
//! one that owns it, whichever port that has, and whatever has happened before.
//!
//! The owner is proved by what happened to it: what it says it is busy with, what its own stream tells, what the model
//! was hung up on. What pointsman says of itself comes second.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{
    daemon::{Answer, Daemon},
    eventually::eventually,
    opencode::{OpenCode, Shared, prompt, shared},
    sse::{EventStream, Received},
};

/// As short as the configuration allows.
const TICK: &str = "50ms";

/// Forty ticks. Nothing tells that a tick has passed, and that nothing follows from one is what is to be shown.
const MANY_TICKS: Duration = Duration::from_secs(2);

mod at_once {
    use super::*;

    #[tokio::test]
    async fn a_session_is_prompted_on_its_owner() {
        is_prompted(After::Nothing).await;
    }

    #[tokio::test]
    async fn a_turn_is_aborted_on_its_owner() {
        is_aborted(After::Nothing).await;
    }

    #[tokio::test]
    async fn a_session_is_deleted_on_its_owner() {
        is_deleted(After::Nothing).await;
    }

    #[tokio::test]
    async fn a_permission_is_answered_on_its_owner() {
        is_answered(After::Nothing).await;
    }
}

mod after_many_ticks {
    use super::*;

    #[tokio::test]
    async fn a_session_is_prompted_on_its_owner() {
        is_prompted(After::ManyTicks).await;
    }

    #[tokio::test]
    async fn a_turn_is_aborted_on_its_owner() {
        is_aborted(After::ManyTicks).await;
    }

    #[tokio::test]
    async fn a_session_is_deleted_on_its_owner() {
        is_deleted(After::ManyTicks).await;
    }

    #[tokio::test]
    async fn a_permission_is_answered_on_its_owner() {
        is_answered(After::ManyTicks).await;
    }
}

mod after_an_idle_that_the_other_server_made_up {
    use super::*;

    #[tokio::test]
    async fn a_session_is_prompted_on_its_owner() {
        is_prompted(After::ForgedIdle).await;
    }

    #[tokio::test]
    async fn a_turn_is_aborted_on_its_owner() {
        is_aborted(After::ForgedIdle).await;
    }

    #[tokio::test]
    async fn a_session_is_deleted_on_its_owner() {
        is_deleted(After::ForgedIdle).await;
    }

    #[tokio::test]
    async fn a_permission_is_answered_on_its_owner() {
        is_answered(After::ForgedIdle).await;
    }
}

mod as_the_first_request_after_a_kill_and_a_restart {
    use super::*;

    #[tokio::test]
    async fn a_session_is_prompted_on_its_owner() {
        is_prompted(After::Restart).await;
    }

    #[tokio::test]
    async fn a_turn_is_aborted_on_its_owner() {
        is_aborted(After::Restart).await;
    }

    #[tokio::test]
    async fn a_session_is_deleted_on_its_owner() {
        is_deleted(After::Restart).await;
    }

    #[tokio::test]
    async fn a_permission_is_answered_on_its_owner() {
        is_answered(After::Restart).await;
    }

    /// Its directory is not the server's own, and nothing but the session's own row tells it after the restart.
    #[tokio::test]
    async fn a_permission_of_another_directory_is_answered_on_its_owner() {
        let shared = shared().await;
        let directory = shared.store.project("elsewhere-after-restart");
        let mut daemon = daemon(shared).await;
        for (owner, _) in shared.both_ways() {
            let query = format!("?directory={}", directory.display());
            let session = owner.post(&format!("/session{query}"), &json!({})).await;
            let session = session["id"].as_str().unwrap();
            learned(&daemon, session, owner).await;
            owner.prompt_async(session, "ASK elsewhere").await;
            let permission = eventually("a permission being asked for", || async {
                let open = owner.get(&format!("/permission{query}")).await;
                let own = open.as_array().unwrap().iter().find(|asked| asked["sessionID"] == *session);
                own.and_then(|asked| asked["id"].as_str()).map(str::to_owned).ok_or(open.clone())
            })
            .await;
            daemon.restart_unready().await;
            let reply = json!({"reply": "once"});
            let answer = daemon.post(&format!("/permission/{permission}/reply"), &reply).await;
            assert_eq!((answer.status, answer.text().as_str()), (200, "true"), "{answer:?}");
            assert_eq!(answer.server(), owner.address());
        }
    }
}

/// What happens between the session's coming about and the request that is tested.
#[derive(Clone, Copy)]
enum After {
    Nothing,
    ManyTicks,
    ForgedIdle,
    Restart,
}

impl After {
    async fn happens(self, daemon: &mut Daemon, stranger: &OpenCode, session: &str) {
        match self {
            Self::Nothing => {}
            Self::ManyTicks => tokio::time::sleep(MANY_TICKS).await,
            Self::ForgedIdle => forge_idle(daemon, stranger, session).await,
            Self::Restart => daemon.restart_unready().await,
        }
    }
}

/// Makes the stranger tell that a session it never ran is idle, and waits until pointsman has heard it.
async fn forge_idle(daemon: &Daemon, stranger: &OpenCode, session: &str) {
    let running = daemon.explain(session).await["status"] == "busy";
    let mut direct = stranger.events().await;
    let mut merged = daemon.events("/global/event").await;
    assert_eq!(stranger.post(&format!("/session/{session}/abort"), &json!({})).await, true);
    direct.expect(|event| event.kind() == "session.idle" && event.session() == session).await;
    // One server's events come in its order: when this one is through, the idle was taken in.
    let later = stranger.create_session().await;
    // While the owner is busy, nobody else may hear of it either: clients would take the turn for ended.
    let forged = |event: &Received| running && is(event, "session.idle", session);
    merged.until(|event| is(event, "session.created", &later), forged).await;
}

async fn is_prompted(after: After) {
    let shared = shared().await;
    let mut daemon = daemon(shared).await;
    for (owner, stranger) in shared.both_ways() {
        let session = owner.create_session().await;
        learned(&daemon, &session, owner).await;
        after.happens(&mut daemon, stranger, &session).await;
        let mut streams = Streams::open(owner, stranger).await;

        let text = unique("SLOW");
        let answer = daemon.post(&format!("/session/{session}/prompt_async"), &prompt(&text)).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        went_to(&answer, owner);
        shared.store.model.wait_for(&text).await;
        owner.wait_until_busy(&session).await;
        assert_eq!(stranger.get("/session/status").await[&session], Value::Null);
        streams.owner.expect(|event| is(event, "message.part.delta", &session)).await;
        shared.store.model.release(&text);
        owner.wait_until_idle(&session).await;
        streams.stranger_told_nothing_of(&session, stranger).await;
    }
}

async fn is_aborted(after: After) {
    let shared = shared().await;
    let mut daemon = daemon(shared).await;
    for (owner, stranger) in shared.both_ways() {
        let session = owner.create_session().await;
        learned(&daemon, &session, owner).await;
        let text = unique("SLOW");
        owner.prompt_async(&session, &text).await;
        shared.store.model.wait_for(&text).await;
        owner.wait_until_busy(&session).await;
        after.happens(&mut daemon, stranger, &session).await;
        assert_eq!(owner.get("/session/status").await[&session]["type"], "busy", "the turn still runs");

        let mut streams = Streams::open(owner, stranger).await;
        let answer = daemon.post(&format!("/session/{session}/abort"), &json!({})).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "true"), "{answer:?}");
        went_to(&answer, owner);
        streams.owner.expect(|event| is(event, "session.idle", &session)).await;
        owner.wait_until_idle(&session).await;
        shared.store.model.wait_until_hung_up(&text).await;
        let messages = owner.get(&format!("/session/{session}/message")).await;
        let last = messages.as_array().unwrap().last().unwrap();
        assert_eq!(last["info"]["error"]["name"], "MessageAbortedError", "{last}");
        streams.stranger_told_nothing_of(&session, stranger).await;
    }
}

async fn is_deleted(after: After) {
    let shared = shared().await;
    let mut daemon = daemon(shared).await;
    for (owner, stranger) in shared.both_ways() {
        let session = owner.create_session().await;
        learned(&daemon, &session, owner).await;
        after.happens(&mut daemon, stranger, &session).await;
        let mut streams = Streams::open(owner, stranger).await;

        let answer = daemon.delete(&format!("/session/{session}")).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "true"), "{answer:?}");
        went_to(&answer, owner);
        streams.owner.expect(|event| is(event, "session.deleted", &session)).await;
        streams.stranger_told_nothing_of(&session, stranger).await;
        assert_eq!(daemon.get(&format!("/session/{session}")).await.status, 404);
    }
}

async fn is_answered(after: After) {
    let shared = shared().await;
    let mut daemon = daemon(shared).await;
    // A client may stand anywhere: the reply needs the session's directory all the same.
    let elsewhere = shared.store.directory("where-the-client-stands");
    for (owner, stranger) in shared.both_ways() {
        let session = owner.create_session().await;
        learned(&daemon, &session, owner).await;
        owner.prompt_async(&session, &unique("ASK")).await;
        let permission = owner.wait_for_permission(&session).await;
        after.happens(&mut daemon, stranger, &session).await;

        let mut streams = Streams::open(owner, stranger).await;
        let path = format!("/permission/{permission}/reply?directory={}", elsewhere.display());
        let answer = daemon.post(&path, &json!({"reply": "once"})).await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "true"), "{answer:?}");
        went_to(&answer, owner);
        streams.owner.expect(|event| is(event, "permission.replied", &session)).await;
        owner.wait_until_idle(&session).await;
        let messages = owner.get(&format!("/session/{session}/message")).await;
        assert!(messages.to_string().contains(r#""status":"completed""#), "the tool ran: {messages}");
        streams.stranger_told_nothing_of(&session, stranger).await;
    }
}

/// The streams of both servers themselves, from before the request that is tested.
struct Streams {
    owner: EventStream,
    stranger: EventStream,
}

impl Streams {
    async fn open(owner: &OpenCode, stranger: &OpenCode) -> Self {
        let (owner, stranger) = tokio::join!(owner.events(), stranger.events());
        Self { owner, stranger }
    }

    async fn stranger_told_nothing_of(&mut self, session: &str, stranger: &OpenCode) {
        let later = stranger.create_session().await;
        let told = |event: &Received| event.data.to_string().contains(session);
        self.stranger.until(|event| is(event, "session.created", &later), told).await;
    }
}

async fn daemon(shared: &Shared) -> Daemon {
    let daemon = Daemon::builder().servers(shared.urls()).env("POINTSMAN_TICK", TICK).start().await;
    tokio::join!(daemon.hears(&shared.lower), daemon.hears(&shared.higher));
    daemon
}

/// Waits until pointsman knows the owner from the owner's own stream, as it does a moment after the session is made.
async fn learned(daemon: &Daemon, session: &str, owner: &OpenCode) {
    daemon
        .wait_for_answer(&format!("/sessions/{session}"), |answer| {
            answer.status == 200 && {
                let known = answer.json();
                known["ownerPort"] == owner.port() && known["evidence"] == "emitted"
            }
        })
        .await;
}

fn went_to(answer: &Answer, owner: &OpenCode) {
    assert_eq!(answer.server(), owner.address(), "{answer:?}");
}

fn is(event: &Received, kind: &str, session: &str) -> bool {
    event.kind() == kind && event.session() == session
}

/// A prompt that no other test sends: the model and both servers are shared.
fn unique(script: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("{script} ownership-{}-", COUNT.fetch_add(1, Ordering::Relaxed))
}
