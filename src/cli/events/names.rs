//! What people call servers and sessions.

use std::collections::HashMap;

use serde_json::Value;

use super::gist::cut_to;
use crate::cli::table::plain;

/// How many letters of a title stand in a line.
pub(super) const TITLE: usize = 24;

/// Names by id, as far as they were told.
#[derive(Debug, Default)]
pub(super) struct Names {
    servers: HashMap<String, String>,
    titles: HashMap<String, String>,
}

impl Names {
    /// Takes in a server as `/servers`, `pointsman.hello` and `pointsman.server.*` tell of it.
    pub(super) fn server_is(&mut self, server: &Value) {
        if let (Some(id), Some(url)) = (server["id"].as_str(), server["url"].as_str()) {
            self.servers.insert(id.to_owned(), short(url));
        }
    }

    /// Takes in a session as `/sessions` and the events of sessions tell of it.
    pub(super) fn session_is(&mut self, session: &Value) {
        if let (Some(id), Some(title)) = (session["id"].as_str(), session["title"].as_str()) {
            self.titles.insert(id.to_owned(), title.to_owned());
        }
    }

    /// Whether the server has been told of.
    pub(super) fn knows_server(&self, id: &str) -> bool {
        self.servers.contains_key(id)
    }

    /// `:4302` for one of this machine, `10.0.0.7:4096` for another; the id of one that nobody told of.
    pub(super) fn server(&self, id: &str) -> String {
        self.servers.get(id).map_or_else(|| plain(id), String::clone)
    }

    /// The beginning of its title, or the end of its id.
    pub(super) fn session(&self, id: &str) -> String {
        let title = self.titles.get(id).map(|title| plain(title)).filter(|title| !title.trim().is_empty());
        if let Some(title) = title {
            return cut_to(&title, TITLE);
        }
        let skipped = id.chars().count().saturating_sub(8);
        if skipped <= 4 {
            plain(id)
        } else {
            format!("…{}", plain(&id.chars().skip(skipped).collect::<String>()))
        }
    }
}

fn short(url: &str) -> String {
    let address = plain(url.strip_prefix("http://").unwrap_or(url));
    address.strip_prefix("127.0.0.1").map_or_else(|| address.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_short() {
        let mut names = Names::default();
        names.server_is(&json!({"id": "srv_1", "url": "http://127.0.0.1:4302"}));
        names.server_is(&json!({"id": "srv_2", "url": "http://10.0.0.7:4096"}));
        names.server_is(&json!({"id": "srv_3", "url": null}));
        assert_eq!(
            ["srv_1", "srv_2", "srv_3"].map(|id| names.server(id)),
            [":4302", "10.0.0.7:4096", "srv_3"]
        );
        assert_eq!(names.session("ses_e021c7fa2ffe8VGOoFNM8lM5q9"), "…NM8lM5q9");
        assert_eq!(names.session("ses_1"), "ses_1");
        names.session_is(&json!({"id": "ses_1", "title": "A title that is longer than a line has room for"}));
        assert_eq!(names.session("ses_1"), "A title that is longer …");
        names.session_is(&json!({"id": "ses_1", "title": ""}));
        assert_eq!(names.session("ses_1"), "ses_1");
    }
}
