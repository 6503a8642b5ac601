use serde_json::json;

use super::*;

const NOW: u64 = 1_793_620_991_000;

fn tail() -> Tail {
    Tail { zone: TimeZone::UTC, ..Tail::new(false) }
}

fn event(server: Option<&str>, kind: &str, properties: &Value) -> Event {
    // 12:03:10, a second before now.
    let stamp = ((NOW - 1000) << 12) & 0xffff_ffff_ffff;
    let id = format!("evt_{stamp:012x}IomSCLgOBGzH5M");
    let mut data = json!({"payload": {"id": id, "type": kind, "properties": properties}});
    if let Some(server) = server {
        data["server"] = json!(server);
    }
    Event { text: data.to_string(), data, id: None }
}

#[test]
fn a_turn_reads_like_a_conversation() {
    let mut tail = tail();
    let mut told = Vec::new();
    let servers = json!({"servers": [{"id": "srv_1", "url": "http://127.0.0.1:4302"}]});
    let session = json!({"sessionID": "ses_1", "info": {"id": "ses_1", "title": "Fix it"}});
    let delta = |text: &str| json!({"sessionID": "ses_1", "messageID": "msg_1", "partID": "prt_1", "field": "text", "delta": text});
    let part = json!({"sessionID": "ses_1", "part": {"id": "prt_1", "messageID": "msg_1", "sessionID": "ses_1",
        "type": "text", "text": "One.\nTwo."}});
    let tool = json!({"sessionID": "ses_1", "part": {"id": "prt_2", "messageID": "msg_1", "sessionID": "ses_1",
        "type": "tool", "tool": "bash", "state": {"status": "running", "input": {"command": "ls"}}}});
    for (server, kind, properties) in [
        (None, "pointsman.hello", servers),
        (Some("srv_1"), "session.created", session),
        (Some("srv_1"), "message.part.delta", delta("One")),
        (Some("srv_1"), "message.part.delta", delta(".\nTw")),
        (None, "server.heartbeat", json!({})),
        (Some("srv_1"), "message.part.updated", tool.clone()),
        (Some("srv_1"), "message.part.updated", tool),
        (Some("srv_1"), "message.part.updated", part),
    ] {
        told.extend(tail.lines(&event(server, kind, &properties), NOW));
    }
    let expected = [
        "12:03:10  -       -                         pointsman.hello         1 server runs",
        "12:03:10  :4302   Fix it                    session.created         Fix it",
        "12:03:10  :4302   Fix it                    message.part.delta      One.",
        "12:03:10  :4302   Fix it                    message.part.updated    bash running ls",
        "12:03:10  :4302   Fix it                    message.part.updated    Two.",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_long_text_of_the_past_is_told_by_its_beginning() {
    let whole = "line\n".repeat(30);
    let part = json!({"part": {"id": "prt_1", "type": "text", "text": whole}});
    let told = tail().lines(&event(None, "message.part.updated", &part), NOW);
    assert_eq!(told.len(), MOST_LINES + 1);
    assert!(told[MOST_LINES].ends_with("… 20 more lines"), "{told:?}");
}

#[test]
fn nothing_that_comes_can_move_the_cursor_of_a_terminal() {
    let evil = "\u{1b}[2J\u{7}";
    for (kind, properties) in [
        ("session.created", json!({"info": {"id": "ses_1", "title": evil}})),
        ("message.part.delta", json!({"partID": "prt_1", "delta": format!("{evil}\n")})),
        (evil, json!({"a": evil})),
    ] {
        for line in tail().lines(&event(Some(evil), kind, &properties), NOW) {
            assert!(!line.contains(char::is_control), "{line:?}");
        }
    }
}
