//! For each class, what proves that an operation is answered by whoever must answer it.
//!
//! The relays tell who was asked. Whatever one server must answer is asked for twice, once for each server, so that
//! going to the same server always cannot pass.

use serde_json::json;

use super::{
    document::Operation,
    expected::{Class, Raise},
    merged, request,
    request::with,
    same::same,
    streams,
    two_servers::{Sent, Side, TwoServers},
};

pub type Verdict = Result<(), String>;

impl TwoServers {
    pub async fn check(&self, operation: &Operation, class: Class) -> Verdict {
        match class {
            Class::MergedOverServers => merged::over_servers(self, operation).await,
            Class::MergedOverStores => merged::over_stores(self, operation).await,
            Class::Session => self.session(operation).await,
            Class::SessionStream => self.session_stream(operation).await,
            Class::SessionInBody => self.session_in_body(operation).await,
            Class::NewSession => self.new_session(operation).await,
            Class::Raised(raise) => self.raised(operation, raise).await,
            Class::Socket(raise) => streams::socket(self, operation, raise).await,
            Class::NewTerminal => self.new_terminal(operation).await,
            Class::Directory | Class::FlowBegins => self.directory(operation).await,
            Class::Settings => self.unnamed(operation).await.and(self.directory(operation).await),
            Class::Default => self.unnamed(operation).await,
            Class::FlowGoesOn => self.flow(operation).await,
            Class::Screen => self.screen(operation).await,
            Class::Disposal => self.nobody(operation).await,
            Class::Stream => streams::merged(self, operation).await,
        }
    }

    /// Reads are of a session with a past; everything else gets a session of its own.
    async fn session(&self, operation: &Operation) -> Verdict {
        for (at, side) in self.sides.iter().enumerate() {
            let session = if operation.reads() { side.session.clone() } else { self.session_of(side).await };
            let path = request::address(operation, side, &session);
            let sent = self.send(self.request(operation, &path, &session)).await;
            only(&sent, at, &path)?;
            compare(operation, &sent, side, &path).await?;
        }
        Ok(())
    }

    async fn session_stream(&self, operation: &Operation) -> Verdict {
        for (at, side) in self.sides.iter().enumerate() {
            let path = request::address(operation, side, &side.session);
            let (_, reached) = self.send_and_let_go(self.request(operation, &path, &side.session)).await;
            expect(&reached, &[at], &path)?;
        }
        Ok(())
    }

    async fn session_in_body(&self, operation: &Operation) -> Verdict {
        for (at, side) in self.sides.iter().enumerate() {
            let session = self.session_of(side).await;
            only(&self.send(self.request(operation, &operation.path, &session)).await, at, &session)?;
        }
        Ok(())
    }

    /// By directory, however it is named, or by its parent; and what it makes is that server's at once.
    async fn new_session(&self, operation: &Operation) -> Verdict {
        for (at, side) in self.sides.iter().enumerate() {
            let named = with(&operation.path, &side.directory_parameter(operation.is_second()));
            let mut ways = vec![(named, json!({}))];
            if operation.is_second() {
                let location = json!({"location": {"directory": side.directory}});
                ways.push((operation.path.clone(), location));
            } else {
                ways.push((operation.path.clone(), json!({"parentID": side.session})));
            }
            for (path, body) in ways {
                let sent = self.send(self.daemon.request("POST", &path).json(&body)).await;
                only(&sent, at, &format!("{path} {body}"))?;
                let made = sent.answer.json();
                let id = made.get("data").unwrap_or(&made)["id"].as_str().map(str::to_owned);
                let id = id.ok_or_else(|| format!("{path} {body} made no session: {made}"))?;
                let path = format!("{}/{id}", operation.path);
                only(&self.send(self.daemon.request("GET", &path)).await, at, &path)?;
            }
        }
        Ok(())
    }

    async fn new_terminal(&self, operation: &Operation) -> Verdict {
        for (at, side) in self.sides.iter().enumerate() {
            let path = with(&operation.path, &side.directory_parameter(operation.is_second()));
            let sent = self.send(self.request(operation, &path, "")).await;
            only(&sent, at, &path)?;
            let made = sent.answer.json();
            let id = made.get("data").unwrap_or(&made)["id"].as_str().map(str::to_owned);
            let id = id.ok_or_else(|| format!("{path} made no terminal: {made}"))?;
            let path = format!("{}/{id}", operation.path);
            only(&self.send(self.daemon.request("GET", &path)).await, at, &path)?;
        }
        Ok(())
    }

