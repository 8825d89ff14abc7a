//! The proxy of the environment, which is for others than this machine.

use std::net::IpAddr;

use hyper::Uri;
use ureq::Proxy;

/// What requests to an address go over, if anything.
pub fn proxy_to(url: &str) -> Option<Proxy> {
    if is_loopback(url) { None } else { Proxy::try_from_env() }
}

/// The host of an address, an IPv6 one without its brackets; empty where there is none.
pub fn host(url: &str) -> String {
    let uri = url.parse::<Uri>().unwrap_or_default();
    uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned()
}

fn is_loopback(url: &str) -> bool {
    let host = host(url);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_its_names() {
        for (url, expect) in [
            ("http://localhost:4318/v1/traces", true),
            ("http://127.1.2.3/v1/traces", true),
            ("https://[::1]:4318/", true),
            ("http://collector:4318", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(url), expect, "{url}");
        }
    }
}
