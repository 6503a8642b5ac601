//! Questions that wait for a person: shown to whoever asks, and taken off every screen when their asker dies.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    daemon::Daemon, eventually::eventually, fake::FakeServer, sse::EventStream, town::Pair,
};

/// A turn that asks, on the server with the higher port, and the id it asked under.
async fn asking(pair: &Pair, daemon: &Daemon, text: &str) -> (String, String) {
    let session = pair.high.create_session().id;
    pair.high.begin_turn(&session, text);
    let id = eventually("something being asked", || async {
        let mut asked = pair.high.permissions(&session);
        asked.extend(pair.high.questions(&session));
        asked.pop().ok_or("nothing asked")
    })
    .await;
    daemon.wait_for_owner(&session, &pair.high, "busy").await;
    (session, id)
}

fn answers(stream: &EventStream, id: &str) -> Vec<Value> {
    let about = stream.seen().iter().filter(|event| event.properties()["requestID"] == id);
    about.map(|event| event.data.clone()).collect()
}

async fn kill(daemon: &Daemon, server: &FakeServer) {
    server.kill().await;
    daemon.wait_for_servers(1).await;
}

#[tokio::test]
async fn a_question_is_cleared_once_on_every_stream_when_its_asker_dies() {
    for (text, kind, reply) in
        [("ASK", "permission.replied", Some("reject")), ("QUESTION", "question.rejected", None)]
    {
        let pair = Pair::start().await;
        let daemon = pair.daemon().await;
        let mut global = daemon.events("/global/event?attention=all").await;
        let mut bare = daemon.events(&format!("/event?directory={}", pair.directory)).await;
        let mut elsewhere = daemon.events("/event?directory=/elsewhere").await;
        let mut second = daemon.events("/api/event").await;
        let (session, id) = asking(&pair, &daemon, text).await;
        global.expect(|event| event.properties()["id"] == *id).await;
        kill(&daemon, &pair.high).await;

        let mut expected = json!({"sessionID": session, "requestID": id});
        if let Some(reply) = reply {
            expected["reply"] = reply.into();
        }
        for stream in [&mut global, &mut bare, &mut second] {
            let told = stream.expect(|event| event.kind() == kind).await;
            assert_eq!(*told.properties(), expected);
            assert!(told.event()["id"].as_str().unwrap().starts_with("evt_"));
        }
        let told = &answers(&global, &id)[0];
        assert_eq!(told["directory"], *pair.directory);
        assert_eq!(told["project"], *pair.store.project_of(&pair.directory));
        assert_eq!(answers(&second, &id)[0]["location"], json!({"directory": pair.directory}));
        let marker = |event: &crate::support::sse::Received| event.kind() == "test.marker";
        pair.low.emit(&pair.directory, "test.marker", json!({}));
        pair.low.emit("/elsewhere", "test.marker", json!({}));
        for stream in [&mut global, &mut bare, &mut second] {
            if !stream.seen().iter().any(marker) {
                stream.expect(marker).await;
            }
            assert_eq!(answers(stream, &id).len(), 1);
        }
        elsewhere.expect(marker).await;
        assert_eq!(answers(&elsewhere, &id), [] as [Value; 0]);
    }
}

#[tokio::test]
async fn a_question_of_the_second_interface_is_cleared_in_its_own_words() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut global = daemon.events("/global/event?attention=all").await;
    let mut second = daemon.events("/api/event?attention=all").await;
    let session = pair.high.create_session().id;
    for (kind, id) in [("permission", "per_1"), ("question", "que_1")] {
        let asked = json!({"id": id, "sessionID": session});
        pair.high.emit(&pair.directory, &format!("{kind}.v2.asked"), asked);
        global.expect_kind(&format!("{kind}.v2.asked")).await;
        second.expect_kind(&format!("{kind}.v2.asked")).await;
    }
    kill(&daemon, &pair.high).await;
    for stream in [&mut global, &mut second] {
        let replied = stream.expect_kind("permission.v2.replied").await;
        let expected = json!({"sessionID": session, "requestID": "per_1", "reply": "reject"});
        assert_eq!(*replied.properties(), expected);
        let rejected = stream.expect_kind("question.v2.rejected").await;
        assert_eq!(*rejected.properties(), json!({"sessionID": session, "requestID": "que_1"}));
    }
}

