//! `pointsman open`: the agents' web page, in a browser.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use reqwest::Url;
use url::Host;

use super::{
    OpenArgs,
    client::{CliError, Client, print},
};
use crate::{api::wire::SessionDetail, config::Environment};

/// Opens the page, or prints its address. The token is not in it, where other users could read it: the browser asks.
pub async fn run(args: &OpenArgs, environment: &Environment) -> Result<(), CliError> {
    let client = Client::new(&args.daemon, environment)?;
    if let Some(session) = &args.session {
        let answer = client.get(&["sessions", session], &[]).await?;
        client.read::<SessionDetail>(&answer)?;
    } else {
        client.get(&["servers"], &[]).await?;
    }
    let page = page(client.base().clone(), args.session.as_deref());
    if args.print {
        return print(page.as_str());
    }
    // It waits for the program that opens it, which may have something to say.
    let opened =
        tokio::task::spawn_blocking(move || open::that(page.as_str()).map_err(|source| (page, source)));
    match opened.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err((page, source))) => Err(CliError::NoBrowser { page: page.to_string(), source }),
        Err(ended) => Err(CliError::Output(std::io::Error::other(ended))),
    }
}

/// The page of a session, or the first one. The page names the server of a session by the origin it was loaded from,
/// and finds the directory by itself.
fn page(mut daemon: Url, session: Option<&str>) -> Url {
    let loopback = match daemon.host() {
        Some(Host::Ipv4(address)) if address.is_unspecified() => Some("127.0.0.1"),
        Some(Host::Ipv6(address)) if address.is_unspecified() => Some("[::1]"),
        _ => None,
    };
    // One can listen on every address and browse none of that name. Replacing a host by a host always works.
    let _ = loopback.map(|loopback| daemon.set_host(Some(loopback)));
    let origin = BASE64_URL_SAFE_NO_PAD.encode(daemon.origin().ascii_serialization());
    if let Ok(mut path) = daemon.path_segments_mut() {
        path.pop_if_empty();
        match session {
            Some(session) => path.extend(["server", &origin, "session", session]),
            None => path.push(""),
        };
    }
    daemon
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_the_origin_and_the_session_under_the_base_path() {
        let of = |daemon: &str, session| page(daemon.parse().unwrap(), session).to_string();
        assert_eq!(of("http://127.0.0.1:4747", None), "http://127.0.0.1:4747/");
        assert_eq!(of("http://127.0.0.1:4747/oc", None), "http://127.0.0.1:4747/oc/");
        let named = "aHR0cDovLzEyNy4wLjAuMTo0NzQ3";
        assert_eq!(
            of("http://127.0.0.1:4747", Some("ses_1")),
            format!("http://127.0.0.1:4747/server/{named}/session/ses_1")
        );
        assert_eq!(
            of("http://127.0.0.1:4747/oc/", Some("ses_1")),
            format!("http://127.0.0.1:4747/oc/server/{named}/session/ses_1")
        );
    }

    #[test]
    fn nobody_browses_to_every_address() {
        for (daemon, browsed) in
            [("http://0.0.0.0:4747", "http://127.0.0.1:4747/"), ("http://[::]:4747", "http://[::1]:4747/")]
        {
            assert_eq!(page(daemon.parse().unwrap(), None).as_str(), browsed);
        }
    }
}
