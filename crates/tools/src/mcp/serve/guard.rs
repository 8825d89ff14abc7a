//! Who may not ask: pages of strangers in a browser of this machine.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// What is known of the address that is listened at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guard {
    /// Whether only this machine reaches it.
    pub(super) is_loopback: bool,
}

/// Lets a request pass, or refuses it.
pub(super) async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.refusal(request.headers()) {
        Some(why) => (StatusCode::FORBIDDEN, format!("{why}\n")).into_response(),
        None => next.run(request).await,
    }
}

impl Guard {
    fn refusal(self, headers: &HeaderMap) -> Option<&'static str> {
        let is_here = |value: &str, has_scheme| {
            let uri = if has_scheme { value.to_owned() } else { format!("http://{value}") };
            uri.parse::<Uri>().is_ok_and(|uri| uri.host().is_some_and(is_this_machine))
        };
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        if text(ORIGIN).is_some_and(|origin| !is_here(origin, true)) {
            return Some("pages of other origins may not ask this server");
        }
        if self.is_loopback && text(HOST).is_some_and(|host| !is_here(host, false)) {
            return Some("this server answers to localhost and loopback addresses alone");
        }
        None
    }
}

fn is_this_machine(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_pages_and_names_are_refused() {
        let check = |is_loopback, origin: Option<&str>, host: &str, may| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().expect("a header"));
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().expect("a header"));
            }
            let refusal = Guard { is_loopback }.refusal(&headers);
            assert_eq!(refusal.is_none(), may, "{origin:?} {host}: {refusal:?}");
        };
        check(true, None, "127.0.0.1:8001", true);
        check(true, None, "LocalHost:8001", true);
        check(true, None, "[::1]:8001", true);
        check(true, Some("http://localhost:3000"), "localhost:8001", true);
        check(true, None, "evil.example:8001", false);
        check(true, Some("http://evil.example"), "localhost:8001", false);
        check(true, Some("http://localhost.evil.example"), "localhost:8001", false);
        check(true, Some("null"), "localhost:8001", false);
        check(false, None, "tools.lan:8001", true);
        check(false, Some("http://tools.lan:8001"), "tools.lan:8001", false);
    }
}
