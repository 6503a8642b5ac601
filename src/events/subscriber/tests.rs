use http_body_util::BodyExt;

use crate::{
    domain::ids::ServerKey,
    events::{
        hub::{Emitter, Hub},
        log::Limits,
        view::{AttentionRule, Shape, View},
    },
    opencode::event::Decoder,
};

use super::*;

fn subscribe(hub: &Hub, shape: Shape) -> Subscription {
    hub.subscribe(View {
        shape,
        directory: Some("/a".into()),
        server: None,
        attention: AttentionRule::All,
        opened: None,
        filter: Arc::default(),
    })
}

fn event(text: &Bytes) -> serde_json::Value {
    let text = std::str::from_utf8(text).unwrap();
    serde_json::from_str(text.strip_prefix("data: ").unwrap().strip_suffix("\n\n").unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn each_shape_has_its_own_greeting_and_signs_of_life_every_ten_seconds() {
    let hub = Hub::new(Limits::default());
    let start = Instant::now();
    for shape in [Shape::Global, Shape::Directory] {
        let mut subscription = subscribe(&hub, shape);
        for (n, kind) in ["server.connected", "server.heartbeat", "server.heartbeat"].into_iter().enumerate()
        {
            let event = event(&subscription.next().await.unwrap());
            let (keys, bare) = match shape {
                Shape::Global => (1, &event["payload"]),
                Shape::Directory | Shape::Api | Shape::Own => (3, &event),
            };
            assert_eq!(event.as_object().unwrap().len(), keys);
            assert_eq!(bare["type"], kind);
            assert_eq!(bare["properties"], serde_json::json!({}));
            assert_eq!(bare["id"].as_str().unwrap().len(), 30);
            let waited = (Instant::now() - start).as_secs() % 20;
            assert_eq!(waited, [0, 10, 0][n], "{kind}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_the_second_interface_is_greeted_by_an_event_and_kept_alive_by_comments() {
    let hub = Hub::new(Limits::default());
    let start = Instant::now();
    let mut subscription = subscribe(&hub, Shape::Api);
    let greeting = subscription.next().await.unwrap();
    let text = std::str::from_utf8(&greeting).unwrap().strip_suffix(": heartbeat\n\n").unwrap().to_owned();
    let greeting = event(&text.into());
    assert_eq!(greeting.as_object().unwrap().keys().collect::<Vec<_>>(), ["data", "id", "type"]);
    assert_eq!((&greeting["type"], &greeting["data"]), (&"server.connected".into(), &serde_json::json!({})));
    for beat in 1..3 {
        assert_eq!(subscription.next().await.unwrap(), ": heartbeat\n\n");
        assert_eq!(start.elapsed().as_secs(), 15 * beat);
    }
}

#[tokio::test(start_paused = true)]
async fn events_do_not_put_off_the_sign_of_life() {
    let hub = Hub::new(Limits::default());
    let mut subscription = subscribe(&hub, Shape::Global);
    subscription.next().await;
    let publisher = hub.clone();
    tokio::spawn(async move {
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let text = r#"{"directory":"/a","payload":{"type":"x"}}"#;
            publisher.publish(
                &Emitter { key: ServerKey(1), id: "srv_1".into() },
                Decoder::new().decode(text.into()).unwrap(),
            );
        }
    });
    let mut beats = 0;
    for _ in 0..21 {
        beats +=
            usize::from(event(&subscription.next().await.unwrap())["payload"]["type"] == "server.heartbeat");
    }
    assert_eq!(beats, 2);
}

#[tokio::test]
async fn it_is_a_body_that_ends_with_the_hub() {
    let hub = Hub::new(Limits::default());
    let subscription = subscribe(&hub, Shape::Directory);
    assert!(!subscription.is_end_stream());
    let text = r#"{"directory":"/a","payload":{"type":"x"}}"#;
    hub.publish(
        &Emitter { key: ServerKey(1), id: "srv_1".into() },
        Decoder::new().decode(text.into()).unwrap(),
    );
    hub.close();
    let body = subscription.collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&body).unwrap();
    let (events, retry) = text.rsplit_once("retry: ").unwrap();
    assert!(events.ends_with("\"properties\":{}}\n\ndata: {\"type\":\"x\"}\n\n"), "{text}");
    assert!((1_000..4_000).contains(&retry.strip_suffix("\n\n").unwrap().parse::<u32>().unwrap()), "{retry}");
}
