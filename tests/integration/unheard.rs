//! What only a list shows, since the process that did it cannot be heard, reaches everybody as if it had been told.

use serde_json::{Value, json};

use crate::support::{
    daemon::Daemon,
    eventually::eventually,
    fake::{FakeServer, FakeSession, FakeStore, now_ms},
    sse::{EventStream, Received},
};

struct Scene {
    store: FakeStore,
    server: FakeServer,
    daemon: Daemon,
    before: FakeSession,
}

impl Scene {
    async fn start() -> Self {
        let store = FakeStore::new();
        let directory = store.directory("shop");
        let before = store.insert_new(&directory);
        let server = FakeServer::serve(&store, &directory).await;
        let daemon = Daemon::start([server.url()]).await;
        server.wait_for_streams(1).await;
        let scene = Self { store, server, daemon, before };
        // From here on its list counts as read.
        scene.known(&scene.before.id).await;
        scene
    }

    async fn known(&self, session: &str) {
        eventually("the session being listed", || async {
            let answer = self.daemon.get(&format!("/sessions/{session}")).await;
            if answer.status == 200 { Ok(()) } else { Err(answer.status) }
        })
        .await;
    }

    async fn info(&self, session: &str) -> Value {
        let path = format!("{}/session/{session}", self.server.url());
        reqwest::get(path).await.unwrap().json().await.unwrap()
    }

    fn directory(&self) -> &str {
        self.server.directory()
    }
}

fn of(kind: &'static str, session: &str) -> impl Fn(&Received) -> bool {
    move |event| event.kind() == kind && event.session() == session
}

fn count(stream: &EventStream, kind: &'static str, session: &str) -> usize {
    stream.seen().iter().filter(|event| of(kind, session)(event)).count()
}

#[tokio::test]
async fn a_session_made_by_nobody_we_hear_is_told_once_to_everybody_and_so_is_its_end() {
    let scene = Scene::start().await;
    let bare = format!("/event?directory={}", scene.directory());
    let mut streams = Vec::new();
    for path in ["/global/event", &bare, "/events?session=ses_none&type=message.updated"] {
        streams.push(scene.daemon.events(path).await);
    }
    let opened = scene.server.opened();
    let made = scene.store.insert_new(scene.directory());
    let info = scene.info(&made.id).await;
    for stream in &mut streams {
        let told = stream.expect(of("session.created", &made.id)).await;
        assert_eq!(told.properties(), &json!({"sessionID": made.id, "info": info}));
        assert!(told.event()["id"].as_str().unwrap().starts_with("evt_") && !told.id.is_empty());
    }
    let whole = streams[0].seen().iter().find(|event| of("session.created", &made.id)(event)).unwrap();
    assert_eq!((whole.directory(), &whole.data["project"]), (scene.directory(), &info["projectID"]));
    assert_eq!(scene.server.opened(), opened, "no directory was opened");

    // The owner says so after all, and it is changed and deleted by one that is not heard.
    scene.server.emit(
        scene.directory(),
        "session.created",
        json!({"sessionID": made.id, "info": info.clone()}),
    );
    scene.store.edit(&made.id, |row| (row.title, row.updated) = ("Renamed".into(), now_ms()));
    for stream in &mut streams {
        let told = stream.expect(of("session.updated", &made.id)).await;
        assert_eq!(told.properties()["info"]["title"], "Renamed");
    }
    scene.store.remove(&made.id);
    for stream in &mut streams {
        let told = stream.expect(of("session.deleted", &made.id)).await;
        assert_eq!(told.properties()["info"]["title"], "Renamed");
        assert_eq!(told.properties()["info"]["id"], made.id.as_str());
    }
    let marker = scene.server.create_session().id;
    for stream in &mut streams {
        stream.expect(of("session.created", &marker)).await;
        assert_eq!(count(stream, "session.created", &marker), 1);
        for kind in ["session.created", "session.updated", "session.deleted"] {
            assert_eq!(count(stream, kind, &made.id), 1, "{kind}");
            assert_eq!(count(stream, kind, &scene.before.id), 0, "{kind}");
        }
    }
    let metrics = scene.daemon.get("/metrics").await.text();
    assert!(metrics.contains("pointsman_repairs_total{reason=\"list\"} 3"), "{metrics}");
}

#[tokio::test]
async fn what_a_stream_has_told_is_not_told_again_by_the_list() {
    let scene = Scene::start().await;
    let mut stream = scene.daemon.events("/global/event").await;
    let told = scene.server.create_session().id;
    // Written after it, so it is told after anything that the list would tell of the other.
    stream.expect(of("session.created", &told)).await;
    let unheard = scene.store.insert_new(scene.directory()).id;
    stream.expect(of("session.created", &unheard)).await;
    assert_eq!((count(&stream, "session.created", &told), count(&stream, "session.updated", &told)), (1, 0));
    let repaired = stream.expect(|event| event.kind() == "pointsman.repaired").await;
    assert_eq!(repaired.properties()["sessions"], json!([unheard]));
    assert_eq!(
        (&repaired.properties()["reason"], &repaired.properties()["events"]),
        (&json!("list"), &json!(1))
    );
}

#[tokio::test]
async fn what_somebody_unheard_writes_in_a_session_is_shown_where_its_directory_is_in_use() {
    let scene = Scene::start().await;
    // In use: a turn ran there.
    let own = scene.server.create_session().id;
    scene.server.begin_turn(&own, "hello");
    let mut stream = scene.daemon.events("/global/event").await;
    let now = now_ms();
    let made = scene.store.insert_new(scene.directory()).id;
    let info = json!({"id": "msg_1", "sessionID": made, "role": "user", "time": {"created": now}});
    let part =
        json!({"id": "prt_1", "sessionID": made, "messageID": "msg_1", "type": "text", "text": "unheard"});
    scene.store.edit(&made, |row| row.messages.push(json!({"info": info, "parts": [part]})));
    stream.expect(of("session.created", &made)).await;
    let told = stream.expect(of("message.updated", &made)).await;
    assert_eq!(told.properties(), &json!({"sessionID": made, "info": info}));
    let told = stream.expect(of("message.part.updated", &made)).await;
    assert_eq!(told.properties(), &json!({"sessionID": made, "part": part}));
}
