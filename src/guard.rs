//! Who and what is let in, decided from a request's head and what is known of its peer, before anything acts on it.
//!
//! Order of the checks: the name we were called by (`host`), circles (`loops`), the web page behind the request
//! (`origin`), then who asks (`key`, `token`, `user`). An admitted request costs no allocation.
//!
//! Left to others: finding out the peer's user, the HTTP form of a [`Refusal`], limits on sizes and numbers.

pub mod cors;
mod host;
mod key;
mod loops;
mod origin;
mod refusal;
mod ticket;
mod token;
mod user;

#[cfg(test)]
mod hardening;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::request::Parts;

use self::{host::Hosts, key::Key, origin::Origins, token::Token};
pub use self::{
    key::SECRET,
    loops::{HOP, InstanceId},
    refusal::Refusal,
    ticket::Tickets,
    token::{CHALLENGE, strip, strip_query},
    user::PeerUser,
};
use crate::config::{Access, Secret};

/// The one path that answers without a token, and to any user: it says "alive" and nothing else.
const OPEN: &str = "/healthz";

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Whose process it is, found out once per connection.
    pub user: PeerUser,
}

/// What to do with a request that was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// It may act.
    Request,
    /// A browser's question whether it may ask, which comes without credentials: answered here with
    /// [`cors::preflight`], never passed on.
    Preflight,
}

/// The guard at the door of one listening address.
#[derive(Debug)]
pub struct Guard {
    hosts: Hosts,
    origins: Origins,
    key: Key,
    token: Option<Token>,
    instance: InstanceId,
    user_check: bool,
    passwords_behind: AtomicBool,
    tickets: Arc<Tickets>,
}

impl Guard {
    /// For the address really `bound`, not the one asked for; `secret` is the one of `registration.json`. Whoever was
    /// given one of `tickets` may open a terminal with it.
    pub fn new(
        access: Access,
        secret: Secret,
        bound: SocketAddr,
        instance: InstanceId,
        tickets: Arc<Tickets>,
    ) -> Self {
        Self {
            hosts: Hosts::new(bound, access.allowed_hosts),
            origins: Origins::new(access.cors),
            key: Key::new(secret),
            token: access.token.map(Token::new),
            instance,
            user_check: access.user_check,
            passwords_behind: AtomicBool::new(false),
            tickets,
        }
    }

    /// Says whether some server behind needs credentials. From the next request on, who cannot be known needs a
    /// token.
    pub fn set_passwords_behind(&self, some: bool) {
        // Nothing else is published with it.
        self.passwords_behind.store(some, Ordering::Relaxed);
    }

    /// Lets `request` in or says why not.
    pub fn check(&self, request: &Parts, peer: &Peer) -> Result<Admitted, Refusal> {
        self.hosts.check(request)?;
        loops::check(&request.headers, &self.instance)?;
        self.origins.check(request)?;
        if self.key.opens(request)? {
            return Ok(Admitted::Request);
        }
        if cors::is_preflight(request) {
            return Ok(Admitted::Preflight);
        }
        if request.uri.path() != OPEN {
            self.check_client(request, peer)?;
        }
        Ok(Admitted::Request)
    }

    /// Whether [`Self::check`] lets in a request to `host` for a server's own operation that says nothing by which the
    /// other checks go: no absolute target, no web page behind it, no secret or token of ours, no daemon passed. That
    /// of a daemon with a token always says too little.
    pub fn admits_plain(&self, host: &[u8], peer: &Peer) -> bool {
        self.token.is_none()
            && self.hosts.check_one(host).is_ok()
            && peer.address.ip().to_canonical().is_loopback()
            && self.check_user(peer).is_ok()
    }

    fn check_client(&self, request: &Parts, peer: &Peer) -> Result<(), Refusal> {
        match &self.token {
            Some(token) if token.is_presented(&request.headers, &request.uri) => Ok(()),
            Some(_) if self.tickets.redeem(request) => Ok(()),
            // Without a token nothing but loopback is listened on; an address from elsewhere would be a mistake of
            // ours, and it ends here.
            None if peer.address.ip().to_canonical().is_loopback() => self.check_user(peer),
            Some(_) | None => Err(Refusal::TokenNeeded),
        }
    }

    fn check_user(&self, peer: &Peer) -> Result<(), Refusal> {
        user::check(peer.user, self.user_check, self.passwords_behind.load(Ordering::Relaxed))
    }
}
