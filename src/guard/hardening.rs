//! Attacks, and the ordinary requests beside them that must still pass.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, Method, Request, Version, request::Parts};
use proptest::prelude::*;

use super::{Admitted, Guard, HOP, InstanceId, Peer, PeerUser, Refusal, loops::mark};
use crate::config::{Access, CorsOrigin, HostName};

const ME: Peer = Peer {
    address: std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 50_000),
    user: PeerUser::Same,
};

fn access() -> Access {
    Access { token: None, allowed_hosts: Vec::new(), cors: Vec::new(), user_check: true }
}

fn open_guard() -> Guard {
    Guard::new(access(), "key".into(), "127.0.0.1:4747".parse().unwrap(), InstanceId::draw(), Arc::default())
}

fn token_guard(bound: &str) -> Guard {
    let access = Access { token: Some("s3cret".into()), ..access() };
    Guard::new(access, "key".into(), bound.parse().unwrap(), InstanceId::draw(), Arc::default())
}

fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri);
    if headers.iter().all(|(name, _)| *name != "host") {
        request = request.header("host", "127.0.0.1:4747");
    }
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(()).unwrap().into_parts().0
}

fn from_page(method: &str, headers: &[(&str, &str)]) -> Result<Admitted, Refusal> {
    open_guard().check(&request(method, "/session", headers), &ME)
}

#[test]
fn a_name_rebound_to_this_machine_is_refused() {
    for host in [
        "evil.example",
        "evil.example:4747",
        "localhost.evil.example:4747",
        "127.0.0.1.evil.example:4747",
        "0.0.0.0:4747",
        "[::]:4747",
        "192.0.2.1:4747",
        "2130706433:4747",
        "127.1:4747",
        "0x7f.0.0.1",
        "localhost.:4747",
        "foo.localhost:4747",
    ] {
        let refused = from_page("GET", &[("host", host)]);
        assert!(matches!(refused, Err(Refusal::HostUnknown(_))), "{host}: {refused:?}");
    }
}

#[test]
fn a_host_that_is_none_or_two_is_refused() {
    for host in [
        "",
        ":4747",
        "localhost:",
        "localhost:x",
        "localhost:99999",
        "a@localhost",
        "local host",
        "[::1",
        "[::1]x",
        "localhost/",
        "localhost,evil.example",
    ] {
        assert_eq!(from_page("GET", &[("host", host)]), Err(Refusal::HostMalformed), "{host:?}");
    }
    let two = [("host", "localhost"), ("host", "evil.example")];
    assert_eq!(from_page("GET", &two), Err(Refusal::HostMalformed));
    let mut none = request("GET", "/session", &[]);
    none.headers.remove("host");
    assert_eq!(open_guard().check(&none, &ME), Err(Refusal::HostMalformed));
    none.version = Version::HTTP_10;
    assert_eq!(open_guard().check(&none, &ME), Ok(Admitted::Request));
}

#[test]
fn the_absolute_form_does_not_smuggle_another_host_past_the_header() {
    let refused = open_guard().check(&request("GET", "http://evil.example/session", &[]), &ME);
    assert!(matches!(refused, Err(Refusal::HostUnknown(_))), "{refused:?}");
    let smuggled = request("GET", "http://localhost@evil.example/session", &[]);
    assert!(open_guard().check(&smuggled, &ME).is_err());
    let own = request("GET", "http://localhost:4747/session", &[]);
    assert_eq!(open_guard().check(&own, &ME), Ok(Admitted::Request));
}

#[test]
fn a_strange_page_cannot_act_by_any_method() {
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        for origin in [
            "https://evil.example",
            "null",
            "",
            "http://localhost",
            "https://localhost:3000",
            "http://localhost:",
            "http://localhost:x",
            "http://localhost:+80",
            "http://localhost:80@evil.example",
            "http://localhost:80.evil.example",
            "http://localhost.evil.example:80",
            "http://127.0.0.1.evil.example",
            "http://127.0.0.2:80",
            "http://opencode.ai",
            "https://opencode.ai.evil.example",
            "https://evilopencode.ai",
            "https://app.opencode.ai:8443",
            "https://evil.example?.opencode.ai",
            "https://evil.example/.opencode.ai",
            "https://evil.example#.opencode.ai",
            "https://evil@.opencode.ai",
            "https://.opencode.ai",
            "https://a..opencode.ai",
            "tauri://localhost.evil.example",
            "oc://renderer2",
            "http://127.0.0.1:4747, https://evil.example",
        ] {
            let refused = from_page(method, &[("origin", origin)]);
            assert!(matches!(refused, Err(Refusal::OriginUnknown(_))), "{method} {origin}: {refused:?}");
        }
    }
    let two = [("origin", "http://localhost:3000"), ("origin", "https://evil.example")];
    assert!(from_page("POST", &two).is_err());
    // A browser always sends the port of a page that is not on its scheme's own.
    assert!(from_page("POST", &[("host", "localhost"), ("origin", "http://localhost")]).is_ok());
}