#[tokio::test]
async fn an_answer_is_told_by_the_server_alone_and_its_death_clears_nothing_twice() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let mut global = daemon.events("/global/event?attention=all").await;
    let (_, id) = asking(&pair, &daemon, "ASK SLOW").await;
    let answer = daemon.post(&format!("/permission/{id}/reply"), &json!({"reply": "once"})).await;
    assert_eq!(answer.status, 200);
    let replied = global.expect_kind("permission.replied").await;
    assert_eq!(replied.properties()["reply"], "once");
    kill(&daemon, &pair.high).await;
    global.expect_kind("pointsman.server.down").await;
    pair.low.emit(&pair.directory, "test.marker", json!({}));
    global.expect_kind("test.marker").await;
    assert_eq!(answers(&global, &id).len(), 1);
}

#[tokio::test]
async fn who_replies_to_a_dead_asker_is_told_so_in_opencodes_words() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let (session, permission) = asking(&pair, &daemon, "ASK").await;
    let (_, question) = asking(&pair, &daemon, "QUESTION").await;
    kill(&daemon, &pair.high).await;
    for _ in 0..2 {
        for (path, id, tag) in [
            (format!("/permission/{permission}/reply"), &permission, "PermissionNotFoundError"),
            (format!("/session/{session}/permissions/{permission}"), &permission, "PermissionNotFoundError"),
            (
                format!("/api/session/{session}/permission/{permission}/reply"),
                &permission,
                "PermissionNotFoundError",
            ),
            (format!("/question/{question}/reply"), &question, "QuestionNotFoundError"),
            (format!("/question/{question}/reject"), &question, "QuestionNotFoundError"),
        ] {
            let answer = daemon.post(&path, &json!({"reply": "once", "answers": []})).await;
            assert_eq!(answer.status, 404, "{path}: {answer:?}");
            let noun = tag.strip_suffix("NotFoundError").unwrap();
            let message = format!("{noun} request not found: {id}");
            assert_eq!(answer.json(), json!({"_tag": tag, "requestID": id, "message": message}), "{path}");
        }
    }
    // The last server goes, too: the answer stays the same.
    pair.low.kill().await;
    daemon.wait_for_servers(0).await;
    let answer = daemon.post(&format!("/permission/{permission}/reply"), &json!({"reply": "once"})).await;
    assert_eq!((answer.status, &answer.json()["_tag"]), (404, &"PermissionNotFoundError".into()));
}

#[tokio::test]
async fn what_waits_is_found_again_by_a_client_that_starts_anew() {
    let pair = Pair::start().await;
    let daemon = pair.daemon().await;
    let (_, permission) = asking(&pair, &daemon, "ASK").await;
    let (_, question) = asking(&pair, &daemon, "QUESTION").await;
    for _ in 0..2 {
        for (path, id) in [("/permission", &permission), ("/question", &question)] {
            for query in [String::new(), format!("?directory={}", pair.directory)] {
                let listed = daemon.get(&format!("{path}{query}")).await.json();
                let ids: Vec<_> = listed.as_array().unwrap().iter().map(|row| &row["id"]).collect();
                assert_eq!(ids, [&json!(id)], "{path}{query}");
            }
        }
    }
    kill(&daemon, &pair.high).await;
    for path in ["/permission", "/question"] {
        assert_eq!(daemon.get(path).await.json(), json!([]), "{path}");
    }
}

#[tokio::test]
async fn a_question_that_only_a_list_told_of_is_cleared_too() {
    let pair = Pair::start().await;
    // Asked before we came: no stream told of it.
    let session = pair.high.create_session().id;
    pair.high.begin_turn(&session, "ASK");
    let id = eventually("a permission", || async { pair.high.permissions(&session).pop().ok_or(()) }).await;
    let daemon = pair.daemon().await;
    let mut global = daemon.events("/global/event").await;
    eventually("the permission in the list", || async {
        let listed = daemon.get("/permission").await.json();
        if listed[0]["id"] == *id { Ok(()) } else { Err(listed) }
    })
    .await;
    kill(&daemon, &pair.high).await;
    let told = global.expect_kind("permission.replied").await;
    assert_eq!(*told.properties(), json!({"sessionID": session, "requestID": id, "reply": "reject"}));
    let again = |event: &crate::support::sse::Received| event.kind() == "permission.replied";
    assert!(!global.hears_within(Duration::from_millis(200), again).await);
}
