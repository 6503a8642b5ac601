//! The kernel's `sock_diag`: which TCP sockets listen, and who is at one end of a connection.
//!
//! Each question opens a netlink socket of its own. That costs two microseconds, and no answer can be mistaken for
//! that of an earlier question. The kernel answers within the call that asks, so nothing here ever waits.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::{
    AF_INET, AF_INET6, IPPROTO_TCP, SockDiagMessage,
    inet::{ExtensionFlags, InetRequest, InetResponseHeader, SocketId as Ends, StateFlags},
};
use rustix::{
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with},
};

use crate::machine::{Listener, SocketId};

/// The kernel never writes more than 32 KiB in one part of a list.
const LARGEST_PART: usize = 32 * 1024;

/// Every listening TCP socket of this network namespace.
pub(super) fn listening() -> io::Result<Vec<Listener>> {
    let socket = open()?;
    let mut buffer = vec![0; LARGEST_PART];
    let mut listeners = Vec::new();
    for (family, any) in
        [(AF_INET, IpAddr::V4(Ipv4Addr::UNSPECIFIED)), (AF_INET6, Ipv6Addr::UNSPECIFIED.into())]
    {
        let everywhere = ends(SocketAddr::new(any, 0), SocketAddr::new(any, 0));
        ask(&socket, NLM_F_DUMP, request(family, StateFlags::LISTEN, everywhere))?;
        while read(&socket, &mut buffer, |answer| {
            listeners.push(Listener {
                address: SocketAddr::new(answer.socket_id.source_address, answer.socket_id.source_port),
                socket: SocketId(answer.inode.into()),
                uid: Some(answer.uid),
            });
        })? == Part::MoreFollows
        {}
    }
    Ok(listeners)
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// The user whose process holds it.
    pub(super) uid: u32,
    pub(super) socket: SocketId,
}

/// The end `own` of the TCP connection between `own` and `other`; `None` when there is no such end or no process holds
/// it any more.
pub(super) fn end_of(own: SocketAddr, other: SocketAddr) -> io::Result<Option<End>> {
    // An IPv6 socket that talks IPv4 is found under the IPv4 addresses, whichever way its peer writes them.
    let (own, other) = (canonical(own), canonical(other));
    let family = match (own, other) {
        (SocketAddr::V4(_), SocketAddr::V4(_)) => AF_INET,
        (SocketAddr::V6(_), SocketAddr::V6(_)) => AF_INET6,
        _ => return Ok(None),
    };
    let socket = open()?;
    ask(&socket, 0, request(family, StateFlags::all(), ends(own, other)))?;
    let mut end = None;
    let mut buffer = [0; 1024];
    let outcome = read(&socket, &mut buffer, |answer| {
        let found = (
            canonical(SocketAddr::new(answer.socket_id.source_address, answer.socket_id.source_port)),
            canonical(SocketAddr::new(
                answer.socket_id.destination_address,
                answer.socket_id.destination_port,
            )),
        );
        // Without a connection the kernel offers a socket that listens there. And a closed connection that only
        // waits for its last packets belongs to nobody: it has no inode, and a user of 0 that means nothing.
        if found == (own, other) && answer.inode != 0 {
            end = Some(End { uid: answer.uid, socket: SocketId(answer.inode.into()) });
        }
    });
    match outcome {
        Ok(_) => Ok(end),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a list goes on.
#[derive(PartialEq, Eq)]
enum Part {
    MoreFollows,
    Last,
}

fn open() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(netlink::SOCK_DIAG))?)
}

fn request(family: u8, states: StateFlags, ends: Ends) -> SockDiagMessage {
    let extensions = ExtensionFlags::empty();
    SockDiagMessage::InetRequest(InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions,
        states,
        socket_id: ends,
    })
}

fn ends(own: SocketAddr, other: SocketAddr) -> Ends {
    Ends {
        source_port: own.port(),
        destination_port: other.port(),
        source_address: own.ip(),
        destination_address: other.ip(),
        interface_id: 0,
        // All ones: whatever the kernel's own number of the socket.
        cookie: [0xff; 8],
    }
}

fn ask(socket: &OwnedFd, flags: u16, request: SockDiagMessage) -> io::Result<()> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    send(socket, &bytes, SendFlags::empty())?;
    Ok(())
}

/// Reads one part of the answer.
fn read(socket: &OwnedFd, buffer: &mut [u8], mut each: impl FnMut(&InetResponseHeader)) -> io::Result<Part> {
    let (_, length) = recv(socket, &mut *buffer, RecvFlags::TRUNC).map_err(|error| match error {
        Errno::AGAIN => {
            io::Error::new(io::ErrorKind::UnexpectedEof, "the kernel's list of sockets broke off")
        }
        error => error.into(),
    })?;
    let mut rest = buffer.get(..length).ok_or_else(|| broken(&"longer than its buffer"))?;
    while !rest.is_empty() {
        let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest).map_err(|error| broken(&error))?;
        match message.payload {
            NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(answer)) => each(&answer.header),
            NetlinkPayload::Done(done) if done.code < 0 => {
                return Err(io::Error::from_raw_os_error(-done.code));
            }
            NetlinkPayload::Done(_) => return Ok(Part::Last),
            NetlinkPayload::Error(error) => return Err(error.to_io()),
            _ => {}
        }
        // Messages start on four-byte boundaries; none is empty, so this always moves on.
        let length = (message.header.length as usize).next_multiple_of(4).max(4);
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(Part::MoreFollows)
}

fn broken(what: &dyn fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the kernel's answer cannot be read: {what}"))
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
