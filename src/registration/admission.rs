//! Who may register, decided from what was said and what the machine shows. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;
use url::{Host, Url};

use super::{Applicant, PROTOCOL, SERVED, lease::Full};
use crate::{config::AllowedHost, domain::kind::Kind, machine::Process, registry::server::Address};

/// The longest name of an instance.
const LONGEST_NAME: usize = 128;

/// The longest token, as for our own.
const LONGEST_TOKEN: usize = 256;

/// Why somebody is not registered.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the sentences say it")]
pub enum Refused {
    #[error(
        "this pointsman speaks registration protocol {}, not {asked}; run `pointsman plugin install` so that both are of one age",
        served()
    )]
    Protocol { asked: u64 },
    #[error("{what}")]
    Malformed { what: String },
    #[error("{host} is not this machine; add it to allowed_registrations if its servers may register")]
    ForeignHost { host: String },
    #[error("{url} is this pointsman itself; register the address that your own listener has")]
    OwnAddress { url: String },
    #[error("no process {pid} runs here")]
    NoSuchProcess { pid: u32 },
    #[error("process {pid} belongs to another user")]
    OtherUsersProcess { pid: u32 },
    #[error("process {pid} does not listen at {url}; register the address that it listens on")]
    NotItsSocket { pid: u32, url: String },
    #[error("{url} does not answer as OpenCode does: {why}")]
    NotAnAgent { url: String, why: String },
    #[error("{0}; some of them must end first")]
    Full(#[from] Full),
    #[error("nothing is registered as {id}; register anew")]
    Unknown { id: String },
    #[error("this pointsman is stopping")]
    Stopping,
}

fn served() -> String {
    SERVED.iter().map(u64::to_string).collect::<Vec<_>>().join(" and ")
}

/// What an applicant wants to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// A server at one of these addresses; a name may stand for several.
    Server {
        /// Where it may be, as `host:port`, if it is not on this machine.
        address: Address,
        /// The same as sockets, where no name has to be resolved for that.
        sockets: Vec<SocketAddr>,
        /// Whether it is certainly on this machine, so that its process must show.
        here: bool,
    },
    /// A screen without a server of its own.
    Screen(Attached),
}

/// What a screen without a server of its own is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attached {
    /// This daemon.
    Here,
    /// What is at this address, or at one of these.
    To(Address, Vec<SocketAddr>),
}

/// What is asked of those who come.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Where we listen.
    pub own: SocketAddr,
    /// The hosts beside loopback from which servers may come.
    pub allowed: Vec<AllowedHost>,
}

impl Rules {
    /// What `applicant` may become, as far as its own words tell.
    pub fn admit(&self, applicant: &Applicant) -> Result<Admitted, Refused> {
        protocol(applicant.protocol)?;
        instance(&applicant.instance)?;
        if let Some(token) = &applicant.token {
            self::token(token.expose())?;
        }
        let (host, port) = destination(&applicant.url)?;
        let sockets = sockets(&host, port);
        let own = sockets.iter().any(|socket| self.is_own(*socket));
        let address = Address::new(bare(&host).as_str(), port);
        match applicant.kind {
            Kind::Attach if own => Ok(Admitted::Screen(Attached::Here)),
            Kind::Attach => Ok(Admitted::Screen(Attached::To(address, sockets))),
            Kind::Other => Err(malformed("kind must be tui, serve, web, acp, run or attach")),
            Kind::Tui | Kind::Serve | Kind::Web | Kind::Acp | Kind::Run => {
                if own {
                    return Err(Refused::OwnAddress { url: applicant.url.clone() });
                }
                let here = !sockets.is_empty() && sockets.iter().all(|socket| socket.ip().is_loopback());
                if !here && !self.allows(&host) {
                    return Err(Refused::ForeignHost { host: host.to_string() });
                }
                Ok(Admitted::Server { address, sockets, here })
            }
        }
    }

    fn is_own(&self, socket: SocketAddr) -> bool {
        let (own, asked) = (self.own.ip().to_canonical(), socket.ip().to_canonical());
        socket.port() == self.own.port()
            && (own == asked || own.is_unspecified() && (asked.is_loopback() || asked.is_unspecified()))
    }

    fn allows(&self, host: &Host<String>) -> bool {
        self.allowed.iter().any(|allowed| match host {
            Host::Domain(name) => allowed.is_name(name),
            Host::Ipv4(ip) => allowed.holds((*ip).into()),
            Host::Ipv6(ip) => allowed.holds(ip.to_canonical()),
        })
    }
}

