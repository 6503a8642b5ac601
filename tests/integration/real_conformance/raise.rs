//! Making a server ask for something, or open something, that it alone knows of.

use serde_json::json;

use super::{
    expected::Raise,
    two_servers::{Side, TwoServers},
};

/// What one server alone knows.
pub struct Raised {
    pub id: String,
    /// The session it was raised for, where there is one.
    pub session: String,
}

impl Side {
    /// Raises one past pointsman.
    pub async fn raise(&self, raise: Raise) -> Raised {
        match raise {
            Raise::Permission => {
                let session = self.new_session().await;
                self.server.prompt_async(&session, "ASK").await;
                let id = self.wait_for_row("/permission", &session).await;
                Raised { id, session }
            }
            Raise::Question => {
                let session = self.new_session().await;
                self.server.prompt_async(&session, "QUERY").await;
                let id = self.wait_for_row("/question", &session).await;
                Raised { id, session }
            }
            Raise::SecondPermission => {
                let session = self.new_session().await;
                let wanted = json!({"action": "bash", "resources": ["echo"]});
                let asked = self.post(&format!("/api/session/{session}/permission"), wanted).await;
                assert_eq!(asked["data"]["effect"], "ask", "{asked}");
                Raised { id: asked["data"]["id"].as_str().unwrap().to_owned(), session }
            }
            Raise::SecondQuestion => {
                let session = self.new_session().await;
                self.second_prompt(&session, "QUERY").await;
                let id = self.wait_for_row(&format!("/api/session/{session}/question"), &session).await;
                Raised { id, session }
            }
            Raise::Terminal => {
                let terminal = self.post("/pty", json!({"command": "/bin/bash", "args": ["--norc"]})).await;
                Raised { id: terminal["id"].as_str().unwrap().to_owned(), session: String::new() }
            }
            Raise::SecondTerminal => {
                let terminal =
                    self.post("/api/pty", json!({"command": "/bin/bash", "args": ["--norc"]})).await;
                Raised { id: terminal["data"]["id"].as_str().unwrap().to_owned(), session: String::new() }
            }
            Raise::Attempt => panic!("an attempt is only known by the answer that began it"),
        }
    }
}

impl TwoServers {
    /// Raises one on that side. No list shows attempts and no event tells of them, so one is begun through pointsman.
    pub async fn raise(&self, at: usize, raise: Raise) -> Raised {
        if raise != Raise::Attempt {
            return self.sides[at].raise(raise).await;
        }
        let begin = self.daemon.request("POST", "/api/integration/openai/connect/oauth");
        let begin = begin.header("x-pointsman-server", self.sides[at].relay.address());
        let sent = self.send(begin.json(&json!({"methodID": "chatgpt-browser", "inputs": {}}))).await;
        assert_eq!((sent.answer.status, &sent.reached), (200, &vec![at]), "{}", sent.answer.text());
        let id = sent.answer.json()["data"]["attemptID"].as_str().unwrap().to_owned();
        Raised { id, session: String::new() }
    }

    /// Ends what would be in the way of the next: attempts listen on a fixed port, one process at a time.
    pub async fn end(&self, at: usize, raise: Raise, raised: &Raised) {
        if raise == Raise::Attempt {
            let path = format!("/api/integration/attempt/{}", raised.id);
            let ended = self.sides[at].server.request("DELETE", &path).send().await;
            assert_eq!(ended.expect("it answers").status(), 204);
        }
    }
}
