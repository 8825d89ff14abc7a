//! Admission of a request before any route sees it: one host, an accepted one, no foreign page behind it.
//!
//! A page in a browser can reach a server on this machine in two ways: by a name of its own that resolves to
//! 127.0.0.1 (then `Host` is that name and the page may read the answers), or by posting across sites (then
//! `Origin` is the page's). On a loopback address, where no key may be asked for, both are refused, but for
//! pages of the origins that the operator names. On other addresses a key is always asked for, and no foreign
//! page has one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use gptoss_api::ApiError;

use crate::cors::{self, CorsOrigin};
use crate::rejection::Rejection;

/// What is admitted.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    is_loopback: bool,
    allowed_hosts: Vec<String>,
    cors_origins: Vec<CorsOrigin>,
}

impl Gate {
    /// For a server that listens on `address`, is also known by the names `allowed_hosts` and may be used by
    /// pages of `cors_origins`.
    pub(crate) fn new(
        address: Option<SocketAddr>,
        allowed_hosts: &[String],
        cors_origins: &[CorsOrigin],
    ) -> Gate {
        // An address that is not known is treated as the more careful case.
        let is_loopback = address.is_none_or(|address| address.ip().is_loopback());
        Gate { is_loopback, allowed_hosts: allowed_hosts.to_vec(), cors_origins: cors_origins.to_vec() }
    }

    /// Errors: `Invalid` for a missing or second host, `Host`, `Origin`.
    fn check(&self, request: &Request) -> Result<(), ApiError> {
        let headers = request.headers();
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next();
        if hosts.next().is_some() || (host.is_none() && request.version() > Version::HTTP_10) {
            let message = "the request must have exactly one 'host' header";
            return Err(ApiError::Invalid { param: None, message: message.to_owned() });
        }
        if !self.is_loopback {
            return Ok(());
        }
        let host = host.map(|value| value.to_str().unwrap_or_default());
        let named = request.uri().authority().map(|authority| authority.as_str());
        if let Some(host) = host.into_iter().chain(named).find(|host| !self.is_ours(host)) {
            return Err(ApiError::Host { host: host_name(host).to_owned() });
        }
        if self.is_foreign(headers, request.method()) { Err(ApiError::Origin) } else { Ok(()) }
    }

    /// Whether a page of another site sent it.
    fn is_foreign(&self, headers: &HeaderMap, method: &Method) -> bool {
        if let Some(origin) = headers.get(header::ORIGIN) {
            if cors::allows(&self.cors_origins, origin) {
                return false;
            }
            let host = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
            return !host.is_some_and(|(_, host)| self.is_ours(host));
        }
        // Following a link from elsewhere is a GET, and reads nothing for the page that has the link.
        let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
        !matches!(*method, Method::GET | Method::HEAD)
            && matches!(site, Some(b"cross-site") | Some(b"same-site"))
    }

    fn is_ours(&self, host: &str) -> bool {
        let name = host_name(host);
        let is_loopback = match name.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => name.eq_ignore_ascii_case("localhost"),
        };
        is_loopback || self.allowed_hosts.iter().any(|allowed| name.eq_ignore_ascii_case(allowed))
    }
}

/// The name or address of `name:port`, without the brackets of an IPv6 address and the dot at the end of a
/// full name.
fn host_name(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => {
            let name = host.split(':').next().unwrap_or_default();
            name.strip_suffix('.').unwrap_or(name)
        }
    }
}

/// The layer around all routes.
pub(crate) async fn admit(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    match gate.check(&request) {
        Ok(()) => next.run(request).await,
        Err(error) => Rejection(error).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = axum::http::Request::builder().method(method).uri("/v1/models");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(axum::body::Body::empty()).unwrap()
    }

    /// Any page that a browser showed could post to a server on this machine, and read its answers under a
    /// name of its own.
    #[test]
    fn foreign_pages_are_refused_on_loopback() {
        let gate = Gate::new(Some(([127, 0, 0, 1], 8000).into()), &["box.example".to_owned()], &[]);
        let check = |method: &str, headers: &[(&str, &str)], expect: Option<u16>| {
            let found = gate.check(&request(method, headers)).err().map(|error| error.row().status);
            assert_eq!(found, expect, "{method} {headers:?}");
        };
        for host in
            ["127.0.0.1:8000", "localhost:8000", "LOCALHOST.", "[::1]:8000", "127.1.2.3", "box.example:1"]
        {
            check("POST", &[("host", host)], None);
        }
        for host in
            ["evil.test", "evil.test:8000", "127.0.0.1.evil.test", "localhost.evil.test", "10.0.0.1", ""]
        {
            check("GET", &[("host", host)], Some(403));
        }
        check("GET", &[], Some(400));
        check("GET", &[("host", "localhost"), ("host", "localhost")], Some(400));
        let local = ("host", "localhost:8000");
        for origin in
            ["http://localhost:3000", "http://127.0.0.1:8000", "https://box.example", "http://[::1]"]
        {
            check("POST", &[local, ("origin", origin)], None);
        }
        for origin in ["https://evil.test", "null", "http://localhost.evil.test", "file://", ""] {
            check("POST", &[local, ("origin", origin)], Some(403));
        }
        check("POST", &[local, ("sec-fetch-site", "cross-site")], Some(403));
        check("POST", &[local, ("sec-fetch-site", "same-origin")], None);
        check("GET", &[local, ("sec-fetch-site", "cross-site")], None);
    }

    #[test]
    fn pages_of_named_origins_are_not_foreign() {
        let check = |origins: &[&str], origin: &str, expect: Option<u16>| {
            let origins: Vec<CorsOrigin> = origins.iter().map(|origin| origin.parse().unwrap()).collect();
            let gate = Gate::new(None, &[], &origins);
            let headers = [("host", "localhost"), ("origin", origin), ("sec-fetch-site", "cross-site")];
            let found = gate.check(&request("POST", &headers)).err().map(|error| error.row().status);
            assert_eq!(found, expect, "{origins:?} {origin}");
        };
        check(&["https://chat.example"], "https://chat.example", None);
        check(&["https://chat.example"], "http://chat.example", Some(403));
        check(&["https://chat.example"], "https://evil.test", Some(403));
        check(&["*"], "https://evil.test", None);
        // Whatever pages may use it, a name of their own for this machine is not one of ours.
        let gate = Gate::new(None, &[], &[CorsOrigin::Any]);
        assert!(gate.check(&request("GET", &[("host", "evil.test")])).is_err());
    }

    #[test]
    fn other_addresses_have_keys_and_any_name() {
        let gate = Gate::new(Some(([192, 0, 2, 1], 8000).into()), &[], &[]);
        let headers = [("host", "models.example"), ("origin", "https://chat.example")];
        assert_eq!(gate.check(&request("POST", &headers)), Ok(()));
    }
}
