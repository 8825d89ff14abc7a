//! Pages of other origins that may use the server (`--cors-origin`): none, unless the operator names them.
//!
//! A browser asks before it sends JSON to another origin, and lets a page read an answer only with a header
//! that says so. Both come from here, before keys and routes are looked at: what asks beforehand has no key.
//! A page of the open web is never told that it may reach a server in a private network.

use std::str::FromStr;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::error::Error;

/// How long a browser may go on without asking again.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Headers of answers that pages may read.
const EXPOSED: [HeaderName; 4] = [
    header::RETRY_AFTER,
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("request-id"),
    HeaderName::from_static("openai-processing-ms"),
];

/// Whose pages may use the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsOrigin {
    /// Everybody's.
    Any,
    /// Those of one origin, as browsers write it.
    One(HeaderValue),
}

impl FromStr for CorsOrigin {
    type Err = Error;

    fn from_str(text: &str) -> Result<CorsOrigin, Error> {
        if text == "*" {
            return Ok(CorsOrigin::Any);
        }
        let wrong = || Error::Origin { text: text.to_owned() };
        let text = text.to_ascii_lowercase();
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong());
        };
        // No path, no name, no pattern: those are not part of an origin, so it would never be one.
        match text == format!("{scheme}://{authority}") && !authority.as_str().contains(['@', '*']) {
            true => HeaderValue::from_str(&text).map(CorsOrigin::One).map_err(|_| wrong()),
            false => Err(wrong()),
        }
    }
}

/// Whether a page of that origin may use the server.
pub(crate) fn allows(origins: &[CorsOrigin], origin: &HeaderValue) -> bool {
    origins.iter().any(|allowed| match allowed {
        CorsOrigin::Any => true,
        CorsOrigin::One(allowed) => allowed == origin,
    })
}

/// The layer around everything; None when no page of another origin may use the server.
pub(crate) fn layer(origins: &[CorsOrigin]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let one = |origin: &CorsOrigin| match origin {
        CorsOrigin::Any => None,
        CorsOrigin::One(origin) => Some(origin.clone()),
    };
    let named: Option<Vec<HeaderValue>> = origins.iter().map(one).collect();
    let layer = CorsLayer::new()
        .allow_origin(named.map_or_else(AllowOrigin::any, AllowOrigin::list))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        // SDKs send many of their own, and `*` does not stand for `authorization`.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(EXPOSED)
        .max_age(MAX_AGE);
    Some(layer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_as_browsers_write_them() {
        let check = |text: &str, expect: Option<CorsOrigin>| {
            assert_eq!(text.parse::<CorsOrigin>().ok(), expect, "{text}");
        };
        let one = |text| Some(CorsOrigin::One(HeaderValue::from_static(text)));
        check("*", Some(CorsOrigin::Any));
        check("https://chat.example", one("https://chat.example"));
        check("HTTP://LocalHost:3000", one("http://localhost:3000"));
        check("app://obsidian.md", one("app://obsidian.md"));
        for text in
            ["", "chat.example", "https://chat.example/", "https://chat.example/x", "null", "https://"]
        {
            check(text, None);
        }
        check("https://me@chat.example", None);
        check("https://*.example", None);
    }
}