    async fn raised(&self, operation: &Operation, raise: Raise) -> Verdict {
        for (at, side) in self.sides.iter().enumerate() {
            let raised = self.raise(at, raise).await;
            let path = request::address_of_raised(operation, &raised);
            let sent = self.send(self.request(operation, &path, &raised.session)).await;
            let mut verdict = only(&sent, at, &path);
            if verdict.is_ok() && sent.answer.status == 404 {
                // It was there to be answered: only a server that had never heard of it would say so.
                verdict = Err(format!("{path}: {}", sent.answer.text()));
            }
            if verdict.is_ok() {
                verdict = compare(operation, &sent, side, &path).await;
            }
            self.end(at, raise, &raised).await;
            verdict?;
        }
        Ok(())
    }

    /// Reads name the directory in the query, as browsers do; everything else in the header, as the SDK does.
    async fn directory(&self, operation: &Operation) -> Verdict {
        for (at, side) in self.sides.iter().enumerate() {
            let path = request::address(operation, side, "");
            if operation.reads() {
                let path = with(&path, &side.directory_parameter(operation.is_second()));
                let sent = self.send(self.request(operation, &path, "")).await;
                only(&sent, at, &path)?;
                compare(operation, &sent, side, &path).await?;
            } else {
                let request = self.request(operation, &path, "");
                let request = request.header("x-opencode-directory", side.directory.to_str().unwrap());
                only(&self.send(request).await, at, &path)?;
            }
        }
        Ok(())
    }

    /// One server gets all that names nothing; which one is learned from the first such answer.
    async fn unnamed(&self, operation: &Operation) -> Verdict {
        let at = self.default().await;
        let side = &self.sides[at];
        let path = request::address(operation, side, "");
        let sent = self.send(self.request(operation, &path, "")).await;
        only(&sent, at, &path)?;
        compare(operation, &sent, side, &path).await?;
        self.each_when_named(operation).await
    }

    /// Without a name for it, the next step goes wherever the first one went, whoever that was.
    async fn flow(&self, operation: &Operation) -> Verdict {
        let begin = match operation.path.split_once("/oauth/") {
            Some((provider, _)) => format!("{provider}/oauth/authorize"),
            None => "/mcp/{name}/auth".to_owned(),
        };
        let begin = Operation { method: "POST".to_owned(), path: begin };
        for (at, side) in self.sides.iter().enumerate() {
            let first = self.request(&begin, &request::address(&begin, side, ""), "");
            only(
                &self.send(first.header("x-pointsman-server", side.relay.address())).await,
                at,
                &begin.path,
            )?;
            let path = request::address(operation, side, "");
            only(&self.send(self.request(operation, &path, "")).await, at, &path)?;
        }
        Ok(())
    }

    async fn screen(&self, operation: &Operation) -> Verdict {
        self.nobody(operation).await?;
        self.each_when_named(operation).await
    }

    async fn each_when_named(&self, operation: &Operation) -> Verdict {
        for (at, side) in self.sides.iter().enumerate() {
            let path = request::address(operation, side, "");
            let request = self.request(operation, &path, "");
            let request = request.header("x-pointsman-server", side.relay.address());
            let (_, reached) = self.send_and_let_go(request).await;
            expect(&reached, &[at], &format!("{path} for a named server"))?;
        }
        Ok(())
    }

    async fn nobody(&self, operation: &Operation) -> Verdict {
        let path = &operation.path;
        let (status, reached) = self.send_and_let_go(self.request(operation, path, "")).await;
        expect(&reached, &[], path)?;
        if status == Some(409) { Ok(()) } else { Err(format!("{path} answered {status:?}")) }
    }

    async fn default(&self) -> usize {
        let sent = self.send(self.daemon.request("GET", "/global/health")).await;
        sent.reached[0]
    }

    fn request(&self, operation: &Operation, path: &str, session: &str) -> reqwest::RequestBuilder {
        let request = self.daemon.request(&operation.method, path);
        if operation.reads() { request } else { request.json(&request::body(operation, session)) }
    }
}

async fn compare(operation: &Operation, sent: &Sent, side: &Side, path: &str) -> Verdict {
    if operation.reads() { same(&sent.answer, side, path).await } else { Ok(()) }
}

fn only(sent: &Sent, at: usize, what: &str) -> Verdict {
    expect(&sent.reached, &[at], what).map_err(|fault| {
        let text: String = sent.answer.text().chars().take(300).collect();
        format!("{fault}; answered {} {text:?}", sent.answer.status)
    })
}

pub fn expect(reached: &[usize], wanted: &[usize], what: &str) -> Verdict {
    if reached == wanted { Ok(()) } else { Err(format!("{what} reached {reached:?} instead of {wanted:?}")) }
}
