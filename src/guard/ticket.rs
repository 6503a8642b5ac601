//! Tickets: what a server hands out so that a browser's socket, which can set no headers, may open one terminal once.
//!
//! A client that has shown our token and got a ticket through us opens the terminal with the ticket alone, as it would
//! at the server. Whether the ticket is good for that terminal is for the server to say; here it is known that
//! somebody with the token was given it, a minute ago at most.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use http::{Method, request::Parts};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;

/// How long a ticket is good, as 1.18.33 says in `expires_in`.
const LIFE: Duration = Duration::from_mins(1);

/// More than anybody opens in a minute. Beyond it the oldest make place.
const MOST: usize = 1_000;

/// The longest ticket that is remembered; servers give 36 characters.
const LONGEST: usize = 256;

/// The tickets that are out.
#[derive(Debug, Default)]
pub struct Tickets {
    out: Mutex<HashMap<Box<str>, Instant>>,
}

impl Tickets {
    /// Remembers a ticket that a server has just given to a client that was let in.
    pub fn issued(&self, ticket: &str) {
        self.issued_at(ticket, Instant::now());
    }

    fn issued_at(&self, ticket: &str, now: Instant) {
        if ticket.len() > LONGEST {
            return;
        }
        let mut out = self.out.lock();
        out.retain(|_, issued| now.duration_since(*issued) < LIFE);
        if out.len() >= MOST
            && let Some(oldest) =
                out.iter().min_by_key(|(_, issued)| **issued).map(|(ticket, _)| ticket.clone())
        {
            out.remove(&oldest);
        }
        out.insert(ticket.into(), now);
    }

    /// How many are out, and how many may be.
    pub fn held(&self) -> (usize, usize) {
        (self.out.lock().len(), MOST)
    }

    /// Whether `request` opens a terminal with a ticket that is out. It is not afterwards.
    pub(super) fn redeem(&self, request: &Parts) -> bool {
        self.redeem_at(request, Instant::now())
    }

    fn redeem_at(&self, request: &Parts, now: Instant) -> bool {
        if request.method != Method::GET || !opens_a_terminal(request.uri.path()) {
            return false;
        }
        let query = request.uri.query().unwrap_or_default();
        let Some(ticket) = query.split('&').find_map(|pair| pair.strip_prefix("ticket=")) else {
            return false;
        };
        let ticket = percent_decode_str(ticket).decode_utf8_lossy();
        let issued = self.out.lock().remove(&*ticket);
        issued.is_some_and(|issued| now.duration_since(issued) < LIFE)
    }
}

fn opens_a_terminal(path: &str) -> bool {
    let path = path.strip_prefix("/api").unwrap_or(path);
    let id = path.strip_prefix("/pty/").and_then(|rest| rest.strip_suffix("/connect"));
    id.is_some_and(|id| !id.is_empty() && !id.contains('/'))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn request(method: &str, path: &str) -> Parts {
        Request::builder().method(method).uri(path).body(()).unwrap().into_parts().0
    }

    fn opens(tickets: &Tickets, path: &str) -> bool {
        tickets.redeem(&request("GET", path))
    }

    #[test]
    fn a_ticket_opens_one_terminal_once() {
        let tickets = Tickets::default();
        for path in ["/pty/pty_1/connect", "/api/pty/pty_1/connect"] {
            let path = format!("{path}?directory=%2Fa&ticket=a-b&cursor=0");
            assert!(!opens(&tickets, &path), "never given");
            tickets.issued("a-b");
            assert!(opens(&tickets, &path));
            assert!(!opens(&tickets, &path), "used");
        }
    }

    #[test]
    fn a_ticket_opens_nothing_else() {
        let tickets = Tickets::default();
        tickets.issued("t");
        for path in [
            "/session?ticket=t",
            "/pty/pty_1?ticket=t",
            "/pty/pty_1/connect-token?ticket=t",
            "/pty//connect?ticket=t",
            "/pty/../session/connect?ticket=t",
            "/pty/pty_1/connect?ticket=",
            "/pty/pty_1/connect",
            "/pty/pty_1/connect?xticket=t",
        ] {
            assert!(!opens(&tickets, path), "{path}");
        }
        assert!(!tickets.redeem(&request("POST", "/pty/pty_1/connect?ticket=t")));
        assert!(opens(&tickets, "/pty/pty_1/connect?ticket=t"));
    }

    #[test]
    fn a_ticket_is_good_for_a_minute_and_the_oldest_makes_place() {
        let tickets = Tickets::default();
        let (now, path) = (Instant::now(), request("GET", "/pty/pty_1/connect?ticket=0"));
        tickets.issued_at("0", now);
        assert!(!tickets.redeem_at(&path, now + LIFE));
        for number in 0..=MOST {
            tickets.issued_at(&number.to_string(), now + Duration::from_millis(number as u64));
        }
        assert!(!tickets.redeem_at(&path, now + Duration::from_secs(1)));
        let newest = request("GET", &format!("/pty/pty_1/connect?ticket={MOST}"));
        assert!(tickets.redeem_at(&newest, now + Duration::from_secs(1)));
        tickets.issued(&"t".repeat(LONGEST + 1));
        assert!(!opens(&tickets, &format!("/pty/pty_1/connect?ticket={}", "t".repeat(LONGEST + 1))));
    }
}