#[test]
fn requests_a_strange_page_sends_without_an_origin_are_refused() {
    for (mode, dest) in [
        ("no-cors", "image"),
        ("no-cors", "script"),
        ("navigate", "iframe"),
        ("navigate", "object"),
        ("navigate", "embed"),
        ("websocket", "websocket"),
        ("cors", "empty"),
    ] {
        let headers = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)];
        assert_eq!(from_page("GET", &headers), Err(Refusal::CrossSite), "{mode} {dest}");
    }
    assert_eq!(from_page("GET", &[("sec-fetch-site", "cross-site")]), Err(Refusal::CrossSite));
    assert_eq!(from_page("GET", &[("sec-fetch-site", "something-new")]), Err(Refusal::CrossSite));
    let posted =
        [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    assert_eq!(from_page("POST", &posted), Err(Refusal::CrossSite));
}

#[test]
fn a_link_somebody_follows_opens_the_web_page() {
    for site in ["cross-site", "same-site", "same-origin", "none"] {
        let headers =
            [("sec-fetch-site", site), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        assert_eq!(from_page("GET", &headers), Ok(Admitted::Request), "{site}");
    }
}

#[test]
fn a_sibling_of_our_registered_domain_is_a_stranger_and_another_local_port_is_not() {
    let headers =
        [("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")];
    assert_eq!(from_page("GET", &headers), Ok(Admitted::Request));
    let access = Access { allowed_hosts: vec![HostName::try_new("me.example.com").unwrap()], ..access() };
    let guard = Guard::new(
        access,
        "key".into(),
        "127.0.0.1:4747".parse().unwrap(),
        InstanceId::draw(),
        Arc::default(),
    );
    let sibling = [headers.as_slice(), &[("host", "me.example.com")]].concat();
    assert_eq!(guard.check(&request("GET", "/session", &sibling), &ME), Err(Refusal::CrossSite));
}

#[test]
fn trusted_pages_and_plain_clients_pass() {
    assert_eq!(from_page("POST", &[]), Ok(Admitted::Request));
    for origin in
        ["http://127.0.0.1:4747", "http://localhost:3000", "https://app.opencode.ai", "tauri://localhost"]
    {
        let headers = [("origin", origin), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors")];
        assert_eq!(from_page("POST", &headers), Ok(Admitted::Request), "{origin}");
    }
    let access = Access { cors: vec![CorsOrigin::try_new("https://code.example.com").unwrap()], ..access() };
    let guard = Guard::new(
        access,
        "key".into(),
        "127.0.0.1:4747".parse().unwrap(),
        InstanceId::draw(),
        Arc::default(),
    );
    let configured = request("POST", "/session", &[("origin", "https://code.example.com")]);
    assert_eq!(guard.check(&configured, &ME), Ok(Admitted::Request));
}

#[test]
fn a_preflight_passes_without_a_token_and_does_not_become_a_request() {
    let guard = token_guard("127.0.0.1:4747");
    let question = [("origin", "http://localhost:3000"), ("access-control-request-method", "POST")];
    assert_eq!(guard.check(&request("OPTIONS", "/session", &question), &ME), Ok(Admitted::Preflight));
    assert_eq!(guard.check(&request("POST", "/session", &question), &ME), Err(Refusal::TokenNeeded));
    assert_eq!(guard.check(&request("OPTIONS", "/session", &[]), &ME), Err(Refusal::TokenNeeded));
}

#[test]
fn a_token_is_asked_of_everybody_for_everything_but_the_sign_of_life() {
    let guard = token_guard("0.0.0.0:4747");
    let basic = format!("Basic {}", BASE64_STANDARD.encode("opencode:s3cret"));
    for path in [
        "/",
        "/session",
        "/healthz/",
        "/healthz/x",
        "//healthz",
        "/HEALTHZ",
        "/%68ealthz",
        "/readyz",
        "/metrics",
        "/global/health",
    ] {
        assert_eq!(guard.check(&request("GET", path, &[]), &ME), Err(Refusal::TokenNeeded), "{path}");
        let with = request("GET", path, &[("authorization", &basic)]);
        assert_eq!(guard.check(&with, &ME), Ok(Admitted::Request), "{path}");
    }
    assert_eq!(guard.check(&request("GET", "/healthz", &[]), &ME), Ok(Admitted::Request));
    assert_eq!(guard.check(&request("GET", "/healthz?x=y", &[]), &ME), Ok(Admitted::Request));
    let stranger = Peer { address: "192.0.2.1:9".parse().unwrap(), user: PeerUser::Unknown };
    let with = request("GET", "/session", &[("host", "192.0.2.7:4747"), ("authorization", &basic)]);
    assert_eq!(guard.check(&with, &stranger), Ok(Admitted::Request));
}

#[test]
fn a_token_does_not_open_the_door_to_a_strange_page_whose_browser_knows_it() {
    let basic = format!("Basic {}", BASE64_STANDARD.encode("opencode:s3cret"));
    let headers = [("origin", "https://evil.example"), ("authorization", basic.as_str())];
    let refused = token_guard("127.0.0.1:4747").check(&request("POST", "/session", &headers), &ME);
    assert!(matches!(refused, Err(Refusal::OriginUnknown(_))));
}

#[test]
fn another_user_of_the_machine_is_refused_everything_but_the_sign_of_life() {
    let guard = open_guard();
    let other = Peer { user: PeerUser::Other, ..ME };
    assert_eq!(guard.check(&request("GET", "/session", &[]), &other), Err(Refusal::OtherUser));
    assert_eq!(guard.check(&request("GET", "/healthz", &[]), &other), Ok(Admitted::Request));
}

#[test]
fn an_unknown_user_is_refused_as_soon_as_a_server_behind_has_a_password() {
    let guard = open_guard();
    let unknown = Peer { user: PeerUser::Unknown, ..ME };
    let asked = request("GET", "/session", &[]);
    assert_eq!(guard.check(&asked, &unknown), Ok(Admitted::Request));
    guard.set_passwords_behind(true);
    assert_eq!(guard.check(&asked, &unknown), Err(Refusal::UserUnknown));
    assert_eq!(guard.check(&asked, &ME), Ok(Admitted::Request));
    guard.set_passwords_behind(false);
    assert_eq!(guard.check(&asked, &unknown), Ok(Admitted::Request));
}

#[test]
fn without_a_token_an_address_from_elsewhere_is_refused_whoever_it_is() {
    let elsewhere = Peer { address: "192.0.2.1:9".parse().unwrap(), user: PeerUser::Same };
    assert_eq!(open_guard().check(&request("GET", "/session", &[]), &elsewhere), Err(Refusal::TokenNeeded));
    let mapped = Peer { address: "[::ffff:127.0.0.1]:9".parse().unwrap(), ..ME };
    assert_eq!(open_guard().check(&request("GET", "/session", &[]), &mapped), Ok(Admitted::Request));
}

#[test]
fn a_request_that_came_back_is_refused() {
    let instance = InstanceId::draw();
    let guard = Guard::new(
        access(),
        "key".into(),
        "127.0.0.1:4747".parse().unwrap(),
        instance.clone(),
        Arc::default(),
    );
    let mut asked = request("GET", "/session", &[]);
    mark(&mut asked.headers, &InstanceId::draw());
    assert_eq!(guard.check(&asked, &ME), Ok(Admitted::Request));
    mark(&mut asked.headers, &instance);
    assert_eq!(guard.check(&asked, &ME), Err(Refusal::Loop));
    assert_eq!(asked.headers.get_all(HOP).iter().count(), 2);
}

#[test]
fn what_a_stranger_sent_is_cut_short_in_the_answer() {
    let long = format!("{}.example", "a".repeat(5000));
    let refused = from_page("GET", &[("host", &long)]).unwrap_err();
    assert!(refused.to_string().len() < 250);
}

proptest! {
    #[test]
    fn any_head_is_decided_without_a_panic(
        host in "[ -~]{0,40}",
        origin in "[ -~]{0,60}",
        via in "[ -~]{0,60}",
        authorization in "[ -~]{0,60}",
        site in "[a-z-]{0,12}",
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in [("host", &host), ("origin", &origin), ("via", &via), ("x-pointsman-hop", &via), ("authorization", &authorization), ("sec-fetch-site", &site)] {
            headers.insert(name, value.parse().unwrap());
        }
        let mut asked = request("POST", "/session", &[]);
        asked.headers = headers;
        asked.method = Method::POST;
        prop_assert!(token_guard("0.0.0.0:1").check(&asked, &ME).is_err());
    }
}
