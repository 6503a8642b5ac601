//! The connections to one server.
//!
//! Idle connections are used again last in, first out, so that a quiet proxy keeps few. A request goes out once: it
//! comes back to the caller, body untouched, exactly when none of it was written; after that a failure is the answer,
//! since nobody can know what the server has made of it.

mod pool;

use std::{
    io,
    sync::{Arc, Weak},
    time::Duration,
};

use http::{HeaderValue, Request, Response, Version, header::HOST, uri::Authority};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::{net::TcpStream, time::timeout};

use self::pool::{Idle, Pool};
use super::{
    body::{RequestBody, UpstreamBody},
    one_write::OneWrite,
};
use crate::registry::server::{Credentials, Server};

/// Why no connection to a server came about.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// It was refused, or failed otherwise.
    #[error("cannot connect to {authority}: {source}")]
    Failed {
        /// Where to.
        authority: Authority,
        /// Why not.
        source: io::Error,
    },
    /// It took too long.
    #[error("{authority} did not take a connection within {waited:?}")]
    TimedOut {
        /// Where to.
        authority: Authority,
        /// How long it had.
        waited: Duration,
    },
}

/// Why a server gave no answer.
#[derive(Debug, Error)]
pub enum SendError {
    /// Nothing was sent; the request comes back as it was given.
    #[error("{0}")]
    Unsent(#[source] ConnectError, Box<Request<RequestBody>>),
    /// The connection broke after the request, or a part of it, had been sent, and before an answer began.
    #[error("{authority} broke off before it answered: {source}")]
    Broke {
        /// Who.
        authority: Authority,
        /// How.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// See the module.
#[derive(Debug)]
pub struct Upstream {
    me: Weak<Self>,
    authority: Authority,
    mark: HeaderValue,
    credentials: Option<Credentials>,
    authorization: Option<HeaderValue>,
    connect_timeout: Duration,
    idle: Pool<SendRequest<RequestBody>>,
    links: Pool<TcpStream>,
}

/// A connection in use.
#[derive(Debug)]
pub struct Lease {
    sender: SendRequest<RequestBody>,
    upstream: Weak<Upstream>,
}

impl Upstream {
    /// The connections to `server`; none is made yet. `None` if its address cannot stand in a URL.
    pub fn new(server: &Server, connect_timeout: Duration) -> Option<Arc<Self>> {
        let authority: Authority = server.address.authority.parse().ok()?;
        let mark = HeaderValue::from_str(authority.as_str()).ok()?;
        let authorization = server.credentials.as_ref().map(Credentials::header).map(HeaderValue::from_str);
        let mut authorization = authorization.transpose().ok()?;
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        Some(Arc::new_cyclic(|me| Self {
            me: me.clone(),
            authority,
            mark,
            credentials: server.credentials.clone(),
            authorization,
            connect_timeout,
            idle: Pool::default(),
            links: Pool::default(),
        }))
    }

    /// Whether it tells `server` what that wants to be told now: a server may come to want something else.
    pub fn suits(&self, server: &Server) -> bool {
        self.credentials == server.credentials
    }

    /// `host:port`, ready to stand in a header.
    pub fn mark(&self) -> &HeaderValue {
        &self.mark
    }

    /// What the server wants to be told before it answers.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// Sends `request` (its URI in origin form) and waits for the head of the answer, however long that takes.
    /// Dropping the future closes the connection.
    pub async fn send(&self, mut request: Request<RequestBody>) -> Result<Response<UpstreamBody>, SendError> {
        // An older client's version ends at us, and a request of our version must name a host.
        *request.version_mut() = Version::HTTP_11;
        request.headers_mut().entry(HOST).or_insert_with(|| self.mark.clone());
        while let Some(mut sender) = self.idle.take() {
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(self.lend(sender, response)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(self.broke(error.into_error().into())),
                },
            }
        }
        let mut sender = match self.connect().await {
            Ok(sender) => sender,
            Err(error) => return Err(SendError::Unsent(error, Box::new(request))),
        };
        match sender.try_send_request(request).await {
            Ok(response) => Ok(self.lend(sender, response)),
            Err(error) => Err(self.broke(error.into_error().into())),
        }
    }

    /// A bare connection that has answered a request before, if there is one.
    pub fn idle_link(&self) -> Option<TcpStream> {
        self.links.take()
    }

    /// Leaves a bare connection to the next request, once its answer has been read to the end.
    pub fn give_back_link(&self, link: TcpStream) {
        self.links.give(link);
    }

    /// A bare connection of its own.
    pub async fn link(&self) -> Result<TcpStream, ConnectError> {
        let failed = |source| ConnectError::Failed { authority: self.authority.clone(), source };
        let connecting = timeout(self.connect_timeout, TcpStream::connect(self.authority.as_str()));
        let stream = connecting
            .await
            .map_err(|_| ConnectError::TimedOut {
                authority: self.authority.clone(),
                waited: self.connect_timeout,
            })?
            .map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        Ok(stream)
    }

    async fn connect(&self) -> Result<SendRequest<RequestBody>, ConnectError> {
        let failed = |source| ConnectError::Failed { authority: self.authority.clone(), source };
        let stream = self.link().await?;
        let made = http1::handshake(TokioIo::new(OneWrite::new(stream))).await;
        let (sender, connection) = made.map_err(|error| failed(io::Error::other(error)))?;
        // Ends with the connection; what goes wrong on it is told to whoever waits for the answer.
        tokio::spawn(connection.with_upgrades());
        Ok(sender)
    }

    /// Closes the connections that have been idle for too long.
    pub fn close_idle(&self) {
        self.idle.tidy();
        self.links.tidy();
    }

    fn lend(&self, sender: SendRequest<RequestBody>, response: Response<Incoming>) -> Response<UpstreamBody> {
        let lease = Lease { sender, upstream: self.me.clone() };
        response.map(|incoming| UpstreamBody::new(incoming, lease))
    }

    /// That it broke off, which `source` tells.
    pub fn broke(&self, source: Box<dyn std::error::Error + Send + Sync>) -> SendError {
        SendError::Broke { authority: self.authority.clone(), source }
    }
}

impl Lease {
    /// Leaves the connection to the next request, once its answer has been read to the end.
    pub(super) fn give_back(self) {
        if let Some(upstream) = self.upstream.upgrade() {
            upstream.idle.give(self.sender);
        }
    }
}

impl Idle for SendRequest<RequestBody> {
    fn is_usable(&self) -> bool {
        !self.is_closed()
    }
}

impl Idle for TcpStream {
    /// Whether it is silent: a server that says something unasked has closed it, or is out of step.
    fn is_usable(&self) -> bool {
        let mut anything = [0];
        matches!(self.try_read(&mut anything), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}