/// Judges the process that an applicant names, against what the machine shows: the process, and whether it listens at
/// the address.
pub fn judge(
    applicant: &Applicant,
    process: Option<&Process>,
    own_user: Option<u32>,
    listens: bool,
) -> Result<(), Refused> {
    let pid = applicant.pid;
    let Some(process) = process else { return Err(Refused::NoSuchProcess { pid }) };
    if matches!((process.uid, own_user), (Some(its), Some(own)) if its != own) {
        return Err(Refused::OtherUsersProcess { pid });
    }
    if !listens && applicant.kind != Kind::Attach {
        return Err(Refused::NotItsSocket { pid, url: applicant.url.clone() });
    }
    Ok(())
}

fn protocol(asked: u64) -> Result<(), Refused> {
    debug_assert!(SERVED.contains(&PROTOCOL));
    if SERVED.contains(&asked) { Ok(()) } else { Err(Refused::Protocol { asked }) }
}

fn instance(name: &str) -> Result<(), Refused> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(malformed(&format!("instance must have 1 to {LONGEST_NAME} characters of [0-9A-Za-z._-]")))
}

fn token(text: &str) -> Result<(), Refused> {
    if (1..=LONGEST_TOKEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(malformed(&format!("token must have 1 to {LONGEST_TOKEN} visible ASCII characters")))
}

fn destination(text: &str) -> Result<(Host<String>, u16), Refused> {
    let wrong = || malformed(&format!("url must be like http://127.0.0.1:4096, which {text:?} is not"));
    let url = Url::parse(text).map_err(|_| wrong())?;
    let plain = url.scheme() == "http" && url.username().is_empty() && url.password().is_none();
    match (url.host(), url.port_or_known_default()) {
        (Some(host), Some(port)) if plain && port != 0 => Ok((host.to_owned(), port)),
        _ => Err(wrong()),
    }
}

/// What a host means to this machine, as far as no name has to be resolved for that.
fn sockets(host: &Host<String>, port: u16) -> Vec<SocketAddr> {
    let (four, six): (IpAddr, IpAddr) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    let ips = match host {
        Host::Domain(name) if name == "localhost" => vec![four, six],
        Host::Domain(_) => Vec::new(),
        Host::Ipv4(ip) if ip.is_unspecified() => vec![four],
        Host::Ipv6(ip) if ip.is_unspecified() => vec![six],
        Host::Ipv4(ip) => vec![(*ip).into()],
        Host::Ipv6(ip) => vec![ip.to_canonical()],
    };
    ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
}

/// A host without the brackets of an IPv6 address.
fn bare(host: &Host<String>) -> String {
    match host {
        Host::Domain(name) => name.clone(),
        Host::Ipv4(ip) => ip.to_string(),
        Host::Ipv6(ip) => ip.to_canonical().to_string(),
    }
}

fn malformed(what: &str) -> Refused {
    Refused::Malformed { what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registration::Report;

    fn applicant(url: &str) -> Applicant {
        Applicant {
            protocol: PROTOCOL,
            instance: "i-1".into(),
            pid: 7,
            url: url.into(),
            kind: Kind::Tui,
            token: Some("t0ken".into()),
            plugin: true,
            store: None,
            report: Report::default(),
        }
    }

    fn rules(own: &str, allowed: &[&str]) -> Rules {
        let allowed = allowed.iter().map(|text| AllowedHost::try_new(text).unwrap()).collect();
        Rules { own: own.parse().unwrap(), allowed }
    }

    fn admit(url: &str) -> Result<Admitted, Refused> {
        rules("127.0.0.1:4747", &["10.1.0.0/16", "box.local"]).admit(&applicant(url))
    }

    fn process(uid: Option<u32>) -> Process {
        Process {
            pid: 7,
            parent: None,
            started: 1,
            uid,
            name: "opencode".into(),
            args: Vec::new(),
            cwd: None,
            store: None,
        }
    }

    #[test]
    fn one_and_only_the_served_protocols_are_served_and_the_refusal_names_them() {
        let served: &[u64] = &[1];
        assert_eq!((PROTOCOL, SERVED), (1, served));
        for protocol in [0, 2, u64::MAX] {
            let refused = rules("127.0.0.1:4747", &[])
                .admit(&Applicant { protocol, ..applicant("http://127.0.0.1:1") })
                .unwrap_err();
            assert!(refused.to_string().contains("protocol 1, not"), "{refused}");
        }
    }

    #[test]
    fn loopback_may_register_and_another_host_only_if_it_is_allowed() {
        for url in ["http://127.0.0.1:5", "http://[::1]:5", "http://localhost:5", "http://0.0.0.0:5/"] {
            assert!(matches!(admit(url), Ok(Admitted::Server { here: true, .. })), "{url}");
        }
        for url in ["http://10.1.2.3:5", "http://box.local:5", "http://[::ffff:10.1.2.3]:5"] {
            assert!(matches!(admit(url), Ok(Admitted::Server { here: false, .. })), "{url}");
        }
        for url in [
            "http://10.2.0.1:5",
            "http://evil.example:5",
            "http://localhost.evil.example:5",
            "http://169.254.169.254",
            "http://[fe80::1]:5",
        ] {
            assert!(matches!(admit(url), Err(Refused::ForeignHost { .. })), "{url}: {:?}", admit(url));
        }
    }

    #[test]
    fn the_daemon_itself_is_no_server_by_whatever_name() {
        for url in ["http://127.0.0.1:4747", "http://localhost:4747/", "http://[::ffff:127.0.0.1]:4747"] {
            assert!(matches!(admit(url), Err(Refused::OwnAddress { .. })), "{url}");
        }
        let wide = rules("0.0.0.0:4747", &[]);
        for url in ["http://127.0.0.5:4747", "http://[::1]:4747"] {
            assert!(matches!(wide.admit(&applicant(url)), Err(Refused::OwnAddress { .. })), "{url}");
        }
        let screen = Applicant { kind: Kind::Attach, ..applicant("http://localhost:4747/oc") };
        let rules = rules("127.0.0.1:4747", &[]);
        assert_eq!(rules.admit(&screen).unwrap(), Admitted::Screen(Attached::Here));
    }

    #[test]
    fn a_screen_may_be_attached_to_anything() {
        let screen = Applicant { kind: Kind::Attach, ..applicant("http://far.example:9") };
        let admitted = rules("127.0.0.1:4747", &[]).admit(&screen).unwrap();
        let far = Address::new("far.example", 9);
        assert_eq!(admitted, Admitted::Screen(Attached::To(far, Vec::new())));
    }

    #[test]
    fn nonsense_is_refused_with_a_sentence() {
        for url in
            ["", "4096", "https://127.0.0.1:5", "http://a:b@127.0.0.1:5", "http://127.0.0.1:0", "file:///"]
        {
            assert!(matches!(admit(url), Err(Refused::Malformed { .. })), "{url}");
        }
        let plain = applicant("http://127.0.0.1:5");
        let long = "x".repeat(500);
        for wrong in [
            Applicant { instance: String::new(), ..plain.clone() },
            Applicant { instance: "a b".into(), ..plain.clone() },
            Applicant { instance: long.clone(), ..plain.clone() },
            Applicant { token: Some("a\r\nb: c".into()), ..plain.clone() },
            Applicant { token: Some(String::new().into()), ..plain.clone() },
            Applicant { token: Some(long.into()), ..plain.clone() },
            Applicant { kind: Kind::Other, ..plain },
        ] {
            let refused = rules("127.0.0.1:4747", &[]).admit(&wrong);
            assert!(matches!(refused, Err(Refused::Malformed { .. })), "{wrong:?}");
        }
    }

    #[test]
    fn the_process_must_live_be_ours_and_hold_the_socket() {
        let own = Some(1000);
        let applicant = applicant("http://127.0.0.1:5");
        let by = |process: Option<Process>, listens| judge(&applicant, process.as_ref(), own, listens);
        assert!(by(Some(process(own)), true).is_ok());
        assert!(by(Some(process(None)), true).is_ok(), "where users have no number");
        assert!(matches!(by(None, true), Err(Refused::NoSuchProcess { pid: 7 })));
        assert!(matches!(by(Some(process(Some(0))), true), Err(Refused::OtherUsersProcess { pid: 7 })));
        assert!(matches!(by(Some(process(own)), false), Err(Refused::NotItsSocket { .. })));
        let screen = Applicant { kind: Kind::Attach, ..applicant.clone() };
        assert!(judge(&screen, Some(&process(own)), own, false).is_ok());
    }
}
